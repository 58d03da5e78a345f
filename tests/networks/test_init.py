"""Initial weights keep a signal's size and let outputs start near zero."""

from __future__ import annotations

import torch
from torch import nn

from kinodepth.networks.init import init_decoder


def test_hidden_layers_keep_the_size_of_a_signal_and_outputs_start_near_zero() -> None:
    torch.manual_seed(0)
    hidden = [nn.Conv2d(64, 64, 3, padding=1, bias=False) for _ in range(6)]
    output = nn.Conv2d(64, 1, 1)
    x = start = torch.randn(2, 64, 32, 32)
    for conv in hidden:  # PyTorch's own initial weights
        x = conv(x).relu()
    assert x.square().mean() < start.square().mean() / 1000
    init_decoder(hidden, [output])
    x = start
    for conv in hidden:
        x = conv(x).relu()
    assert 0.3 < x.square().mean() / start.square().mean() < 3
    assert output.weight.std() < 0.02
