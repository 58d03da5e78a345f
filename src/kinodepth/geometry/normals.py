"""Surface normals from depth."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from kinodepth.geometry.camera import back_project


def normals_from_depth(depth: Tensor, intrinsics: Tensor) -> Tensor:
    """Return unit normals B x 3 x H x W (camera axes) of ``depth`` B x 1 x H x W; intrinsics B x 3 x 3.

    Cross product of the Sobel derivatives of the points, border replicated. They point along +z, away from the camera:
    a wall facing it has (0, 0, 1) (spec sc_depth 4).
    """
    points = F.pad(back_project(depth, intrinsics), (1, 1, 1, 1), mode="replicate")
    smooth_down = points[..., :-2, :] + 2 * points[..., 1:-1, :] + points[..., 2:, :]
    smooth_across = points[..., :-2] + 2 * points[..., 1:-1] + points[..., 2:]
    across = (smooth_down[..., 2:] - smooth_down[..., :-2]) / 8
    down = (smooth_across[..., 2:, :] - smooth_across[..., :-2, :]) / 8
    return F.normalize(torch.linalg.cross(across, down, dim=1), dim=1, eps=1e-12)
