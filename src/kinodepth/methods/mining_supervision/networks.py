"""The smaller networks: residual flow, the scale of an object, the ground (spec mining_supervision 4.3 to 4.5)."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torchvision.models.optical_flow import raft_large, raft_small
from torchvision.models.optical_flow.raft import CorrBlock

from kinodepth.networks.resnet import ResNetEncoder
from kinodepth.types import Convention

LEVELS = 4  # of RAFT's correlation pyramid: the coarsest must be wider than one cell


class FlowNet(nn.Module):
    """RAFT with random weights: the motion from one image to another in pixels. For images with less than 128 pixels
    per side its pyramid has fewer levels."""

    def __init__(self, size: Literal["large", "small"] = "large", updates: int = 1, shortest: int = 128) -> None:
        super().__init__()
        levels = min(LEVELS, (shortest // 8).bit_length() - 1)
        if size == "large":
            self.raft = raft_large(weights=None, corr_block=CorrBlock(num_levels=levels, radius=4))
        else:
            self.raft = raft_small(weights=None, corr_block=CorrBlock(num_levels=levels, radius=3))
        self.updates = updates

    def forward(self, first: Tensor, second: Tensor) -> Tensor:
        """Map two images B x 3 x H x W in [0, 1] to B x 2 x H x W."""
        return self.raft(2 * first - 1, 2 * second - 1, num_flow_updates=self.updates)[-1].float()


class ScaleNet(nn.Module):
    """The mean depth of an object in scene units, B x 1, from the picture and the depth of the road around it.

    Published: any number; exact: positive.
    """

    def __init__(self, pretrained: bool | str = False, convention: Convention = "exact") -> None:
        super().__init__()
        self.convention = convention
        self.encoder = ResNetEncoder(18, 3, pretrained)
        one_group(self.encoder.body)
        self.encoder.body.conv1 = nn.Conv2d(5, 64, 7, 2, 3, bias=False)
        self.head = nn.Sequential(nn.Linear(512, 256), nn.ReLU(), nn.Linear(256, 128), nn.ReLU(), nn.Linear(128, 1))

    def forward(self, image: Tensor, mask: Tensor, scene_depth: Tensor, object_depth: Tensor) -> Tensor:
        """``image`` B x 3 x H x W in [0, 1]; object ``mask``, masked ``scene_depth`` and the object's normalised depth
        B x 1 x H x W."""
        both = (1 - mask) * scene_depth + mask * object_depth
        features = self.encoder(torch.cat([image, both, object_depth], 1))[-1]
        scale = self.head(features.mean((2, 3))).float()
        return scale if self.convention == "published" else F.softplus(scale)


def one_group(network: nn.Module) -> None:
    """Replace every BatchNorm below ``network`` by a GroupNorm over all channels with the same weights."""
    for module in list(network.modules()):
        for name, child in module.named_children():
            if isinstance(child, nn.BatchNorm2d):
                norm = nn.GroupNorm(1, child.num_features)
                norm.load_state_dict({"weight": child.weight.detach(), "bias": child.bias.detach()})
                setattr(module, name, norm)


class GroundNet(nn.Module):
    """The logit that a pixel shows ground, B x 1 x H x W, of RGB and normalised inverse depth, B x 4 x H x W.

    Published: normalisation with a weight per channel and pixel, so for one size only; exact: per channel.
    """

    def __init__(self, height: int, width: int, convention: Convention = "exact") -> None:
        super().__init__()

        def norm(channels: int) -> nn.Module:
            published = convention == "published"
            return nn.LayerNorm((channels, height, width)) if published else nn.GroupNorm(1, channels)

        self.layers = nn.Sequential(
            nn.Conv2d(4, 64, 3, padding=1),
            nn.ReLU(),
            nn.Conv2d(64, 64, 3, padding=1),
            norm(64),
            nn.ReLU(),
            nn.Conv2d(64, 128, 3, padding=1),
            norm(128),
            nn.ReLU(),
            nn.Conv2d(128, 1, 1),
        )

    def forward(self, features: Tensor) -> Tensor:
        return self.layers(features)
