"""The networks of SC-Depth (spec sc_depth 3): depth of one image, pose between two; in V2 the rotation to undo."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from kinodepth.geometry.sampling import resize
from kinodepth.methods.sc_depth.config import ScDepthConfig, ScDepthV2Config
from kinodepth.networks.batch_norm import batch_groups, join_processes
from kinodepth.networks.depth_nets import depth_net
from kinodepth.networks.pose_net import PoseNet

MEAN, STD = 0.45, 0.225  # of every channel and network (spec 2)


def normalize(images: Tensor) -> Tensor:
    """Map RGB in [0, 1] to what the networks and losses of SC-Depth see."""
    return (images - MEAN) / STD


def to_depth(sigma: Tensor, size: torch.Size) -> Tensor:
    """Depth in (1 / 10.01, 100) scene units of ``size`` from a sigmoid map of any size (spec 3.2)."""
    return 1 / (10 * resize(sigma.float(), size) + 0.01)


class ScDepth(nn.Module):
    """``depth_net`` and ``pose_net`` of V1 and V3; K calls are a single forward.

    Unless ``joint_statistics`` it equals separate calls (``networks.batch_norm``).
    """

    def __init__(self, config: ScDepthConfig) -> None:
        super().__init__()
        self.config = config
        self.depth_net = depth_net(config.depth_net, config.pretrained, (0,), config.resnet_layers)
        self.pose_net = PoseNet(pretrained=config.pretrained)
        self.joint_statistics = config.joint_statistics and config.convention == "exact"
        join_processes(self, config.joint_batch)

    def depths(self, images: Tensor) -> Tensor:
        """Map normalised images B x K x 3 x H x W to depth B x K x 1 x H x W."""
        with batch_groups(self.depth_net, 1 if self.joint_statistics else images.shape[1]):
            sigma = self.depth_net(images.flatten(0, 1))
        return to_depth(sigma, images.shape[-2:]).unflatten(0, images.shape[:2])

    def poses(self, first: Tensor, second: Tensor) -> Tensor:
        """Map pairs of normalised images B x K x 3 x H x W to B x K x 6: translation, then Euler angles."""
        with batch_groups(self.pose_net, 1 if self.joint_statistics else first.shape[1]):
            return self.pose_net(first.flatten(0, 1), second.flatten(0, 1)).unflatten(0, first.shape[:2])


class RectifyNet(PoseNet):
    """Euler angles B x 3 that turn rays of the first image into the second, seen at half size (spec 3.4)."""

    def __init__(self, pretrained: bool | str = False) -> None:
        super().__init__(outputs=3, factor=1.0, pretrained=pretrained)

    def forward(self, first: Tensor, second: Tensor) -> Tensor:
        half = (first.shape[-2] // 2, first.shape[-1] // 2)
        return super().forward(*(resize(image, half, align_corners=True) for image in (first, second)))


class ScDepthV2(ScDepth):
    """The networks of V1 and ``rectify_net``."""

    def __init__(self, config: ScDepthV2Config) -> None:
        super().__init__(config)
        self.rectify_net = RectifyNet(config.pretrained)
        join_processes(self, config.joint_batch)

    def rotations(self, first: Tensor, second: Tensor) -> Tensor:
        """Map pairs of normalised images B x K x 3 x H x W to Euler angles B x K x 3."""
        with batch_groups(self.rectify_net, 1 if self.joint_statistics else first.shape[1]):
            return self.rectify_net(first.flatten(0, 1), second.flatten(0, 1)).unflatten(0, first.shape[:2])


def build(config: ScDepthConfig) -> ScDepth:
    """The networks that ``config`` is for."""
    return ScDepthV2(config) if isinstance(config, ScDepthV2Config) else ScDepth(config)
