"""Depth of the target, and how everything in it moves to a source (spec rm_depth 2 to 4)."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn

from kinodepth.geometry.depth import sigmoid_to_depth
from kinodepth.geometry.sampling import resize
from kinodepth.geometry.warp import inverse_warp, rigid_flow
from kinodepth.methods.rm_depth.config import RmDepthConfig
from kinodepth.methods.rm_depth.motion_net import MotionNet
from kinodepth.networks.batch_norm import join_processes
from kinodepth.networks.depth_nets import DepthNet, depth_net
from kinodepth.networks.recurrent_depth import RecurrentDepthNet

LEAST_PIXELS, LEAST_SHARE = 1.0, 0.05  # of the flow, by which something moves by itself (4.5) [our choice]
MEAN, STD = 0.45, 0.225  # of every channel [prior work: Monodepth2]; the motion net too [our choice]


def normalize(images: Tensor) -> Tensor:
    """Map RGB in [0, 1] to what the networks see; losses see the images themselves."""
    return (images - MEAN) / STD


def recurrent(config: RmDepthConfig) -> RecurrentDepthNet:
    """The depth net of ``config``."""
    return RecurrentDepthNet(
        config.pretrained,
        config.encoder,
        config.widths,
        config.iterations,
        (config.kernel_mod, config.kernel_fuse, config.kernel_gate),
        config.rmu,
        config.modulation,
        config.bands,
        config.supervise_all_iterations,
    )


class Motion(NamedTuple):
    """``source_from_target`` B x 4 x 4 and ``field`` T_obj B x 3 x H x W, added in the source's axes after it."""

    source_from_target: Tensor
    field: Tensor


class RmDepth(nn.Module):
    """``depth_net`` and ``motion_net``; images are normalised (``normalize``)."""

    def __init__(self, config: RmDepthConfig) -> None:
        super().__init__()
        self.config = config
        own = config.depth_net == "recurrent"
        self.depth_net: DepthNet = recurrent(config) if own else depth_net(config.depth_net, config.pretrained)
        self.motion_net = MotionNet(config.object_motion)
        join_processes(self, config.joint_batch)

    def depth(self, sigma: Tensor, size: torch.Size) -> Tensor:
        """Depth B x 1 x H x W of a sigmoid map of any size, which is resized first (3.6)."""
        return sigmoid_to_depth(resize(sigma.float(), size), self.config.near, self.config.far)

    def motion(
        self, target: Tensor, source: Tensor, earlier: Tensor, depth: Tensor, intrinsics: Tensor, ramp: float = 1.0
    ) -> Motion:
        """Motion of target B x 3 x H x W with ``depth`` to ``source``; ``ramp`` scales object motion (5.7).

        ``earlier`` (B, bool): the source was taken before the target.
        """
        move = self.motion_net.ego_motion(target, source, earlier if self.config.pair_order == "time" else None)
        if not self.config.object_motion:
            return Motion(move, torch.zeros_like(depth).expand(-1, 3, -1, -1))
        if ramp == 0:  # nothing is computed, but every parameter has a gradient, as several processes need it
            idle = [parameter.sum() for parameter in self.motion_net.get_submodule("fields").parameters()]
            return Motion(move, torch.zeros_like(depth).expand(-1, 3, -1, -1) + 0 * torch.stack(idle).sum())
        known = (depth.detach(), move.detach()) if self.config.detach_warp_input else (depth, move)

        def warped(field: Tensor) -> Tensor:
            field = field.detach() if self.config.detach_warp_input else field
            with torch.autocast(field.device.type, enabled=False):
                found = inverse_warp(source, *known, intrinsics, object_motion=ramp * field, padding="border")
            return found.image

        field = self.motion_net.object_motion(target, source, warped if self.config.warping else None)
        return Motion(move, ramp * field)


def optical_flow(depth: Tensor, motion: Motion, intrinsics: Tensor) -> tuple[Tensor, Tensor]:
    """Full and rigid flow target -> source, B x 2 x H x W pixels: no network of its own."""
    full = rigid_flow(depth, motion.source_from_target, intrinsics, motion.field)
    return full, rigid_flow(depth, motion.source_from_target, intrinsics)


def moving_mask(full: Tensor, rigid: Tensor) -> Tensor:
    """Where flows B x 2 x H x W differ by more than 1 pixel and 5 % of the full one: B x 1 x H x W bool (4.5)."""
    own, size = ((full - rigid).norm(dim=1, keepdim=True), full.norm(dim=1, keepdim=True))
    return own > (LEAST_SHARE * size).clamp(min=LEAST_PIXELS)
