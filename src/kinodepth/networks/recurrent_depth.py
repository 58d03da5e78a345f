"""The depth network: ResNet features, recurrent modulation units, residual upsampling (spec rm_depth 3)."""

from __future__ import annotations

from typing import NamedTuple

import torch
from timm.models.resnet import BasicBlock
from torch import Tensor, nn

from kinodepth.methods.rm_depth.config import RmDepthConfig
from kinodepth.methods.rm_depth.modulation import ModulationUnit, PlainFusion
from kinodepth.methods.rm_depth.upsampling import ResidualUpsampling
from kinodepth.networks.batch_norm import BatchNorm2d
from kinodepth.networks.resnet import ResNetEncoder

MEAN, STD = 0.45, 0.225  # of every channel [prior work: Monodepth2]; the motion net too [our choice]


def normalize(images: Tensor) -> Tensor:
    """Map RGB in [0, 1] to what the networks see; losses see the images themselves."""
    return (images - MEAN) / STD


class Disparity(NamedTuple):
    """A sigmoid map B x 1 x h x w in (0, 1), linear in inverse depth; ``scale`` j means 1 / 2^(j+1) of the image."""

    scale: int
    sigma: Tensor


class Encoder(nn.Module):
    """Features at 1/4, 1/8, 1/16 of the image (levels L2, L3, L4), ``channels`` wide [our choice: spec 3.1, 3.2]."""

    def __init__(self, config: RmDepthConfig) -> None:
        super().__init__()
        short = config.encoder == "resnet18_short"
        self.body = ResNetEncoder(18, 3, config.pretrained, stages=2 if short else 3)
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


class DepthNet(nn.Module):
    """Sigmoid disparity of normalised images B x 3 x H x W, H and W multiples of 16, at four scales."""

    def __init__(self, config: RmDepthConfig) -> None:
        super().__init__()
        self.iterations, self.all_iterations = config.iterations, config.supervise_all_iterations
        self.encoder = Encoder(config)
        widths = [*config.widths, config.widths[-1] // 2]  # L4, L3, L2, L1
        levels = range(3)
        inputs = self.encoder.channels[::-1]
        self.project = nn.ModuleList([nn.Conv2d(inputs[i], widths[i], 1) for i in levels])
        self.start = nn.Conv2d(widths[0], widths[0], 1)  # of the first hidden state, Eq. 6 [outline]
        kernels = (config.kernel_mod, config.kernel_fuse, config.kernel_gate)
        self.units = nn.ModuleList(
            ModulationUnit(widths[i], *kernels, config.modulation) if config.rmu else PlainFusion(widths[i])
            for i in levels
        )
        self.up = nn.ModuleList([ResidualUpsampling(widths[i], widths[i + 1], config.bands) for i in levels])
        self.heads = nn.ModuleList([nn.Conv2d(width, 1, 3, padding=1) for width in widths])
        for conv in (*self.project, self.start):
            nn.init.xavier_uniform_(conv.weight)
        for head in self.heads:  # the first predictions are the same everywhere
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
            Disparity(3 - level, torch.sigmoid(self.heads[level](state)))
            for level, states in enumerate(self.states(images))
            for state in (states if self.all_iterations else states[-1:])
        ]

    def forward(self, images: Tensor) -> Tensor:
        """The finest map alone, B x 1 x H/2 x W/2."""
        return torch.sigmoid(self.heads[-1](self.states(images)[-1][-1]))
