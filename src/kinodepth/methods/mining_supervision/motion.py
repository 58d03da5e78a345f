"""Where points go: projection with object motion, and pictures carried forward (spec mining_supervision 3).

Object motion comes in two kinds that exclude each other: ``image_motion`` m B x 2 x H x W shifts a point by m / z
pixels, ``offset`` B x 3 x H x W moves it in space. The published convention truncates target pixels toward zero,
lets points behind the camera win where nothing else falls, and starts the finer grid of the forward warp at the corner
of a pixel; the exact one rounds, drops what is not in front of both cameras, and is centred.
"""

from __future__ import annotations

import torch
from torch import Tensor

from kinodepth.geometry.camera import MIN_Z, inverse_intrinsics, plane_rays, product
from kinodepth.geometry.pose import invert
from kinodepth.geometry.sampling import sample
from kinodepth.geometry.warp import homography
from kinodepth.types import Convention

FINER = 3  # points per pixel and axis in the forward warp
EMPTY = torch.iinfo(torch.int64).min


def projected(
    depth: Tensor,
    b_from_a: Tensor,
    intrinsics: Tensor,
    image_motion: Tensor | None = None,
    offset: Tensor | None = None,
    convention: Convention = "exact",
) -> Tensor:
    """Find a's pixels with ``depth`` B x 1 x H x W in view b: B x 2 x H x W, clamped to the picture.

    ``b_from_a`` B x 4 x 4, ``intrinsics`` B x 3 x 3. Clamping blocks the gradient of what leaves the picture.
    """
    height, width = depth.shape[-2:]
    rays = plane_rays(homography(b_from_a[..., :3, :3], intrinsics), height, width)
    points = torch.addcmul(product(intrinsics, b_from_a[..., :3, 3:])[..., None], rays, depth)
    if offset is not None:
        points = points + torch.einsum("bij,bjhw->bihw", intrinsics, offset)
    place, z = points[:, :2], points[:, 2:]
    if image_motion is not None:
        place = place + image_motion
    place = place / (z + 1e-5 if convention == "published" else z.clamp(min=MIN_Z))
    return torch.stack([place[:, 0].clamp(0, width - 1), place[:, 1].clamp(0, height - 1)], 1)


def forward_warp(
    values: Tensor,
    depth: Tensor,
    b_from_a: Tensor,
    intrinsics: Tensor,
    offset: Tensor | None = None,
    offset_back: Tensor | None = None,
    convention: Convention = "exact",
) -> tuple[Tensor, Tensor]:
    """What view b would show of a's ``values`` B x C x H x W by a's ``depth``; also b's depth, 0 where nothing falls.

    Nine points per pixel fall into b, the nearest wins; its depth, with gradient, says where in a the pixel of b lies.
    ``offset`` moves a's points in space, ``offset_back`` those of b (published: read at b's pixels although it belongs
    to a's; exact: carried along with the points).
    """
    shape = depth.shape
    source, landed = _winners(depth.detach(), b_from_a.detach(), intrinsics, offset, convention)
    column, row = source % (FINER * shape[-1]), source // (FINER * shape[-1])
    pixel = (row // FINER) * shape[-1] + column // FINER
    fine = _fine_grid(intrinsics, convention)
    ray = product(b_from_a[:, :3, :3], product(inverse_intrinsics(intrinsics), fine))[:, 2]  # third row: z of a ray
    z = (ray[:, :1] * column + ray[:, 1:2] * row + ray[:, 2:]) * depth.flatten(1).gather(1, pixel) + b_from_a[:, 2, 3:4]
    if offset is not None:
        z = z + offset[:, 2].flatten(1).gather(1, pixel)
    warped = torch.where(landed, z, 0).view(shape)
    if offset_back is not None and convention == "exact":
        offset_back = offset_back.flatten(2).gather(2, pixel[:, None].expand(-1, 3, -1)).view_as(offset_back)
    back = projected(warped, invert(b_from_a), intrinsics, offset=offset_back, convention=convention)
    return sample(values, back) * (warped != 0), warped


@torch.no_grad()
def _winners(
    depth: Tensor, b_from_a: Tensor, intrinsics: Tensor, offset: Tensor | None, convention: Convention
) -> tuple[Tensor, Tensor]:
    """For every pixel of b the index of the nearest point in a's finer grid, B x HW, and whether there is one."""
    matrix = product(homography(b_from_a[:, :3, :3], intrinsics), _fine_grid(intrinsics, convention))
    shift = product(intrinsics, b_from_a[:, :3, 3:])[..., 0]
    moved = None if offset is None else torch.einsum("bij,bjhw->bihw", intrinsics, offset)
    if depth.device.type == "cpu":
        from kinodepth.methods.mining_supervision.scatter import nearest_points  # the compiler is slow to import

        return nearest_points(depth, matrix, shift, moved, FINER, convention == "exact")
    return _scattered(depth, matrix, shift, moved, convention)


def _scattered(
    depth: Tensor, matrix: Tensor, shift: Tensor, moved: Tensor | None, convention: Convention
) -> tuple[Tensor, Tensor]:
    """``nearest_points`` on an accelerator: one scatter for the whole batch."""
    batch, _, height, width = depth.shape
    known = _finer(depth)
    points = plane_rays(matrix, FINER * height, FINER * width).mul_(known).add_(shift[..., None, None])
    if moved is not None:
        points.add_(_finer(moved))
    cell, lands = _cells(points, height, width, convention)
    if convention == "exact":
        lands &= known[:, 0] > 0
    cell = cell.masked_fill_(~lands, height * width).long().flatten(1)
    best = torch.full((batch, height * width + 1), EMPTY, device=depth.device)
    best = best.scatter_reduce_(1, cell, _order(points[:, 2]), "amax")[:, :-1]
    landed = best != EMPTY
    return torch.where(landed, -best & 0xFFFFFFFF, 1) - 1, landed


def _cells(points: Tensor, height: int, width: int, convention: Convention) -> tuple[Tensor, Tensor]:
    """The pixel, in raster order, that each of ``points`` B x 3 x h x w falls on, and whether it is in the picture."""
    x, y, z = points.unbind(1)
    if convention == "published":
        x, y = x / (z + 1e-5), y / (z + 1e-5)
        lands = (x > -1) & (x < width) & (y > -1) & (y < height) & (z != 0)
    else:
        x, y = x / z + 0.5, y / z + 0.5
        lands = (x >= 0) & (x < width) & (y >= 0) & (y < height) & (z > MIN_Z)
    return y.trunc_().mul_(width).add_(x.trunc_()), lands


def _order(z: Tensor) -> Tensor:
    """Integers B x hw that rise with 1 / ``z`` B x h x w, and of equal ones are larger for the earlier place.

    Floats order like their bits, negative ones backwards; the place is below.
    """
    bits = z.float().reciprocal().view(torch.int32).flatten(1)
    order = (bits ^ ((bits >> 31) & 0x7FFFFFFF)).long() << 32
    return order.sub_(torch.arange(1, 1 + order.shape[1], device=z.device))


def _fine_grid(intrinsics: Tensor, convention: Convention) -> Tensor:
    """3 x 3: from homogeneous places in the finer grid to pixels."""
    shift = 0.0 if convention == "published" else (1 - FINER) / 2 / FINER
    return intrinsics.new_tensor([[1 / FINER, 0, shift], [0, 1 / FINER, shift], [0, 0, 1]])


def _finer(maps: Tensor) -> Tensor:
    """B x C x H x W with every pixel FINER times in both directions."""
    return maps.repeat_interleave(FINER, 2).repeat_interleave(FINER, 3)
