"""The losses of RM-Depth for one batch (spec rm_depth 5).

B windows, S sources each, which are merged in the batch axis as B * S pairs, window by window.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn

from kinodepth.geometry.sampling import resize
from kinodepth.geometry.warp import inverse_warp
from kinodepth.losses.photometric import WindowStatistics
from kinodepth.losses.smoothness import edge_aware_smoothness_loss
from kinodepth.methods.base import Objective, Stage
from kinodepth.methods.rm_depth import motion_losses
from kinodepth.methods.rm_depth.augmentation import JITTERED
from kinodepth.methods.rm_depth.config import RmDepthConfig
from kinodepth.methods.rm_depth.model import Motion, RmDepth, normalize
from kinodepth.methods.rm_depth.photometric import photometric_error, target_statistics
from kinodepth.methods.rm_depth.recipe import EARLIER
from kinodepth.networks.depth_nets import Disparity
from kinodepth.types import Clip

TIE_BREAKER = 1e-5  # of the identity errors, so that standing pictures teach nothing [prior work]


class Pairs(NamedTuple):
    """Images in [0, 1] of the B * S pairs, their intrinsics, and the target's window statistics."""

    target: Tensor
    source: Tensor
    intrinsics: Tensor
    statistics: WindowStatistics
    sources: int

    def errors(self, depth: Tensor, move: Tensor, field: Tensor | None) -> Tensor:
        """Photometric errors B x S x H x W of the sources warped by ``depth`` B x 1 x H x W and their motions."""
        warped = inverse_warp(
            self.source,
            depth.repeat_interleave(self.sources, 0),
            move,
            self.intrinsics,
            object_motion=field,
            padding="border",
        )
        return self.compare(warped.image)

    def compare(self, images: Tensor) -> Tensor:
        """Photometric errors B x S x H x W of ``images`` (B * S) x 3 x H x W against the target."""
        return photometric_error(self.target, images, self.statistics)[:, 0].unflatten(0, (-1, self.sources))


class Explained(NamedTuple):
    """Disparities coarse to fine, depth B x 1 x H x W of the finest, motion of all pairs, and the pairs."""

    disparities: list[Disparity]
    depth: Tensor
    motion: Motion
    pairs: Pairs


def pairs_of(images: Tensor, clip: Clip) -> tuple[Tensor, Tensor]:
    """Target and source of every pair, (B * S) x 3 x H x W each, from ``images`` B x T x 3 x H x W of ``clip``."""
    source = images[:, list(clip.sources)]
    return images[:, clip.target, None].expand_as(source).flatten(0, 1), source.flatten(0, 1)


def ramp_of(stage: Stage, config: RmDepthConfig) -> float:
    """How far object motion counts: 0 in the first half of the burn-in, then linear up to 1 (5.7)."""
    steps = config.burn_in * stage.steps
    return min(max(2 * stage.done / steps - 1, 0.0), 1.0) if steps else 1.0


def explain(model: RmDepth, clip: Clip, ramp: float = 1.0) -> Explained:
    """Run the networks on a clip; they see its jittered images where it has them."""
    seen = normalize(clip.extra.get(JITTERED, clip.images))
    disparities = model.depth_net.scales(seen[:, clip.target])
    depth = model.depth(disparities[-1].sigma, clip.images.shape[-2:])
    sources = len(clip.sources)
    intrinsics = clip.intrinsics.repeat_interleave(sources, 0)
    earlier = torch.tensor(EARLIER, device=depth.device).repeat(len(depth))
    motion = model.motion(*pairs_of(seen, clip), earlier, depth.repeat_interleave(sources, 0), intrinsics, ramp)
    target, source = pairs_of(clip.images, clip)
    return Explained(disparities, depth, motion, Pairs(target, source, intrinsics, target_statistics(target), sources))


def photometric_loss(errors: Tensor, standing: Tensor | None) -> Tensor:
    """Mean over pixels of the least of ``errors`` B x S x H x W; pixels that ``standing`` explains give no gradient."""
    least = errors.amin(1)
    return (least if standing is None else torch.minimum(least, standing)).mean()


