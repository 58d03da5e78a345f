"""From the depth of an object to depth in the scene, and the labels that follow (spec mining_supervision 9).

Maps are B x 1 x H x W; masks of float 0/1.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from kinodepth.types import Convention

DELTA = 0.005  # scene units: where the loss turns from square to absolute


class Prepared(NamedTuple):
    """What the scale network sees besides the picture: the object's ``mask`` without road, ``scene`` depth of the road
    around its box, its own depth ``relative`` to its mean."""

    mask: Tensor
    scene: Tensor
    relative: Tensor


def prepare(depth: Tensor, object_depth: Tensor, mask: Tensor, box: Tensor, road: Tensor) -> Prepared:
    """``depth`` of the scene, ``object_depth`` of the object network for the picture masked by ``mask``."""
    mask = mask * (1 - road)
    scene = road * (1 - box) * (1 - mask) * depth
    inside = object_depth * mask
    mean = inside.sum((1, 2, 3), keepdim=True) / (mask.sum((1, 2, 3), keepdim=True) + 1e-5)
    return Prepared(mask, scene, inside / (mean + 1e-5))


def alignment_loss(scaled: Tensor, depth: Tensor, mask: Tensor, convention: Convention = "exact") -> Tensor:
    """Huber distance of objects' ``scaled`` depth to that of the scene: mean over each mask, then over the objects.

    Published: empty masks count as objects without error.
    """
    error = F.huber_loss(scaled, depth, reduction="none", delta=DELTA) * mask
    area = mask.sum((1, 2, 3))
    each = error.sum((1, 2, 3)) / area.clamp(min=1)
    return each.mean() if convention == "published" else each.sum() / (area > 0).sum().clamp(min=1)


def nearest(scaled: Tensor) -> Tensor:
    """The nearest of N scaled objects, N x 1 x H x W, at every pixel, 1 x H x W; 0 where there is none."""
    depth = torch.where(scaled == 0, torch.inf, scaled).amin(0)
    return torch.where(depth.isfinite(), depth, 0)


def compose_label(depth: Tensor, scaled: Tensor) -> Tensor:
    """The label of a frame, 1 x H x W: the nearest of its ``scaled`` objects N x 1 x H x W, elsewhere ``depth``."""
    objects = nearest(scaled) if len(scaled) else torch.zeros_like(depth)
    return torch.where(objects != 0, objects, depth)
