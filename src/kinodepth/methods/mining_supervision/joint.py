"""Depth, ego-motion and what moves besides, learnt together; and the same for one rigid object (spec
mining_supervision 6, 8, 10).

Shapes: B samples; the two neighbours of the target, previous and next, are stacked along the batch: 2B, the previous
ones first.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, NamedTuple

import torch
from torch import Tensor

from kinodepth.geometry.pose import euler_to_matrix, invert, pose_matrix
from kinodepth.geometry.sampling import resize, sample
from kinodepth.losses.reduction import masked_mean
from kinodepth.losses.smoothness import edge_aware_smoothness_loss
from kinodepth.methods.mining_supervision.losses import (
    best_error,
    label_loss,
    motion_sparsity_loss,
    object_smoothness_loss,
)
from kinodepth.methods.mining_supervision.motion import forward_warp, projected
from kinodepth.types import Convention

LEAST = 1e-5  # pixels of motion
STORED = 0.01  # pixels of motion (|x| + |y|) below which nothing is written down


def neighbours_from_target(pose_previous: Tensor, pose_next: Tensor) -> Tensor:
    """2B x 4 x 4 of two network answers B x 6 (Euler angles, translation), pairs given in order of time (spec 3)."""
    answers = torch.cat([pose_previous, pose_next])
    moves = pose_matrix(euler_to_matrix(answers[:, :3]), answers[:, 3:6])
    earlier, later = moves.chunk(2)
    return torch.cat([invert(earlier), later])


class Seen(NamedTuple):
    """What the neighbours would show if nothing moved by itself: ``image`` 2B x 3 x H x W, ``depth`` 2B x 1 x H x W."""

    image: Tensor
    depth: Tensor


def seen_by_neighbours(
    image: Tensor, depth: Tensor, neighbour_from_target: Tensor, intrinsics: Tensor, convention: Convention
) -> Seen:
    """The target's ``image`` B x 3 x H x W and ``depth`` B x 1 x H x W carried to both neighbours."""
    images, depths = torch.cat([image, image]), torch.cat([depth, depth])
    return Seen(*forward_warp(images, depths, neighbour_from_target, intrinsics, convention=convention))


def residual_motion(
    flow: Tensor,
    seen_depth: Tensor,
    neighbour_from_target: Tensor,
    intrinsics: Tensor,
    gate: Literal["known", "large"],
    convention: Convention,
) -> Tensor:
    """Image-space motion of the target's pixels, 2B x 2 x H x W, from the flow between what the neighbours should show
    and what they do. It counts where ``seen_depth`` is ``known``, or there only where it is ``large``: at least the
    picture's mean; and only where it counts in both neighbours.
    """
    with torch.no_grad():
        length = flow.norm(dim=1, keepdim=True)
        keep = seen_depth != 0
        if gate == "large":
            keep = keep & (length >= length.mean((2, 3), keepdim=True)) & (length >= LEAST)
    carried, _ = forward_warp(flow * keep, seen_depth, invert(neighbour_from_target), intrinsics, convention=convention)
    with torch.no_grad():
        moves = carried.sum(1, keepdim=True) != 0
        moves = torch.logical_and(*moves.chunk(2))
    return carried * torch.cat([moves, moves])


class Explained(NamedTuple):
    """``terms`` by name, unweighted; of the finest scale the ``pixels`` 2B x 2 x H x W of the neighbours, the pictures
    ``warped`` from there, 2B x 3 x H x W, and the pixels ``counted`` B x 1 x H x W."""

    terms: dict[str, Tensor]
    pixels: Tensor
    warped: Tensor
    counted: Tensor


def joint_terms(
    pyramid: Sequence[Tensor],
    neighbours: Tensor,
    depths: Sequence[Tensor],
    neighbour_from_target: Tensor,
    intrinsics: Tensor,
    motion: Tensor | None,
    convention: Convention,
    automask: bool = True,
) -> Explained:
    """Photometric and smoothness term per scale (``photo_s``, ``smooth_s``, the latter over 2^s) and ``sparsity``.

    ``pyramid`` the target at 1 / 2^s, ``depths`` likewise, ``neighbours`` 2B x 3 x H x W, ``intrinsics`` 2B x 3 x 3,
    ``motion`` 2B x 2 x H x W or None; every scale is compared at full size. With ``automask`` pixels count where
    the warped neighbours explain them better than the unmoved ones.
    """
    target = pyramid[0]
    unmoved = best_error(target, neighbours)
    terms: dict[str, Tensor] = {}
    first: tuple[Tensor, Tensor, Tensor] | None = None
    for scale, depth in enumerate(depths):
        full = depth if scale == 0 else resize(depth, target.shape[-2:])
        pixels = projected(torch.cat([full, full]), neighbour_from_target, intrinsics, motion, convention=convention)
        warped = sample(neighbours, pixels)
        error = best_error(target, warped)
        counted = (error < unmoved).detach() if automask else torch.ones_like(error, dtype=torch.bool)
        first = first or (pixels, warped, counted)
        terms[f"photo_{scale}"] = masked_mean(error, counted)
        terms[f"smooth_{scale}"] = edge_aware_smoothness_loss(1 / depth, pyramid[scale]) / 2**scale
    if motion is not None:
        terms["sparsity"] = motion_sparsity_loss(motion)
    assert first is not None
    return Explained(terms, *first)


def object_terms(
    target: Tensor,
    neighbours: Tensor,
    mask: Tensor,
    depth: Tensor,
    neighbour_from_target: Tensor,
    intrinsics: Tensor,
    convention: Convention,
) -> Explained:
    """The terms ``photo`` and ``smooth`` of one rigid object per sample, whose pictures are black around it.

    ``mask`` B x 1 x H x W (0/1) of the object in the target.
    """
    inside = depth * mask
    pixels = projected(torch.cat([inside, inside]), neighbour_from_target, intrinsics, convention=convention)
    warped = sample(neighbours, pixels)
    error = best_error(target, warped)
    counted = (error < best_error(target, neighbours)).detach()
    terms = {"photo": masked_mean(error, counted), "smooth": object_smoothness_loss(1 / depth, mask)}
    return Explained(terms, pixels, warped, counted)


def motion_to_store(
    depth: Tensor, neighbour_from_target: Tensor, intrinsics: Tensor, motion: Tensor, convention: Convention
) -> Tensor:
    """How far ``motion`` moves the target's pixels in the neighbours, 2B x 2 x H x W pixels; nearly nothing is 0."""
    twice = torch.cat([depth, depth])
    still = projected(twice, neighbour_from_target, intrinsics, convention=convention)
    shift = projected(twice, neighbour_from_target, intrinsics, motion, convention=convention) - still
    return shift * (shift.abs().sum(1, keepdim=True) >= STORED)


def label_terms(depths: Sequence[Tensor], label: Tensor, mask: Tensor, convention: Convention) -> dict[str, Tensor]:
    """``label_s`` per scale inside the moving objects' ``mask``, B x 1 x H x W (0/1) like ``label``, 0 = no label.

    Pictures without label do not count; published: they count with their own depth as label.
    """
    known = label.flatten(1).amax(1)[:, None, None, None] > 0
    filled = torch.where(label > 0, label, depths[0].detach())
    counted = mask if convention == "published" else mask * known
    return {f"label_{scale}": label_loss(depth, filled, counted) for scale, depth in enumerate(depths)}
