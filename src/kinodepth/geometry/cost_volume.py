"""Plane-sweep cost volumes: how well features of other views fit the reference if the scene were a plane at depth d.

Shapes: B batch, V measurement views, C channels, D planes, h w feature map. Feature maps are the strided grid of the
image: their pixel j is the image's pixel j * s, so that intrinsics divided by s are exact.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from kinodepth.geometry.camera import plane_rays, product
from kinodepth.geometry.sampling import sample
from kinodepth.geometry.warp import homography
from kinodepth.types import Convention

TILE = (16, 16)  # rows and columns of the reference whose samples on all planes stay in a processor's second cache
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
    learns = torch.is_grad_enabled() and (reference.requires_grad or measurements.requires_grad)
    rows = measurements.shape[1] * (height + 3) * (width + 3)  # of the table, counted in float32
    gathers = reference.device.type == "cpu" and reference.dtype == torch.float32 and not learns and rows < 1 << 24
    with torch.autocast(reference.device.type, enabled=False):  # whose matrix products would round pixels
        if not gathers:
            return _sampled_volume(reference, measurements, at_infinity, shift, depths, convention)
        volume = reference.new_empty(len(reference), height, width, len(depths))
        for item in zip(reference, measurements, at_infinity, shift, volume):
            _gathered_volume(*item[:4], depths, convention, item[4])
        return volume.permute(0, 3, 1, 2)


def _sampled_volume(
    reference: Tensor, measurements: Tensor, at_infinity: Tensor, shift: Tensor, depths: Tensor, convention: Convention
) -> Tensor:
    """The volume by the library's sampler, a few planes at a time; for training and accelerators."""
    height, width = reference.shape[-2:]
    views, channels = measurements.shape[1:3]
    rays = plane_rays(at_infinity, height, width)[:, :, None]  # B x V x 1 x 3 x h x w
    parts = []
    for some in depths.split(PLANES_AT_ONCE):
        points = rays + shift[:, :, None, :, None, None] / some[:, None, None, None]
        z = points[..., 2, :, :]
        pixels = points[..., :2, :, :] / (z + 1e-8).unsqueeze(-3)
        if convention == "exact":
            pixels = torch.where((z > 0).unsqueeze(-3), pixels, -2.0)  # beyond the border: counts as 0
        rows = pixels.flatten(0, 1).transpose(1, 2).flatten(2, 3)  # B V x 2 x (planes h) x w
        warped = sample(measurements.flatten(0, 1), rows).view(-1, views, channels, len(some), height, width)
        parts.append((warped.sum(1) * reference[:, :, None]).sum(1) / (channels * views))
    return torch.cat(parts, 1)


