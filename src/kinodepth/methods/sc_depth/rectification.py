"""SC-Depth V2: what it adds to V1 (spec sc_depth 7). References are turned to the target's orientation by a network,
so that depth and pose see translation only; hand-held video is otherwise dominated by rotation.

Shapes: B windows, R references. Rotations are Euler angles that turn the target's rays into a reference.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor, nn

from kinodepth.geometry.pose import euler_to_matrix
from kinodepth.geometry.warp import rotation_warp
from kinodepth.losses.reduction import process_mean
from kinodepth.losses.smoothness import edge_aware_smoothness_loss
from kinodepth.methods.base import Objective, Stage
from kinodepth.methods.sc_depth.model import ScDepthV2
from kinodepth.methods.sc_depth.objective import explain, pair_losses, photometric_score, summary, views
from kinodepth.types import Clip

TRUSTED = (0.02, 0.1)  # mean |angle| in radians between which the network teaches itself by its own estimate
LARGEST = 0.05  # radians, of an angle drawn instead
MARGIN = 0.05  # radians by which rectifying has to lessen each angle
EMPTY = 1e-3  # share of a pixel that may come from outside the picture

Rotations = Callable[[Tensor, Tensor], Tensor]  # pairs of B x K x 3 x H x W -> B x K x 3


class Rectified(NamedTuple):
    """``images`` B x (1 + R) x 3 x H x W, target first, references turned; ``filled`` likewise, bool: not empty.

    ``before`` B x R x 3 is the rotation found (and undone).
    """

    images: Tensor
    filled: Tensor
    before: Tensor


def turn(images: Tensor, angles: Tensor, intrinsics: Tensor) -> Tensor:
    """Look at ``images`` B x R x C x H x W through rotations B x R x 3; empty pixels are 0."""
    matrices = intrinsics.repeat_interleave(images.shape[1], 0)
    turned = rotation_warp(images.flatten(0, 1), euler_to_matrix(angles.flatten(0, 1)), matrices)
    return turned.unflatten(0, images.shape[:2])


def rectify(rotations: Rotations, images: Tensor, intrinsics: Tensor) -> Rectified:
    """Turn the references to the orientation of the target, ``images`` B x (1 + R) x 3 x H x W."""
    target, references = images[:, :1], images[:, 1:]
    before = rotations(target.expand_as(references), references).float()
    with torch.autocast(images.device.type, enabled=False):
        turned = turn(references, before, intrinsics)
        inside = turn(torch.ones_like(references[:, :, :1]), before.detach(), intrinsics) > 1 - EMPTY
    filled = torch.cat([torch.ones_like(inside[:, :1]), inside], 1)
    return Rectified(torch.cat([target, turned], 1), filled, before)


def known_rotation(before: Tensor, uniform: Tensor) -> Tensor:
    """The rotation to recognise, B x R x 3: the one found where its mean size over the batch is neither too small to
    teach anything nor too large to be right, one drawn from ``uniform`` [0, 1) numbers B x R x 3 elsewhere."""
    size = process_mean(before.detach().abs().mean((0, 2)))
    trusted = (size > TRUSTED[0]) & (size < TRUSTED[1])
    return torch.where(trusted[:, None], before.detach(), (uniform - 0.5) * (2 * LARGEST))


def rotation_terms(
    rotations: Rotations, images: Tensor, found: Rectified, intrinsics: Tensor, uniform: Tensor
) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """Consistency and triplet loss of the rectified ``images``, and the mean |angle| before and after.

    Both second looks are one forward, so running BatchNorm statistics see the published calls in another order.
    """
    target, references = images[:, :1].expand_as(images[:, 1:]), images[:, 1:]
    known = known_rotation(found.before, uniform)
    with torch.no_grad():
        turned = turn(references, known, intrinsics)
    looks = rotations(torch.cat([target, turned], 1), torch.cat([found.images[:, 1:], references], 1)).float()
    after, recognised = looks.chunk(2, 1)
    terms = {
        "rotation_consistency": (recognised - known).abs().mean(),
        "rotation_triplet": (after.abs() - found.before.abs() + MARGIN).relu().mean(),
    }
    scalars = {"rotation_before": found.before.abs().mean(), "rotation_after": after.abs().mean()}
    return terms, scalars


def objective(model: nn.Module, clip: Clip, stage: Stage, generator: torch.Generator) -> Objective:
    """The terms of V2 for one batch (spec 9); those of V1 reach the rectify net through the turned references."""
    assert isinstance(model, ScDepthV2)
    images, config = views(clip), model.config
    uniform = torch.rand(len(images), images.shape[1] - 1, 3, generator=generator).to(images.device)
    rectified = rectify(model.rotations, images, clip.intrinsics)
    found = explain(model, rectified.images, clip.intrinsics, rectified.filled)
    terms, scalars = rotation_terms(model.rotations, images, rectified, clip.intrinsics, uniform)
    with torch.autocast(images.device.type, enabled=False):
        terms |= pair_losses(found.maps, config)
        terms["smooth"] = edge_aware_smoothness_loss(found.depths[:, 0], images[:, 0])
    return summary(clip, found, terms, config, **scalars)


@torch.no_grad()
def validate(model: nn.Module, clip: Clip) -> Tensor:
    """The photometric term of the rectified views in eval mode."""
    assert isinstance(model, ScDepthV2)
    rectified = rectify(model.rotations, views(clip), clip.intrinsics)
    return photometric_score(explain(model, rectified.images, clip.intrinsics, rectified.filled), model.config)
