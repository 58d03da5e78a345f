"""The networks of Dynamic-multiframe-depth under the names of their parts (spec dynamic_multiframe 1, 5.3, 8)."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn

from kinodepth.geometry.depth import plane_depths
from kinodepth.geometry.pose import move_between
from kinodepth.methods.dynamic_multiframe.config import DynamicMultiframeConfig
from kinodepth.methods.dynamic_multiframe.fusion import CrossCueFusion
from kinodepth.methods.dynamic_multiframe.networks import DepthNet, ImageEncoder
from kinodepth.methods.dynamic_multiframe.volume import Matcher, photometric_volume

PUBLISHED_LIMIT = 80.0  # metres: the released code puts no mono depth on a plane farther than that


class Outputs(NamedTuple):
    """Inverse depth in 1 / metres, four sizes B x 1 x h x w each, the finest first: of both cues, and of mono alone;
    ``plane`` B x 1 x H x W int64 is the one that mono chose."""

    final: list[Tensor]
    mono: list[Tensor]
    plane: Tensor


class DynamicMultiframe(nn.Module):
    """Inverse depth of a keyframe from itself and from how alike its neighbours look on planes of constant depth."""

    def __init__(self, config: DynamicMultiframeConfig) -> None:
        super().__init__()
        self.config = config
        self.image_encoder = ImageEncoder(config.backbone, config.pretrained, config.convention)
        self.mono_net = DepthNet(3, self.image_encoder.channels, config.large)
        self.fusion = CrossCueFusion(config.planes, config.halvings, config.fusion, config.cues)
        inputs = self.fusion.channels + 3 * config.image_in_depth_net
        self.depth_net = DepthNet(inputs, self.image_encoder.channels, config.large)
        if config.convention == "exact":
            self.mono_net.start_evenly()
            self.depth_net.start_evenly()

    def volume(self, keyframe: Tensor, frames: Tensor, pose: Tensor, poses: Tensor, intrinsics: Tensor) -> Tensor:
        """How alike the views are, B x D x H x W, for images B (x V) x 3 x H x W in [0, 1]; zeros without neighbours.

        Poses are cam_to_world, B x 4 x 4 and B x V x 4 x 4 in metres; ``intrinsics`` B x 3 x 3 of all of them.
        """
        if self.config.cues == "mono" or not frames.shape[1]:
            return keyframe.new_zeros(len(keyframe), self.config.planes, *keyframe.shape[-2:])
        moves = move_between(poses, pose[:, None].expand_as(poses)).to(keyframe.device)
        matcher = Matcher(self.config.matching, self.config.patch, convention=self.config.convention)
        with torch.autocast(keyframe.device.type, enabled=False):
            return photometric_volume(keyframe, frames, moves, intrinsics, self.depths(keyframe), matcher)

    def depths(self, like: Tensor) -> Tensor:
        """The planes' depths D in metres, the farthest first."""
        config = self.config
        return plane_depths(config.planes, config.near, config.far, device=like.device)

    def forward(self, keyframe: Tensor, volume: Tensor, keeps: Tensor | None = None) -> Outputs:
        """``keyframe`` B x 3 x H x W in [0, 1], ``volume`` of the same size; ``keeps`` B x 1 x H x W blanks what is
        fused where it is 0."""
        shifted = keyframe - 0.5
        features = self.image_encoder(keyframe)
        mono = [self.inverse_depth(x) for x in self.mono_net(shifted, features)]
        index = self.plane_index(mono[0].detach())
        device = keyframe.device.type
        narrow = torch.get_autocast_dtype(device) if torch.is_autocast_enabled(device) else shifted.dtype
        volume = volume.to(narrow)  # once for all that looks at it
        beside = (shifted,) if self.config.image_in_depth_net else ()
        seen = self.fusion(self.pseudo_volume(index, volume), volume, beside)
        if keeps is not None:
            seen = torch.cat((seen[:, : self.fusion.channels] * keeps, *beside), 1)
        final = [self.inverse_depth(x) for x in self.depth_net(seen, features)]
        return Outputs(final, mono, index)

    def inverse_depth(self, share: Tensor) -> Tensor:
        """Map network outputs in [0, 1) to inverse depths between those of far and near."""
        near, far = 1 / self.config.near, 1 / self.config.far
        share = share.float() if share.dtype in (torch.bfloat16, torch.float16) else share
        return share * near + (1 - share) * far

    def plane_index(self, inverse: Tensor) -> Tensor:
        """The plane nearest to inverse depths, in inverse depth; ``published``: in depth of at most 80 m (spec 5.3)."""
        depths = self.depths(inverse).to(inverse.dtype)
        if self.config.convention == "published":
            middles = ((depths[1:] + depths[:-1]) / 2).flip(0)
            order = torch.bucketize((1 / inverse).clamp(0.001, PUBLISHED_LIMIT), middles, right=True)
        else:
            closeness = 1 / depths
            return torch.bucketize(inverse, (closeness[1:] + closeness[:-1]) / 2)
        return len(depths) - 1 - order

    def pseudo_volume(self, index: Tensor, like: Tensor) -> Tensor:
        """One at the chosen plane, zero elsewhere: B x D x H x W."""
        return torch.zeros_like(like).scatter_(1, index, 1)


def build(config: DynamicMultiframeConfig) -> DynamicMultiframe:
    """The networks that ``config`` is for."""
    return DynamicMultiframe(config)
