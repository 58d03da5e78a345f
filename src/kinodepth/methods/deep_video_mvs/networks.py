"""The networks of DeepVideoMVS (spec deep_video_mvs 2): features, cost volume encoder, recurrent cell, depth decoder.

All take and give float32; H and W are multiples of 32. Lists of maps run from fine to coarse.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from kinodepth.geometry.sampling import resize
from kinodepth.networks.batch_norm import BatchNorm2d
from kinodepth.types import InputError

CUTS = (0, 8, 9, 10, 12, 14)  # items of torchvision's MnasNet list that end at 1/2, 1/4, .. 1/32 of the image
FEATURES = (16, 24, 40, 96, 320)  # their channels
PYRAMID = 32  # channels of every pyramid map
WIDTHS = (32, 64, 128, 256, 512)  # channels of the encoder at 1/2 .. 1/32
PLANES = 64


def block(inputs: int, outputs: int, kernel: int, stride: int = 1) -> nn.Sequential:
    """Convolution without bias, batch norm, ReLU; same size out, or 1 / ``stride`` of it."""
    conv = nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, bias=False)
    return nn.Sequential(conv, BatchNorm2d(outputs), nn.ReLU(inplace=True))


def up(x: Tensor) -> Tensor:
    """Twice the size, corner centres kept (part of the published architecture, in both conventions)."""
    return resize(x, (2 * x.shape[-2], 2 * x.shape[-1]), align_corners=True)


def join(*maps: Tensor) -> Tensor:
    """Concatenate B x C x h x w along channels, in type and layout of the first.

    ``torch.cat`` would return all channels first if one map has a single channel, whose layout is ambiguous.
    """
    maps = (maps[0], *(x.to(maps[0].dtype) for x in maps[1:]))
    if not maps[0].is_contiguous(memory_format=torch.channels_last):
        return torch.cat(maps, 1)
    return torch.cat([x.movedim(1, 3) for x in maps], 3).movedim(3, 1)


class FeatureExtractor(nn.Module):
    """MnasNet 1.0 cut into ``layer1`` .. ``layer5``: maps at 1/2, 1/4, 1/8, 1/16, 1/32 of normalised images.

    ``pretrained`` starts from ImageNet weights: True downloads torchvision's, a path reads a file of them. Raises
    ``InputError`` when they cannot be had.
    """

    def __init__(self, pretrained: bool | str | Path = False) -> None:
        super().__init__()
        layers = list(_mnasnet(pretrained).layers)
        for number, (first, last) in enumerate(pairwise(CUTS), 1):
            self.add_module(f"layer{number}", _with_groups(nn.Sequential(*layers[first:last])))

    def forward(self, images: Tensor) -> list[Tensor]:
        maps = [images]
        for layer in self.children():
            maps.append(layer(maps[-1]))
        return maps[1:]


class FeaturePyramid(nn.Module):
    """A top-down pyramid (Lin et al. 2017) without activations: 32 channels at 1/2, 1/4, 1/8, 1/16.

    ``widths`` are the channels of the maps at 1/2 .. 1/32 that it is for.
    """

    def __init__(self, widths: Sequence[int] = FEATURES) -> None:
        super().__init__()
        self.inner = nn.ModuleList([nn.Conv2d(channels, PYRAMID, 1) for channels in widths])
        self.outer = nn.ModuleList([nn.Conv2d(PYRAMID, PYRAMID, 3, padding=1) for _ in widths[:-1]])

    def forward(self, maps: list[Tensor]) -> list[Tensor]:
        merged = self.inner[4](maps[4])
        found = []
        for i in reversed(range(4)):
            lateral = self.inner[i](maps[i])
            merged = lateral + resize(merged, lateral.shape[-2:], "nearest_floor")
            found.append(self.outer[i](merged))
        return found[::-1]


class Encoder(nn.Module):
    """Matching scores and pyramid of the reference to four skips at 1/2 .. 1/16 and 512 channels at 1/32."""

    def __init__(self) -> None:
        super().__init__()
        kernels = (5, 3, 3, 3)
        inputs = (PLANES, *WIDTHS[1:4])
        self.merge = nn.ModuleList([block(PYRAMID + inputs[i], WIDTHS[i], 5 if i == 0 else 3) for i in range(4)])
        self.down = nn.ModuleList(
            [
                nn.Sequential(
                    block(WIDTHS[i], WIDTHS[i + 1], kernels[i], 2),
                    block(WIDTHS[i + 1], WIDTHS[i + 1], kernels[i]),
                    block(WIDTHS[i + 1], WIDTHS[i + 1], kernels[i]),
                )
                for i in range(4)
            ]
        )

    def forward(self, pyramid: list[Tensor], volume: Tensor) -> list[Tensor]:
        """``volume`` B x 64 x H/2 x W/2. Returns the skips, then the bottleneck."""
        x, found = volume, []
        for features, merge, down in zip(pyramid, self.merge, self.down):
            found.append(merge(join(features, x)))
            x = down(found[-1])
        return [*found, x]


class Decoder(nn.Module):
    """Bottleneck and skips to five maps of inverse depth as sigmoid values, at 1/1, 1/2, 1/4, 1/8, 1/16."""

    def __init__(self) -> None:
        super().__init__()
        kernels = (5, 3, 3, 3)  # of the blocks at 1/2 .. 1/16
        self.before = nn.ModuleList([block(WIDTHS[i + 1], WIDTHS[i], kernels[i]) for i in range(4)])
        self.after = nn.ModuleList(
            [
                nn.Sequential(
                    block(2 * WIDTHS[i] + (i < 3), WIDTHS[i], kernels[i]), block(WIDTHS[i], WIDTHS[i], kernels[i])
                )
                for i in range(4)
            ]
        )
        self.refine = nn.Sequential(block(WIDTHS[0] + 4, WIDTHS[0], 5), block(WIDTHS[0], WIDTHS[0], 5))
        heads = [nn.Conv2d(channels, 1, 3, padding=1) for channels in (WIDTHS[0], *WIDTHS[:4])]
        self.heads = nn.ModuleList(heads)  # of 1/1, 1/2, .. 1/16

    def forward(self, images: Tensor, skips: list[Tensor], x: Tensor) -> list[Tensor]:
        """``images`` normalised B x 3 x H x W; ``x`` B x 512 x H/32 x W/32. Returns B x 1 x h x w, finest first."""
        found: list[Tensor] = []
        for i in reversed(range(4)):
            coarse = [up(found[-1])] if found else []
            x = self.after[i](join(self.before[i](up(x)), skips[i], *coarse))
            found.append(self.heads[i + 1](x).sigmoid())
        x = self.refine(join(up(x), up(found[-1]), images))
        return [self.heads[0](x).sigmoid(), *found[::-1]]


class RecurrentCell(nn.Module):
    """A convolutional LSTM with CELU and spatial layer normalisation of candidate and cell state (spec 2.6)."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(2 * WIDTHS[4], 4 * WIDTHS[4], 3, padding=1, bias=False)

    @torch.no_grad()
    def hand_on(self) -> None:
        """Add the encoding to the candidate, so that a decoder of the encoding can read the hidden state. Ours."""
        channels = torch.arange(WIDTHS[4])
        self.conv.weight[3 * WIDTHS[4] + channels, channels, 1, 1] += 1

    def forward(self, x: Tensor, hidden: Tensor, cell: Tensor) -> tuple[Tensor, Tensor]:
        """All B x 512 x H/32 x W/32, ``hidden`` warped to this view. Returns the next hidden and cell state."""
        i, f, o, g = self.conv(join(x, hidden)).chunk(4, 1)
        size = x.shape[-2:]
        cell = f.sigmoid() * cell + i.sigmoid() * F.celu(F.layer_norm(g, size))
        cell = F.layer_norm(cell, size)
        return o.sigmoid() * F.celu(cell), cell


def _mnasnet(pretrained: bool | str | Path) -> Any:
    from torchvision.models import MNASNet1_0_Weights, mnasnet1_0

    if not pretrained:
        return mnasnet1_0(weights=None)
    try:
        if pretrained is True:
            return mnasnet1_0(weights=MNASNet1_0_Weights.IMAGENET1K_V1)
        network = mnasnet1_0(weights=None)
        network.load_state_dict(torch.load(pretrained, map_location="cpu", weights_only=True))
        return network
    except (OSError, RuntimeError) as error:
        reason = (str(error).strip() or f"no such file: {pretrained}").splitlines()[0]
        raise InputError(
            f"ImageNet weights for MnasNet could not be loaded ({reason}); expected a network connection or a local "
            "file; give the path of torchvision's mnasnet1_0 file as `pretrained`, or set it to false"
        ) from error


def _with_groups(network: nn.Sequential) -> nn.Sequential:
    """``network`` with batch norms that keep several calls apart (networks.batch_norm)."""
    for module in network.modules():
        for name, child in module.named_children():
            if type(child) is nn.BatchNorm2d:
                ours = BatchNorm2d(child.num_features, child.eps, child.momentum)
                ours.load_state_dict(child.state_dict())
                setattr(module, name, ours)
    return network
