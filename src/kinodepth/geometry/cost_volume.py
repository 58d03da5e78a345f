"""Plane-sweep cost volumes: how well features of other views fit the reference if the scene were a plane at depth d.

Shapes: B batch, V measurement views, C channels, D planes, h w feature map. Feature maps are the strided grid of the
image: their pixel j is the image's pixel j * s, so that intrinsics divided by s are exact.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from kinodepth.geometry.camera import plane_rays, product
from kinodepth.geometry.sampling import sample
from kinodepth.geometry.warp import homography
from kinodepth.types import Convention

TILE = (8, 32)  # rows and columns of the reference whose samples on all planes stay in a processor's second cache
PLANES_AT_ONCE = 8  # in the differentiable form


def plane_sweep_volume(
    reference: Tensor,
    measurements: Tensor,
    measurement_from_reference: Tensor,
    intrinsics: Tensor,
    depths: Tensor,
    convention: Convention = "exact",
) -> Tensor:
    """Mean over channels and views of reference times warped measurement: B x D x h x w (spec deep_video_mvs 2.3).

    ``reference`` B x C x h x w, ``measurements`` B x V x C x h x w, ``measurement_from_reference`` B x V x 4 x 4 in the
    unit of ``depths`` (D), ``intrinsics`` B x 3 x 3 in pixels of the feature maps, the same for all views. Samples out
    of view count as 0. ``published`` looks up at x (w - 1) / w, y (h - 1) / h and keeps samples behind the camera;
    ``exact`` does neither. Differentiable in the features.
    """
    height, width = reference.shape[-2:]
    rotation, translation = measurement_from_reference[..., :3, :3], measurement_from_reference[..., :3, 3:]
    to_pixels = intrinsics[:, None]
    if convention == "published":
        shrink = torch.tensor([(width - 1) / width, (height - 1) / height, 1], dtype=intrinsics.dtype)
        to_pixels = to_pixels * shrink.to(intrinsics.device)[:, None]
    at_infinity = homography(rotation, intrinsics[:, None].expand_as(rotation), to_pixels.expand_as(rotation))
    shift = product(to_pixels, translation)[..., 0]
    rows = measurements.shape[1] * (height + 3) * (width + 3)  # of the table, counted in float32
    gathers = reference.device.type == "cpu" and reference.dtype == torch.float32 and rows < 1 << 24
    with torch.autocast(reference.device.type, enabled=False):  # whose matrix products would round pixels
        if gathers:
            found: Tensor = _Gathered.apply(reference, measurements, at_infinity, shift, depths, convention)
            return found
        return _sampled_volume(reference, measurements, at_infinity, shift, depths, convention)


def _sampled_volume(
    reference: Tensor, measurements: Tensor, at_infinity: Tensor, shift: Tensor, depths: Tensor, convention: Convention
) -> Tensor:
    """The volume by the library's sampler, a few planes at a time; for accelerators and other precisions."""
    views, channels = measurements.shape[1:3]
    parts = []
    for some in depths.split(PLANES_AT_ONCE):
        warped = _warped(measurements, at_infinity, shift, some, convention)
        parts.append((warped.sum(1) * reference[:, :, None]).sum(1) / (channels * views))
    return torch.cat(parts, 1)


def _warped(measurements: Tensor, at_infinity: Tensor, shift: Tensor, depths: Tensor, convention: Convention) -> Tensor:
    """The measurements as the reference would see them on each plane: B x V x C x D x h x w."""
    height, width = measurements.shape[-2:]
    rays = plane_rays(at_infinity, height, width)[:, :, None]  # B x V x 1 x 3 x h x w
    points = rays + shift[:, :, None, :, None, None] / depths[:, None, None, None]
    z = points[..., 2, :, :]
    pixels = points[..., :2, :, :] / (z + 1e-8).unsqueeze(-3)
    if convention == "exact":
        pixels = torch.where((z > 0).unsqueeze(-3), pixels, -2.0)  # beyond the border: counts as 0
    rows = pixels.flatten(0, 1).transpose(1, 2).flatten(2, 3)  # B V x 2 x (planes h) x w
    found = sample(measurements.flatten(0, 1), rows)
    return found.unflatten(2, (len(depths), height)).unflatten(0, measurements.shape[:2])