def depth_terms(
    model: RmDepth, clip: Clip, found: Explained, standing: Tensor | None
) -> tuple[dict[str, Tensor], Tensor]:
    """Photometric and smoothness term, means over the scales, and the finest scale's errors B x S x H x W."""
    field = found.motion.field if model.config.object_motion else None
    image, photo, smooth, errors = clip.images[:, clip.target], [], [], torch.empty(0)
    for scale, sigma in found.disparities:
        finest = sigma is found.disparities[-1].sigma
        depth = found.depth if finest else model.depth(sigma, image.shape[-2:])
        errors = found.pairs.errors(depth, found.motion.source_from_target, field)
        photo.append(photometric_loss(errors, standing))
        damped = edge_aware_smoothness_loss(sigma.float(), resize(image, sigma.shape[-2:]))
        smooth.append(damped / 2**scale)
    return {"photo": torch.stack(photo).mean(), "smooth": torch.stack(smooth).mean()}, errors


def motion_terms(config: RmDepthConfig, found: Explained, errors: Tensor) -> dict[str, Tensor]:
    """The regularisers of the object-motion field; ``errors`` are those of the finest scale."""
    move, field = found.motion
    translation = move[:, :3, 3]
    terms = {}
    if config.outlier == "sqrt_sparsity":
        terms["outlier"] = motion_losses.sqrt_sparsity_loss(field, translation)
    elif config.outlier == "aware":
        if config.outlier_mode == "mag":
            rigid = motion_losses.rigid_by_size(field, config.kappa)
        else:
            with torch.no_grad():
                rigid_errors = found.pairs.errors(found.depth, move, None)
            rigid = motion_losses.rigid_by_error(rigid_errors, errors).flatten(0, 1)[:, None]
        terms["outlier"] = motion_losses.outlier_aware_loss(field, translation, rigid)
    if config.motion_smooth_weight:
        terms["motion_smooth"] = motion_losses.group_smoothness_loss(field, translation, config.motion_smooth_wrap)
    return terms


def standing_errors(pairs: Pairs, generator: torch.Generator | None) -> Tensor:
    """The least error B x H x W of the unwarped sources, with noise from ``generator`` to break ties."""
    errors = pairs.compare(pairs.source)
    if generator is not None:
        errors = errors + TIE_BREAKER * torch.randn(errors.shape, generator=generator).to(errors.device)
    return errors.amin(1)


def objective(model: nn.Module, clip: Clip, stage: Stage, generator: torch.Generator) -> Objective:
    """All terms for one batch; ``stage.done`` tells how far the burn-in of object motion has come."""
    assert isinstance(model, RmDepth)
    config = model.config
    ramp = ramp_of(stage, config)
    found = explain(model, clip, ramp)
    with torch.autocast(clip.images.device.type, enabled=False):
        standing = standing_errors(found.pairs, generator) if config.automask and ramp else None
        terms, errors = depth_terms(model, clip, found, standing)
        if config.object_motion:
            terms |= motion_terms(config, found, errors)
    return _summary(clip, found, terms, errors, standing, config, ramp)


def _summary(
    clip: Clip,
    found: Explained,
    terms: dict[str, Tensor],
    errors: Tensor,
    standing: Tensor | None,
    config: RmDepthConfig,
    ramp: float,
) -> Objective:
    """The weighted terms and what is worth logging."""
    weights = {name: 1.0 if name == "photo" else float(getattr(config, f"{name}_weight")) for name in terms}
    move, field = (part.detach() for part in found.motion)
    least = errors.detach().amin(1)
    scalars = {
        "translation": move[:, :3, 3].norm(dim=-1).mean(),
        "object_motion": field.norm(dim=1).mean(),
        "ramp": torch.tensor(ramp),
        "depth_mean": found.depth.detach().mean(),
        "kept_share": torch.ones(()) if standing is None else (least < standing).float().mean(),
    }
    pictures = {"image": clip.images[:1, clip.target], "depth": found.depth[:1], "photo_error": least[:1, None]}
    if config.object_motion:
        pictures["object_motion"] = field[:1].norm(dim=1, keepdim=True)
    return Objective(terms, weights, scalars, {name: picture.detach() for name, picture in pictures.items()})


@torch.no_grad()
def validate(model: nn.Module, clip: Clip) -> Tensor:
    """The photometric term of the finest scale, without draws."""
    assert isinstance(model, RmDepth)
    found = explain(model, clip)
    field = found.motion.field if model.config.object_motion else None
    errors = found.pairs.errors(found.depth, found.motion.source_from_target, field)
    return photometric_loss(errors, standing_errors(found.pairs, None) if model.config.automask else None)
