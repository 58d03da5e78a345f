"""RM-Depth's depth network: ResNet features, recurrent modulation units, residual upsampling (spec rm_depth 3).

The marks in brackets say how sure the source is, as in that method's CARD.md: no code was ever released.
"""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import torch
from timm.models.resnet import BasicBlock
from torch import Tensor, nn

from kinodepth.networks.batch_norm import BatchNorm2d
from kinodepth.networks.depth_nets import DepthNet, Disparity
from kinodepth.networks.modulation import ModulationUnit, PlainFusion
from kinodepth.networks.residual_upsampling import ResidualUpsampling
from kinodepth.networks.resnet import ResNetEncoder

Backbone = Literal["resnet18_trunc", "resnet18_short"]


class Encoder(nn.Module):
    """Features at 1/4, 1/8, 1/16 of the image (levels L2, L3, L4), ``channels`` wide [our choice: spec 3.1, 3.2]."""

    def __init__(self, backbone: Backbone, pretrained: bool | str | Path) -> None:
        super().__init__()
        short = backbone == "resnet18_short"
        self.body = ResNetEncoder(18, 3, pretrained, stages=2 if short else 3)
        self.top = _narrow_stage(128) if short else None
        self.channels = [*self.body.channels[1:], 128] if short else self.body.channels[1:]

    def forward(self, images: Tensor) -> list[Tensor]:
        features = self.body(images)[1:]
        return features if self.top is None else [*features, self.top(features[-1])]


def _narrow_stage(channels: int) -> nn.Sequential:
    """Two residual blocks at half the size, without more channels."""
    down = nn.Sequential(nn.Conv2d(channels, channels, 1, 2, bias=False), BatchNorm2d(channels))
    first = BasicBlock(channels, channels, 2, down, norm_layer=BatchNorm2d)
    stage = nn.Sequential(first, BasicBlock(channels, channels, norm_layer=BatchNorm2d))
    for module in stage.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
    return stage


class RecurrentDepthNet(DepthNet):
    """Sigmoid disparity of normalised images B x 3 x H x W, H and W multiples of 16, at 1 / 2^(s+1) of their size for
    s in ``scales``.

    ``widths`` and ``iterations`` are those of the units at 1/16, 1/8, 1/4, ``kernels`` those of their modulation,
    fusion and gate. Without ``rmu``, without ``modulation`` or with one of the ``bands``: the ablations.
    """

    def __init__(
        self,
        pretrained: bool | str | Path = False,
        backbone: Backbone = "resnet18_trunc",
        widths: tuple[int, int, int] = (64, 48, 32),
        iterations: tuple[int, int, int] = (9, 2, 2),
        kernels: tuple[int, int, int] = (1, 3, 1),
        rmu: bool = True,
        modulation: bool = True,
        bands: int = 2,
        all_iterations: bool = False,
        scales: tuple[int, ...] = (0, 1, 2, 3),
    ) -> None:
        super().__init__()
        self.iterations, self.all_iterations = iterations, all_iterations
        self.encoder = Encoder(backbone, pretrained)
        channels = [*widths, widths[-1] // 2]  # L4, L3, L2, L1
        levels = range(3)
        inputs = self.encoder.channels[::-1]
        self.project = nn.ModuleList([nn.Conv2d(inputs[i], channels[i], 1) for i in levels])
        self.start = nn.Conv2d(channels[0], channels[0], 1)  # of the first hidden state, Eq. 6 [outline]
        self.units = nn.ModuleList(
            ModulationUnit(channels[i], *kernels, modulation) if rmu else PlainFusion(channels[i]) for i in levels
        )
        self.up = nn.ModuleList([ResidualUpsampling(channels[i], channels[i + 1], bands) for i in levels])
        self.heads = nn.ModuleDict(
            {str(i): nn.Conv2d(width, 1, 3, padding=1) for i, width in enumerate(channels) if 3 - i in scales}
        )
        for conv in (*self.project, self.start):
            nn.init.xavier_uniform_(conv.weight)
        for head in self.heads.values():  # the first predictions are the same everywhere
            nn.init.normal_(head.get_parameter("weight"), std=0.01)

    def states(self, images: Tensor) -> list[list[Tensor]]:
        """The hidden states of every iteration at L4, L3, L2, and the feature at L1."""
        features = self.encoder(images)[::-1]
        found: list[list[Tensor]] = []
        hidden = torch.empty(0)
        for level, (feature, project, unit, up) in enumerate(zip(features, self.project, self.units, self.up)):
            projected = project(feature)
            if level == 0:
                hidden = torch.tanh(self.start(projected))
            found.append(unit(projected, hidden, self.iterations[level]))
            hidden = up(found[-1][-1])
        return [*found, [hidden]]

    def scales(self, images: Tensor) -> list[Disparity]:
        """What is supervised, coarse to fine: the last state of every level, or all of them [our choice]."""
        return [
            Disparity(3 - level, torch.sigmoid(self.heads[str(level)](state)))
            for level, states in enumerate(self.states(images))
            if str(level) in self.heads
            for state in (states if self.all_iterations else states[-1:])
        ]

    def forward(self, images: Tensor) -> Tensor:
        """The finest map alone, B x 1 x H/2 x W/2."""
        return torch.sigmoid(self.heads["3"](self.states(images)[-1][-1]))
