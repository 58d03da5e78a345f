"""Two images in, a few numbers per pair out: the pose network of Monodepth2 and SC-Depth."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from kinodepth.networks.init import init_decoder
from kinodepth.networks.resnet import ResNetEncoder


class PoseNet(nn.Module):
    """``outputs`` numbers per image pair, multiplied by ``factor`` (spec sc_depth 3.3)."""

    def __init__(self, outputs: int = 6, factor: float = 0.01, pretrained: bool | str | Path = False) -> None:
        super().__init__()
        self.factor = factor
        self.encoder = ResNetEncoder(18, 6, pretrained)
        self.squeeze = nn.Conv2d(self.encoder.channels[-1], 256, 1)
        self.convs = nn.ModuleList([nn.Conv2d(256, 256, 3, padding=1) for _ in range(2)])
        self.head = nn.Conv2d(256, outputs, 1)
        init_decoder([self.squeeze, *self.convs], [self.head])

    def forward(self, first: Tensor, second: Tensor) -> Tensor:
        """Map two B x 3 x H x W normalised images to B x ``outputs``."""
        x = F.relu(self.squeeze(self.encoder(torch.cat([first, second], 1))[-1]))
        for conv in self.convs:
            x = F.relu(conv(x))
        return self.factor * self.head(x).mean((2, 3))
