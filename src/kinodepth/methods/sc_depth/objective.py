"""The losses of SC-Depth V1, which V2 and V3 share (spec sc_depth 5, 6), for all references and both ways at once.

Shapes: B windows, V views of a window (the target first, then its R references), P = 2R ordered view pairs, in the
order target -> reference 1, reference 1 -> target, target -> reference 2, ... Images are normalised.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import torch
from torch import Tensor, nn

from kinodepth.geometry.pose import euler_to_matrix, pose_matrix
from kinodepth.geometry.sampling import sample
from kinodepth.geometry.warp import SLACK, inverse_warp
from kinodepth.losses.consistency import depth_inconsistency
from kinodepth.losses.photometric import WindowStatistics, l1_error, ssim_error, window_statistics
from kinodepth.losses.reduction import masked_mean
from kinodepth.losses.smoothness import edge_aware_smoothness_loss
from kinodepth.methods.base import Objective, Stage
from kinodepth.methods.sc_depth.config import ScDepthConfig
from kinodepth.methods.sc_depth.model import ScDepth, normalize
from kinodepth.types import Clip

ENOUGH = 100  # a masked mean needs more pixels than this
BLACK = 1e-3  # mean |normalised colour| of a pixel that the published mask drops


class PairMaps(NamedTuple):
    """B x P x H x W maps of the pairs: colour error, weighted photometric error, inconsistency, validity."""

    color: Tensor
    photo: Tensor
    geometry: Tensor
    valid: Tensor

    def best(self) -> PairMaps:
        """Keep, at every pixel, the pair with the smallest colour error: B x 1 x H x W (spec 5.2)."""
        index = self.color.min(1, keepdim=True).indices  # several times faster than argmin
        return PairMaps(*(values.gather(1, index) for values in self))


def pair_maps(
    images: Tensor,
    depths: Tensor,
    poses: Tensor,
    poses_back: Tensor,
    intrinsics: Tensor,
    config: ScDepthConfig,
    filled: Tensor | None = None,
) -> PairMaps:
    """Compare every reference with the target, both ways (spec 5.1).

    ``images`` B x V x 3 x H x W, ``depths`` B x V x 1 x H x W, ``poses`` and ``poses_back`` B x R x 6 (translation and
    Euler angles, target -> reference and back), ``intrinsics`` B x 3 x 3. ``filled`` B x V x 1 x H x W bool, if the
    images have empty parts: pixels that do count. The published mask knows these by their colour.
    """
    batch, references = poses.shape[:2]
    first = [view for r in range(references) for view in (0, r + 1)]
    second = [view for r in range(references) for view in (r + 1, 0)]
    both_ways = torch.stack([poses, poses_back], 2).flatten(0, 2)
    image, source = images[:, first].flatten(0, 1), images[:, second].flatten(0, 1)
    warped = inverse_warp(
        source,
        depths[:, first].flatten(0, 1),
        pose_matrix(euler_to_matrix(both_ways[:, 3:]), both_ways[:, :3]),
        intrinsics.repeat_interleave(2 * references, 0),
        source_depth=depths[:, second].flatten(0, 1),
        convention=config.convention,
    )
    assert warped.depth is not None
    geometry = depth_inconsistency(warped.z, warped.depth)
    difference = (image - warped.image).abs()
    color = difference.mean(1, keepdim=True)
    photo = difference.clamp(0, 1)
    if config.ssim:
        once = window_statistics(images.flatten(0, 1))
        shared = (part.unflatten(0, images.shape[:2])[:, first].flatten(0, 1) for part in once)
        photo = 0.15 * photo + 0.85 * ssim_error(image, warped.image, a_statistics=WindowStatistics(*shared))
    photo = photo.mean(1, keepdim=True)
    with torch.no_grad():
        valid = warped.valid
        if config.convention == "published":
            valid = (warped.image.abs().mean(1, True) > BLACK) & (image.abs().mean(1, True) > BLACK)
        elif filled is not None:
            looked_up = sample(filled[:, second].flatten(0, 1).float(), warped.pixels.detach())
            valid = valid & filled[:, first].flatten(0, 1) & (looked_up > 1 - SLACK)
        if config.auto_mask:
            valid = valid & (color < l1_error(image, source))
    if config.self_discovered_mask:
        photo = photo * (1 - geometry.detach())
    return PairMaps(*(values.view(batch, -1, *values.shape[2:]) for values in (color, photo, geometry, valid)))


def pair_losses(maps: PairMaps, config: ScDepthConfig) -> dict[str, Tensor]:
    """Photometric and geometry term; 0 without gradient when no more than 100 pixels count (spec 5.2)."""
    kept = maps.best() if config.minimum else maps
    return {
        "photo": masked_mean(kept.photo, kept.valid, ENOUGH),
        "geometry": masked_mean(kept.geometry, kept.valid, ENOUGH),
    }


def views(clip: Clip) -> Tensor:
    """Normalised images of a clip with the target first, B x V x 3 x H x W."""
    return normalize(clip.images[:, [clip.target, *clip.sources]])


def predict_poses(model: ScDepth, images: Tensor) -> tuple[Tensor, Tensor]:
    """B x R x 6 from the target to each reference, and back: every pair in one forward."""
    target, references = images[:, :1].expand_as(images[:, 1:]), images[:, 1:]
    poses = model.poses(torch.cat([target, references], 1), torch.cat([references, target], 1))
    there, back = poses.chunk(2, 1)
    return there, back


class Explained(NamedTuple):
    """``depths`` B x V x 1 x H x W, ``poses`` and ``poses_back`` B x R x 6 as predicted, and what follows from them."""

    depths: Tensor
    poses: Tensor
    poses_back: Tensor
    maps: PairMaps


def explain(model: ScDepth, images: Tensor, intrinsics: Tensor, filled: Tensor | None = None) -> Explained:
    """Predict depths and poses of the views B x V x 3 x H x W and compare the views by them (spec 9)."""
    depths = model.depths(images).float()
    poses, poses_back = (p.float() for p in predict_poses(model, images))
    with torch.autocast(images.device.type, enabled=False):
        maps = pair_maps(images, depths, poses, poses_back, intrinsics, model.config, filled)
    return Explained(depths, poses, poses_back, maps)


def summary(
    clip: Clip, found: Explained, terms: Mapping[str, Tensor], config: ScDepthConfig, **more: Tensor
) -> Objective:
    """The objective of ``terms``, each weighted by the setting of its name, and what is worth logging."""
    weights = {name: getattr(config, f"{name}_weight") for name in terms}
    with torch.no_grad():
        scalars = {
            "valid_share": found.maps.valid.float().mean(),
            "translation": found.poses[..., :3].norm(dim=-1).mean(),
            "rotation": found.poses[..., 3:].norm(dim=-1).mean(),
            "depth_mean": found.depths[:, 0].mean(),
            **more,
        }
    pictures = {"image": clip.images[:1, clip.target], "depth": found.depths[:1, 0]}
    pictures["photo_error"] = found.maps.photo[:1, :1]
    return Objective(terms, weights, scalars, {name: picture.detach() for name, picture in pictures.items()})


def objective(model: nn.Module, clip: Clip, stage: Stage, generator: torch.Generator) -> Objective:
    """The terms of V1 for one batch (spec 9)."""
    assert isinstance(model, ScDepth)
    images = views(clip)
    found = explain(model, images, clip.intrinsics)
    with torch.autocast(images.device.type, enabled=False):
        terms = pair_losses(found.maps, model.config)
        terms["smooth"] = edge_aware_smoothness_loss(found.depths[:, 0], images[:, 0])
    return summary(clip, found, terms, model.config)


def photometric_score(found: Explained, config: ScDepthConfig) -> Tensor:
    """The photometric term for validation (mode photo, spec 10); NaN when the masks leave too little."""
    kept = found.maps.best() if config.minimum else found.maps
    return torch.where(kept.valid.sum() > ENOUGH, masked_mean(kept.photo, kept.valid), torch.nan)


@torch.no_grad()
def validate(model: nn.Module, clip: Clip) -> Tensor:
    """The photometric term in eval mode."""
    assert isinstance(model, ScDepth)
    return photometric_score(explain(model, views(clip), clip.intrinsics), model.config)
