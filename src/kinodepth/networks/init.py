"""Random weights to start from."""

from __future__ import annotations

from collections.abc import Iterable

from torch import nn


def init_decoder(hidden: Iterable[nn.Module], outputs: Iterable[nn.Module]) -> None:
    """Give ``hidden`` convolutions the gain of rectified units (He et al. 2015), ``outputs`` weights near zero.

    PyTorch's own initial weights shrink a signal by 2.4 in every such layer, and its gradient with it; a head of four
    then takes hundreds of steps to answer. Outputs near zero make the first predictions the same everywhere.
    """
    for conv in hidden:
        nn.init.kaiming_normal_(conv.get_parameter("weight"), nonlinearity="relu")
    for conv in outputs:
        nn.init.normal_(conv.get_parameter("weight"), std=0.01)
