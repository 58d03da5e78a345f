"""The ground plane in a depth map, and how high the camera is above it."""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor

from kinodepth.geometry.camera import back_project

LOWER = 0.6  # of the height: the ground is looked for below
POINTS, TRIALS = 3000, 300
RELATIVE = 0.05  # a pixel is on the plane if its depth is that close to the plane's
TILT = 45.0  # degrees between the image's vertical and the ground's normal, at most


class Ground(NamedTuple):
    """``height`` of the camera in the unit of depth, unit ``normal`` (3, downwards), share of pixels ``on`` it."""

    height: float
    normal: Tensor
    on: float


def ground_plane(depth: Tensor, intrinsics: Tensor, seed: int = 0) -> Ground:
    """The plane that most pixels of the lower part of ``depth`` (1 x H x W, 0 = unknown) lie on; ``intrinsics`` 3 x 3.

    Random sample consensus, then least squares on the inliers. A plane is m with m . X = 1: then |m . X - 1| is the
    relative error of the depth along the ray, and the height is 1 / |m|. Height NaN where no plane lies below.
    """
    nothing = Ground(math.nan, torch.zeros(3, dtype=torch.float64), 0.0)
    top = int(LOWER * depth.shape[-2])
    points = back_project(depth.double(), intrinsics.double())[:, top:].flatten(1).T
    points = points[depth[0, top:].flatten() > 0]
    if len(points) < 10:
        return nothing
    generator = torch.Generator().manual_seed(seed)
    points = points[torch.randperm(len(points), generator=generator)[:POINTS]]
    triples = points[torch.randint(len(points), (TRIALS, 3), generator=generator)]
    planes = torch.linalg.solve(triples[_spans(triples)], torch.ones(int(_spans(triples).sum()), 3, 1).double())[..., 0]
    planes = planes[_below(planes)]
    if not len(planes):
        return nothing
    best = planes[_inliers(points, planes).sum(0).argmax()]
    for _ in range(5):
        on = points[_inliers(points, best[None])[:, 0]]
        if len(on) < 10:
            return nothing
        best = torch.linalg.lstsq(on, torch.ones(len(on), 1).double()).solution[:, 0]
    if not bool(_below(best[None])):
        return nothing
    length = float(best.norm())
    return Ground(1 / length, best / length, float(_inliers(points, best[None]).double().mean()))


def _spans(triples: Tensor) -> Tensor:
    """Whether three points (N x 3 x 3) and the camera are not in one plane, which would have no m."""
    size = triples.norm(dim=-1).prod(-1).clamp(min=1e-12)
    return torch.linalg.det(triples).abs() > 1e-6 * size


def _inliers(points: Tensor, planes: Tensor) -> Tensor:
    return (points @ planes.T - 1).abs() < RELATIVE


def _below(planes: Tensor) -> Tensor:
    return planes[:, 1] > math.cos(math.radians(TILT)) * planes.norm(dim=1)