class _Gathered(torch.autograd.Function):
    """The volume on a processor. What is warped is not kept but warped again for the gradients: half the time of
    training a pair net went into writing and reading it."""

    @staticmethod
    def forward(ctx: Any, reference: Tensor, measurements: Tensor, *geometry: Any) -> Tensor:
        ctx.save_for_backward(reference, measurements, *geometry[:-1])
        ctx.convention = geometry[-1]
        at_infinity, shift, *rest = geometry
        items = zip(reference, measurements, at_infinity, shift)
        return torch.stack([_gathered_volume(*item, *rest) for item in items])

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        reference, measurements, at_infinity, shift, depths = (saved.contiguous() for saved in ctx.saved_tensors)
        views, channels = measurements.shape[1:3]
        of_reference, of_measurements = torch.zeros_like(reference), torch.zeros_like(measurements)
        for i in range(len(reference)):  # item by item stays in the cache
            item = slice(i, i + 1)
            scores = gradients[0][i] / (channels * views)
            for some, weights in zip(depths.split(PLANES_AT_ONCE), scores.split(PLANES_AT_ONCE)):
                with torch.enable_grad():
                    features = measurements[item].detach().requires_grad_()
                    warped = _warped(features, at_infinity[item], shift[item], some, ctx.convention)[0]
                for view in warped.detach():
                    for plane, weight in zip(view.unbind(1), weights):
                        of_reference[i].addcmul_(plane, weight)
                towards = reference[i, None, :, None] * weights
                of_measurements[item] += torch.autograd.grad(warped, features, towards.expand_as(warped))[0]
        return of_reference, of_measurements, None, None, None, None


