"""Move pictures between views. The target's depth is known; its pixels are looked up in a source view."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from kinodepth.geometry.camera import MIN_Z, inverse_intrinsics, pixel_grid, plane_rays, product
from kinodepth.geometry.sampling import Padding, SamplingConvention, sample
from kinodepth.types import Convention

SLACK = 1e-3  # pixels of float32 rounding that may not throw a border pixel out


class Warped(NamedTuple):
    """``image`` B x C x H x W as seen from the target; ``depth`` B x 1 x H x W likewise sampled from the source's
    depth (None without it); ``z`` B x 1 x H x W, the depth that the target's points have in the source camera;
    ``pixels`` B x 2 x H x W where they fall; ``valid`` B x 1 x H x W bool, in front of the source and inside it."""

    image: Tensor
    depth: Tensor | None
    z: Tensor
    pixels: Tensor
    valid: Tensor


def homography(a_from_b_rotation: Tensor, intrinsics: Tensor, a_intrinsics: Tensor | None = None) -> Tensor:
    """Return K_a R K_b^-1, B x 3 x 3, which takes homogeneous b-pixels to a for points at infinity."""
    to = intrinsics if a_intrinsics is None else a_intrinsics
    return product(product(to, a_from_b_rotation), inverse_intrinsics(intrinsics))


def reproject(
    depth: Tensor,
    a_from_b: Tensor,
    intrinsics: Tensor,
    a_intrinsics: Tensor | None = None,
    object_motion: Tensor | None = None,
    convention: Convention = "exact",
) -> tuple[Tensor, Tensor]:
    """Find where b's pixels with ``depth`` B x 1 x H x W appear in view a: pixels B x 2 x H x W and z B x 1 x H x W.

    ``a_from_b`` B x 4 x 4 in depth's unit; ``object_motion`` B x 3 x H x W in a's frame, added after the rotation
    (spec rm_depth 2). ``published`` divides by z + 1e-7 whatever its sign; ``exact`` by z, at least 1e-7.
    """
    to = intrinsics if a_intrinsics is None else a_intrinsics
    rays = plane_rays(homography(a_from_b[..., :3, :3], intrinsics, to), *depth.shape[-2:])
    points = torch.addcmul(product(to, a_from_b[..., :3, 3:])[..., None], rays, depth)
    if object_motion is not None:
        fx, fy, cx, cy = (to[..., i, j, None, None] for i, j in ((0, 0), (1, 1), (0, 2), (1, 2)))
        x, y, z = object_motion.unbind(-3)
        points = points + torch.stack((fx * x + cx * z, fy * y + cy * z, z), -3)
    z = points[..., 2:, :, :]
    if convention == "published":
        divisor = z + 1e-7
        divisor = divisor.masked_fill(divisor == 0, 1e-7)
    else:
        divisor = z.clamp(min=MIN_Z)
    return points[..., :2, :, :] / divisor, z


def inverse_warp(
    source: Tensor,
    depth: Tensor,
    source_from_target: Tensor,
    intrinsics: Tensor,
    source_depth: Tensor | None = None,
    source_intrinsics: Tensor | None = None,
    object_motion: Tensor | None = None,
    padding: Padding = "zeros",
    convention: Convention = "exact",
) -> Warped:
    """Look ``source`` B x C x H x W up at the target's pixels, whose ``depth`` B x 1 x H x W is known.

    Directions and references are merged in the batch axis by the caller. ``source_from_target`` B x 4 x 4 in depth's
    unit; intrinsics B x 3 x 3 (of the target; ``source_intrinsics`` default to the same); ``object_motion`` as in
    ``reproject``. ``published`` is the warp of SC-Depth (spec sc_depth 4): sampled with ``mixed_corners``, points
    behind the camera projected as if they were in front. ``valid`` asks for z > 0 and a place inside in both.
    """
    pixels, z = reproject(depth, source_from_target, intrinsics, source_intrinsics, object_motion, convention)
    corners: SamplingConvention = "exact" if convention == "exact" else "mixed_corners"
    # Two look-ups, not one of both stacked: images need no gradient, and theirs would be the dearest part.
    image = sample(source, pixels, padding, convention=corners)
    sampled_depth = None if source_depth is None else sample(source_depth, pixels, padding, convention=corners)
    return Warped(image, sampled_depth, z, pixels, inside(pixels.detach(), z.detach(), source.shape))


def inside(pixels: Tensor, z: Tensor, shape: torch.Size) -> Tensor:
    """Mark pixels B x 2 x H x W that lie in an image of ``shape`` ... x H x W and in front of it: B x 1 x H x W."""
    x, y = pixels[:, :1], pixels[:, 1:]
    horizontal = (x >= -SLACK) & (x <= shape[-1] - 1 + SLACK)
    return horizontal & (y >= -SLACK) & (y <= shape[-2] - 1 + SLACK) & (z > MIN_Z)


def rotation_warp(source: Tensor, source_from_target_rotation: Tensor, intrinsics: Tensor) -> Tensor:
    """Turn ``source`` B x C x H x W into the view rotated by B x 3 x 3; empty pixels are 0 (spec sc_depth 4, 7)."""
    rays = plane_rays(homography(source_from_target_rotation, intrinsics), *source.shape[-2:])
    return sample(source, rays[:, :2] / rays[:, 2:].clamp(min=MIN_Z))


def rigid_flow(depth: Tensor, b_from_a: Tensor, intrinsics: Tensor, object_motion: Tensor | None = None) -> Tensor:
    """Return the image motion from a to b, B x 2 x H x W pixels, that ``depth`` of a and the motion imply.

    With ``object_motion`` B x 3 x H x W (b's frame, spec rm_depth 2) it is the full optical flow.
    """
    pixels, _ = reproject(depth, b_from_a, intrinsics, object_motion=object_motion)
    return pixels - pixel_grid(depth.shape[-2], depth.shape[-1], pixels.dtype, pixels.device)


def forward_splat(values: Tensor, pixels: Tensor, z: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Carry each pixel's ``values`` B x C x H x W to the pixel nearest to ``pixels`` B x 2 x H x W; least z wins.

    ``z`` B x 1 x H x W orders the points (in float32; of equal ones the first in raster order wins, so the result is
    always the same). Points with z <= 0 or outside are dropped. Returns the splatted values (0 where nothing fell),
    the z-buffer B x 1 x H x W (likewise) and the filled mask (bool). Winners carry gradients of ``values`` and ``z``.
    """
    batch, _, height, width = values.shape
    count = height * width
    x, y = pixels.detach().round().unbind(1)
    depth = z.detach()[:, 0].float()
    lands = (x >= 0) & (x < width) & (y >= 0) & (y < height) & (depth > 0) & depth.isfinite()
    x, y = (torch.where(lands, place, 0).long() for place in (x, y))
    cell = torch.where(lands, y * width + x, count).flatten(1)
    # Positive floats order like their bits: z above, raster index below, one minimum finds the winner.
    index = torch.arange(count, device=z.device)
    key = (depth.contiguous().view(torch.int32).long().flatten(1) << 32) | index
    empty = torch.full((batch, count + 1), torch.iinfo(torch.int64).max, device=z.device)
    least = empty.scatter_reduce(1, cell, key, "amin")[:, :count]
    filled = (least != empty[:, :count]).view(batch, 1, height, width)
    winner = torch.where(filled.flatten(1), least & 0xFFFFFFFF, 0)[:, None]

    def fetch(maps: Tensor) -> Tensor:
        taken = maps.flatten(2).gather(2, winner.expand(-1, maps.shape[1], -1))
        return torch.where(filled, taken.unflatten(2, (height, width)), 0)

    return fetch(values), fetch(z), filled
