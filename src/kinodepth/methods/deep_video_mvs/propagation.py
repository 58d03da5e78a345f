"""How the recurrent state follows the camera: the previous depth seen from here, the hidden state looked up there.

Shapes: B batch, H W image, h w = H/32 W/32 the state's grid. Poses are cam_to_world; intrinsics those of the image.
"""

from __future__ import annotations

import torch
from torch import Tensor

from kinodepth.geometry.camera import back_project
from kinodepth.geometry.pose import move_between, transform
from kinodepth.geometry.sampling import sample
from kinodepth.types import Camera, Convention

HOLE = 0.01  # metres: a state whose depth is not larger is cleared


def divide_intrinsics(intrinsics: Tensor, factor: int) -> Tensor:
    """Matrices for maps whose pixel j is the image's pixel ``factor`` j, as strided convolutions make them."""
    return intrinsics * torch.tensor([1 / factor, 1 / factor, 1], device=intrinsics.device)[:, None]


def project_depth(
    depth: Tensor, previous: Tensor, current: Tensor, intrinsics: Tensor, convention: Convention = "exact"
) -> Tensor:
    """The ``previous`` view's ``depth`` B x 1 x H x W as the ``current`` view sees it, B x 1 x H/2 x W/2; holes are 0.

    Each point goes to the nearest pixel. Of several the nearest to the camera stays, under ``published`` the
    farthest (spec deep_video_mvs 2.7). Not differentiable.
    """
    height, width = depth.shape[-2] // 2, depth.shape[-1] // 2
    points = transform(move_between(current, previous).to(depth), back_project(depth.detach(), intrinsics))
    half = divide_intrinsics(intrinsics, 2)
    z = points[:, 2:].clamp(min=0)
    x, y, _ = torch.cat((points[:, :2], z), 1).unbind(1)
    z = z[:, 0]
    scale = torch.where(z > 1e-8, 1 / z, 1)
    fx, fy, cx, cy = (half[:, i, j, None, None] for i, j in ((0, 0), (1, 1), (0, 2), (1, 2)))
    x, y = (fx * x * scale + cx).round(), (fy * y * scale + cy).round()
    lands = (x >= 0) & (x < width) & (y >= 0) & (y < height) & (z > 0)
    cell = torch.where(lands, y * width + x, height * width).long().flatten(1)
    farthest = convention == "published"
    empty = z.new_full((len(z), height * width + 1), 0 if farthest else torch.inf)
    found = empty.scatter_reduce(1, cell, z.flatten(1), "amax" if farthest else "amin")[:, :-1]
    return torch.where(found.isfinite(), found, 0).view(-1, 1, height, width)


def warp_hidden(
    hidden: Tensor, depth: Tensor, previous_from_current: Tensor, intrinsics: Tensor, convention: Convention = "exact"
) -> Tensor:
    """Look ``hidden`` B x C x h x w of the previous view up at the current pixels, whose ``depth`` is B x 1 x h x w.

    ``intrinsics`` are those of the state's grid. Zero where there is no depth or the place is outside; ``exact``
    also where it lies behind the camera, ``published`` projects it with z = 1 (spec deep_video_mvs 2.7).
    """
    points = transform(previous_from_current, back_project(depth, intrinsics))
    z = points[:, 2:].clamp(min=0)
    in_front = z > 1e-8
    scaled = torch.cat(
        (points[:, :2] * torch.where(in_front, 1 / torch.where(in_front, z, 1), 1), torch.ones_like(z)), 1
    )
    pixels = torch.stack([(intrinsics[:, i, :, None, None] * scaled).sum(1) for i in range(2)], 1)
    warped = sample(hidden, pixels)
    if convention == "exact":
        return torch.where((depth > HOLE) & in_front, warped, 0)
    # The released code clears states behind autograd's back: the gradient passes as if they were kept.
    return warped - torch.where(depth > HOLE, 0, warped).detach()


def overlap(pose: Tensor, others: Tensor, camera: Camera, near: float, far: float) -> Tensor:
    """The share (N) of the space seen from ``pose`` (4 x 4 cam_to_world) between depths ``near`` and ``far``, counted
    evenly in pixels and inverse depth as the planes are, that the camera sees from each of ``others`` N x 4 x 4 too."""
    rows, columns, depths = 6, 8, 16
    y, x = ((torch.arange(n, dtype=torch.float64) + 0.5) / n for n in (rows, columns))
    inverse = 1 / far + (1 / near - 1 / far) * (torch.arange(depths, dtype=torch.float64) + 0.5) / depths
    y, x, z = (grid.flatten() for grid in torch.meshgrid(y, x, 1 / inverse, indexing="ij"))
    across = (x * camera.width - 0.5 - camera.cx) / camera.fx * z
    down = (y * camera.height - 0.5 - camera.cy) / camera.fy * z
    points = torch.stack((across, down, z, torch.ones_like(z)))
    right, below, ahead, _ = (move_between(others, pose.expand_as(others)) @ points).unbind(-2)
    u, v = camera.fx * right / ahead + camera.cx + 0.5, camera.fy * below / ahead + camera.cy + 0.5
    inside = (u > 0) & (u < camera.width) & (v > 0) & (v < camera.height)
    return (inside & (ahead > 0)).double().mean(-1)