def _gathered_volume(
    reference: Tensor, measurements: Tensor, at_infinity: Tensor, shift: Tensor, depths: Tensor, convention: Convention
) -> Tensor:
    """The volume of one batch item, D x h x w, channels last and several times faster on a processor.

    The views' features, channels last and framed by zeros, are the rows of one table. Each sample is a weighted sum of
    4 V of them (the mean over views of products with the reference is the product with the views' mean) in one fused
    operation; tile by tile, so that the samples never leave the cache, and without planes that a tile cannot see.
    """
    (views, channels), (height, width) = measurements.shape[:2], reference.shape[-2:]
    down, across = -(-height // TILE[0]), -(-width // TILE[1])
    table = F.pad(measurements, (1, 2, 1, 2)).permute(0, 2, 3, 1).contiguous().view(-1, channels)
    framed = torch.tensor([[1.0, 0.0, 1.0], [0.0, 1.0, 1.0], [0.0, 0.0, 1.0]])  # the table's pixel 1 is the map's 0
    rays = plane_rays(product(framed, at_infinity), down * TILE[0], across * TILE[1]).transpose(0, 1)  # 3 x V x ..
    shift = product(framed, shift[..., None])[..., 0].T
    spans = _visible(rays, shift, depths, (width + 1, height + 1))
    lines, start = _tiled(rays.permute(2, 3, 0, 1)).permute(0, 2, 3, 1)[..., None].contiguous(), shift[..., None, None]
    space = (0, across * TILE[1] - width, 0, down * TILE[0] - height)
    features = _tiled(F.pad(reference, space).permute(1, 2, 0) / (channels * views))[:, :, None]
    volume = features.new_zeros(*features.shape[:2], len(depths))
    mixing = _mixing(views, width + 3, (width + 3) * (height + 3))
    for line, feature, scores, (first, last, crosses) in zip(lines, features, volume, spans):
        if first == last:
            continue
        points = torch.mul(line, depths[first:last]).add_(start)
        z = points[2].add_(1e-8 * depths[first:last]).reciprocal_() if crosses else points[2].reciprocal_()
        pixels = points[:2].mul_(z)
        if crosses:
            pixels = torch.where(z > 0, pixels, 0.0) if convention == "exact" else pixels.nan_to_num_(0.0)
        rows, weights = _corners(pixels, (width, height), *mixing)
        warped = F.embedding_bag(rows, table, per_sample_weights=weights, mode="sum")
        torch.bmm(feature, warped.view(len(feature), -1, channels).mT, out=scores[:, None, first:last])
    whole = volume.view(down, across, *TILE, -1).transpose(1, 2).reshape(down * TILE[0], across * TILE[1], -1)
    return whole[:height, :width].permute(2, 0, 1)


def _tiled(maps: Tensor) -> Tensor:
    """Cut maps H x W x .. into tiles: N x pixels of a tile x .., in raster order."""
    tiles = maps.unflatten(1, (-1, TILE[1])).unflatten(0, (-1, TILE[0])).transpose(1, 2)
    return tiles.flatten(0, 1).flatten(1, 2)


def _mixing(views: int, stride: int, count: int) -> tuple[Tensor, Tensor]:
    """Matrices that lay out, for ``_corners``, four weights and four rows of the table per view next to each other."""
    each = torch.eye(views)
    shares = torch.tensor([[1.0, 0, 0, 0], [-1, 1, 0, 0], [-1, 0, 1, 0], [1, -1, -1, 1]])  # of 1, x, y, x y
    first = torch.arange(views)[:, None] * count + torch.tensor([0, 1, stride, stride + 1])
    to_weights = torch.einsum("pc,vw->pvwc", shares, each).reshape(4 * views, -1)
    return to_weights, torch.cat((each.repeat_interleave(4, 1), first.view(1, -1)))


def _corners(pixels: Tensor, size: tuple[int, int], to_weights: Tensor, to_rows: Tensor) -> tuple[Tensor, Tensor]:
    """Rows of the table (int32) and weights, both N x 4 V, of samples at ``pixels`` 2 x V x P x D, which it uses up.

    Matrix products replace 8 V strided writes; float32 holds row numbers up to 2^24 exactly.
    """
    views, samples = pixels.shape[1], pixels[0, 0].numel()
    pixels[0].clamp_(0, size[0] + 1)
    pixels[1].clamp_(0, size[1] + 1)
    pixels = pixels.view(2, views, samples)
    corner = pixels.floor()
    parts, numbers = pixels.new_empty(4, views, samples), pixels.new_empty(views + 1, samples)
    parts[0].fill_(1)  # then x, y, x y inside a cell
    torch.sub(pixels, corner, out=parts[1:3])
    torch.mul(parts[1], parts[2], out=parts[3])
    torch.add(corner[0], corner[1], alpha=size[0] + 3, out=numbers[:views])
    numbers[views].fill_(1)
    return (numbers.T @ to_rows).to(torch.int32), parts.flatten(0, 1).T @ to_weights


def _visible(rays: Tensor, shift: Tensor, depths: Tensor, last: tuple[int, int]) -> list[tuple[int, int, bool]]:
    """For each tile the first and one past the last plane that a view can see, and whether a camera is in between.

    Decided at the corners of a tile: they enclose it in every view, unless that camera is in between.
    """
    height, width = rays.shape[-2:]
    edges = [torch.arange(0, n, step)[:, None] + torch.tensor([0, step - 1]) for n, step in zip((height, width), TILE)]
    corners = rays[:, :, edges[0][:, None, :, None], edges[1][None, :, None, :]].flatten(2, 3).flatten(3)
    points = corners[..., None] * depths + shift[..., None, None, None]  # 3 x V x tiles x 4 x D
    z = points[2]
    crosses = (z <= 1e-3 * depths).any(2)
    low, high = (points[:2] / z).aminmax(dim=3)
    seen = ((high > 0) & (low < torch.tensor(last)[:, None, None, None])).all(0) | crosses
    seen = seen.any(0)
    first, end = seen.int().argmax(-1), len(depths) - seen.flip(-1).int().argmax(-1)
    end = torch.where(seen.any(-1), end, first)
    return list(zip(first.tolist(), end.tolist(), crosses.any(0).any(-1).tolist()))
