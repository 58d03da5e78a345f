"""Pixels, rays and points of a pinhole camera. Axes x right, y down, z forward; pixel centres lie at integers.

Intrinsics are ``... x 3 x 3`` in pixels of the maps they come with; skew is ignored. All functions are
differentiable and stay in full precision under autocast.
"""

from __future__ import annotations

import torch
from torch import Tensor

MIN_Z = 1e-7  # projection never divides by less: what lies behind the camera goes far away, with finite gradients


def pixel_grid(
    height: int, width: int, dtype: torch.dtype = torch.float32, device: torch.device | str | None = None
) -> Tensor:
    """Return the coordinates (x, y) of every pixel, 2 x H x W."""
    y, x = torch.meshgrid(
        torch.arange(height, dtype=dtype, device=device),
        torch.arange(width, dtype=dtype, device=device),
        indexing="ij",
    )
    return torch.stack((x, y))


def product(a: Tensor, b: Tensor) -> Tensor:
    """Multiply small matrices ``... x I x J`` and ``... x J x K`` without the rounding of autocast or TF32."""
    return (a.unsqueeze(-1) * b.unsqueeze(-3)).sum(-2)


def inverse_intrinsics(intrinsics: Tensor) -> Tensor:
    """Invert pinhole matrices ``... x 3 x 3`` in closed form."""
    fx, fy = intrinsics[..., 0, 0], intrinsics[..., 1, 1]
    cx, cy = intrinsics[..., 0, 2], intrinsics[..., 1, 2]
    zero, one = torch.zeros_like(fx), torch.ones_like(fx)
    rows = (1 / fx, zero, -cx / fx, zero, 1 / fy, -cy / fy, zero, zero, one)
    return torch.stack(rows, -1).unflatten(-1, (3, 3))


def plane_rays(matrix: Tensor, height: int, width: int) -> Tensor:
    """Apply ``... x 3 x 3`` matrices to the homogeneous pixels (x, y, 1): ``... x 3 x H x W``."""
    x = torch.arange(width, dtype=matrix.dtype, device=matrix.device)
    y = torch.arange(height, dtype=matrix.dtype, device=matrix.device)[:, None]
    across, down, constant = matrix[..., None, None].unbind(-3)
    return (across * x + constant) + down * y  # one row plus one column: a single pass over the picture


def back_project(depth: Tensor, intrinsics: Tensor) -> Tensor:
    """Lift ``depth`` ``... x 1 x H x W`` (z) to points ``... x 3 x H x W`` in the camera's frame and depth's unit."""
    return depth * plane_rays(inverse_intrinsics(intrinsics), *depth.shape[-2:])


def project(points: Tensor, intrinsics: Tensor) -> tuple[Tensor, Tensor]:
    """Project points ``... x 3 x H x W`` to pixels ``... x 2 x H x W`` (x, y); also their z ``... x 1 x H x W``.

    Pixels of points with z <= 0 are finite and meaningless; mask them with z.
    """
    focal = torch.stack((intrinsics[..., 0, 0], intrinsics[..., 1, 1]), -1)[..., None, None]
    center = intrinsics[..., :2, 2, None, None]
    z = points[..., 2:, :, :]
    return points[..., :2, :, :] / z.clamp(min=MIN_Z) * focal + center, z