def _gathered_volume(
    reference: Tensor,
    measurements: Tensor,
    at_infinity: Tensor,
    shift: Tensor,
    depths: Tensor,
    convention: Convention,
    out: Tensor,
) -> None:
    """Write the volume of one batch item to ``out`` h x w x D, several times faster on a processor.

    The views' features, channels last and framed by zeros, are the rows of one table. Each sample is a weighted sum of
    4 V of them (the mean over views of products with the reference is the product with the views' mean) in one fused
    operation; tile by tile in the same memory, which then never leaves the cache, and without planes that a tile cannot
    see.
    """
    (views, channels), (height, width) = measurements.shape[:2], reference.shape[-2:]
    down, across = -(-height // TILE[0]), -(-width // TILE[1])
    table = measurements.new_zeros(views, height + 3, width + 3, channels)
    table[:, 1 : height + 1, 1 : width + 1] = measurements.permute(0, 2, 3, 1)
    table = table.view(-1, channels)
    framed = torch.tensor([[1.0, 0.0, 1.0], [0.0, 1.0, 1.0], [0.0, 0.0, 1.0]])  # the table's pixel 1 is the map's 0
    rays = plane_rays(product(framed, at_infinity), down * TILE[0], across * TILE[1]).transpose(0, 1)  # 3 x V x ..
    shift = product(framed, shift[..., None])[..., 0].T
    spans = _visible(rays, shift, depths, (width + 1, height + 1))
    lines = _tiled(rays.permute(2, 3, 0, 1)).permute(0, 2, 3, 1)[..., None].contiguous().flatten(1, 2)
    start = shift.reshape(-1, 1, 1)
    space = (0, across * TILE[1] - width, 0, down * TILE[0] - height)
    features = _tiled(F.pad(reference, space).permute(1, 2, 0) / (channels * views))[:, :, None]
    volume = features.new_zeros(*features.shape[:2], len(depths))
    corners = _Memory(views, (width + 3, height + 3), features.shape[1], len(depths))
    for line, feature, scores, (first, last, crosses) in zip(lines, features, volume, spans):
        if first == last:
            continue
        c = corners.of(last - first)
        torch.mul(line, depths[first:last], out=c.points).add_(start)
        if crosses:
            c.z.add_(1e-8 * depths[first:last])
        behind = c.z <= 0 if crosses else None
        c.pixels.mul_(c.z.reciprocal_())
        if behind is not None:
            if convention == "exact":
                c.pixels.masked_fill_(behind, 0.0)
            else:
                c.pixels.nan_to_num_(0.0)
        rows, weights = c.find()
        warped = F.embedding_bag(rows, table, per_sample_weights=weights, mode="sum")
        torch.bmm(feature, warped.view(len(feature), -1, channels).mT, out=scores[:, None, first:last])
    whole = volume.view(down, across, *TILE, -1).transpose(1, 2).reshape(down * TILE[0], across * TILE[1], -1)
    out.copy_(whole[:height, :width])


def _tiled(maps: Tensor) -> Tensor:
    """Cut maps H x W x .. into tiles: N x pixels of a tile x .., in raster order."""
    tiles = maps.unflatten(1, (-1, TILE[1])).unflatten(0, (-1, TILE[0])).transpose(1, 2)
    return tiles.flatten(0, 1).flatten(1, 2)


MAGIC=1<<23
class _Memory:
    def __init__(self, views: int, size: tuple[int, int], pixels: int, planes: int) -> None:
        self.views, self.limits, self.pixels = views, (size[0] - 2, size[1] - 2), pixels
        count = pixels * planes
        self.parts = torch.empty(5 * views + 1, count)  # corner x, y; 1; x, y inside a cell; z, then x y
        self.parts[2 * views] = 1
        self.numbers = torch.empty(count, 4 * views)
        self.weights = torch.empty(count, 4 * views)
        each = torch.eye(views).repeat_interleave(4, 1)
        first = torch.arange(views)[:, None] * size[0] * size[1] + torch.tensor([0, 1, size[0], size[0] + 1])
        self.to_rows = torch.cat((each, each * size[0], first.view(1, -1).float()+MAGIC))
        shares = torch.tensor([[1.0, 0, 0, 0], [-1, 1, 0, 0], [-1, 0, 1, 0], [1, -1, -1, 1]])  # of 1, x, y, x y
        mixed = torch.einsum("pc,vw->pvwc", shares, torch.eye(views)).reshape(4, views, -1)
        self.to_weights = torch.cat((mixed[0].sum(0, keepdim=True), mixed[1:].flatten(0, 1)))
        self.cache={}
    def of(self,planes):
        if planes not in self.cache: self.cache[planes]=_Corners(self,planes)
        return self.cache[planes]

class _Corners:
    def __init__(self, m, planes):
        count, views = m.pixels * planes, m.views
        parts = m.parts[:, :count]
        self.points=m.parts[2 * views + 1 :, : count].unflatten(1, (m.pixels, planes))
        self.pixels, self.z = self.points[: 2 * views].unflatten(0, (2, views)), self.points[2 * views :]
        self.corner, self.x, self.y, self.xy = parts[: 2 * views], *parts[2 * views + 1 :].split(views)
        self.inside = parts[2 * views + 1 : 4 * views + 1]
        self.numbers, self.weights = m.numbers[:count], m.weights[:count]
        self.rows=self.numbers.view(torch.int32)
        self.a, self.b=parts[: 2 * views + 1].T, parts[2 * views :].T
        self.limits=m.limits
        self.to_rows, self.to_weights=m.to_rows,m.to_weights

    def find(self) -> tuple[Tensor, Tensor]:
        """Rows (int32) and weights, both N x 4 V, for the x and y that ``points`` holds."""
        self.x.clamp_(0, self.limits[0])
        self.y.clamp_(0, self.limits[1])
        torch.floor(self.inside, out=self.corner)
        self.inside.sub_(self.corner)
        torch.mul(self.x, self.y, out=self.xy)
        torch.mm(self.a, self.to_rows, out=self.numbers)
        self.rows.sub_(0x4B000000)
        torch.mm(self.b, self.to_weights, out=self.weights)
        return self.rows, self.weights


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
