"""The plane-sweep volume on a processor, several times faster than by the sampler; for ``cost_volume``, no gradients.

The views' features, channels last and framed by zeros, are the rows of one table. Each sample is a weighted sum of 4 V
of them (the mean over views of products with the reference is the product with the views' mean) in one fused operation;
tile by tile in the same memory, which stays in the cache, and without the planes that a tile cannot see.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from kinodepth.geometry.camera import plane_rays, product

SIDE = 16  # pixels, height and width of a tile of the reference; all its planes are looked up together
MAGIC, MAGIC_BITS = 1 << 23, 0x4B000000  # a number whose last bit counts ones in float32, and its bits
MAX_ROWS = 1 << 23


def gathered_volume(
    reference: Tensor,
    measurements: Tensor,
    at_infinity: Tensor,
    shift: Tensor,
    depths: Tensor,
    exact: bool,
    out: Tensor,
) -> None:
    """Write the volume of one batch item to ``out`` h x w x D, in float32; inputs as in ``cost_volume``, without B.

    ``at_infinity`` V x 3 x 3 and ``shift`` V x 3 take reference pixels to measurement pixels.
    """
    (views, channels), (height, width) = measurements.shape[:2], reference.shape[-2:]
    down, across = -(-height // SIDE), -(-width // SIDE)
    table = measurements.new_zeros(views, height + 3, width + 3, channels)
    table[:, 1 : height + 1, 1 : width + 1] = measurements.movedim(1, 3)
    table = table.view(-1, channels)
    framed = torch.tensor([[1.0, 0.0, 1.0], [0.0, 1.0, 1.0], [0.0, 0.0, 1.0]])  # the table's pixel 1 is the map's 0
    rays = plane_rays(product(framed, at_infinity), down * SIDE, across * SIDE).transpose(0, 1)  # 3 x V x ..
    shift = product(framed, shift[..., None])[..., 0].T
    spans = _visible(rays, shift, depths, (width + 1, height + 1))
    lines = _tiled(rays.permute(2, 3, 0, 1)).flatten(2).transpose(1, 2)  # tiles x 3 V x pixels
    lines = torch.stack((lines, shift.reshape(-1, 1).expand_as(lines)), 3).flatten(1, 2)
    planes = torch.stack((depths, torch.ones_like(depths)))
    space = (0, across * SIDE - width, 0, down * SIDE - height)
    features = _tiled(F.pad(reference, space).movedim(0, 2))[:, :, None]
    memory = _Memory((width + 3, height + 3), len(depths), views, channels)
    for tile, (first, last, crosses) in enumerate(spans):
        y, x = (SIDE * place for place in divmod(tile, across))
        place = out[y : y + SIDE, x : x + SIDE]
        if last - first < len(depths):
            place.zero_()
        if first == last:
            continue
        corners = memory.of(last - first)
        torch.mm(lines[tile], planes[:, first:last], out=corners.points)
        rows, weights = corners.find(1e-8 * depths[first:last] if crosses else None, exact)
        warped = torch.embedding_bag(table, rows.view(-1), corners.bags, False, 0, False, weights.view(-1))[0]
        torch.bmm(features[tile], warped.view(SIDE * SIDE, -1, channels).mT, out=corners.scores)
        place[..., first:last] = corners.scores.view(SIDE, SIDE, -1)[: place.shape[0], : place.shape[1]]


def _tiled(maps: Tensor) -> Tensor:
    """Cut maps H x W x .. into tiles: N x pixels of a tile x .., in raster order."""
    tiles = maps.unflatten(1, (-1, SIDE)).unflatten(0, (-1, SIDE)).transpose(1, 2)
    return tiles.flatten(0, 1).flatten(1, 2)


class _Memory:
    """What the tiles take turns to use, for samples in V maps that are ``size`` wide and high, frame included."""

    def __init__(self, size: tuple[int, int], planes: int, views: int, channels: int) -> None:
        count = SIDE * SIDE * planes
        self.views, self.size, self.ready = views, size, dict[int, _Corners]()
        self.corner = torch.ones((2 * views + 1) * count)  # x, y; 1
        self.inside = torch.ones((3 * views + 1) * count)  # first x, y, z, then inside a cell x, y, x y; 1
        self.rows, self.weights = torch.empty(count, 4 * views), torch.empty(count, 4 * views)
        self.scores = torch.empty(count)
        # A float32 with MAGIC added has its integer value in its last bits: rows need no conversion.
        first = torch.arange(views)[:, None] * size[0] * size[1] + torch.tensor([0, 1, size[0], size[0] + 1])
        each = torch.eye(views).repeat_interleave(4, 1)
        self.to_rows = torch.cat((each, each * size[0], first.view(1, -1) + float(MAGIC)))
        shares = torch.tensor([[-1.0, 1, 0, 0], [-1, 0, 1, 0], [1, -1, -1, 1]])  # of x, y, x y
        shares = torch.einsum("pc,vw->pvwc", shares, torch.eye(views)).reshape(3 * views, -1)
        whole = torch.tensor([[1.0, 0, 0, 0]]).repeat(1, views)
        self.to_weights = torch.cat((shares, whole)) / (channels * views)

    def of(self, planes: int) -> _Corners:
        """The part of it for so many planes."""
        if planes not in self.ready:
            self.ready[planes] = _Corners(self, planes)
        return self.ready[planes]


class _Corners:
    """From points of a tile to rows of the table and their weights, in the same memory for all tiles.

    Matrix products lay out four of each per view next to each other instead of 8 V strided writes.
    """

    def __init__(self, memory: _Memory, planes: int) -> None:
        views, count = memory.views, SIDE * SIDE * planes
        most = len(memory.rows)  # the ones in front of which the rest is put, so that they stay ones
        corner = memory.corner[2 * views * (most - count) :][: (2 * views + 1) * count].view(-1, count)
        inside = memory.inside[3 * views * (most - count) :][: (3 * views + 1) * count].view(-1, count)
        self.corner, self.inside = corner[:-1], inside[: 2 * views]
        self.points = inside[:-1].view(-1, planes)  # 3 V pixels x planes, for the caller to write
        self.x, self.y, self.z = inside[:-1].split(views)
        self.limits = memory.size[0] - 2, memory.size[1] - 2
        self.to_rows, self.to_weights = (corner.T, memory.to_rows), (inside.T, memory.to_weights)
        self.rows, self.weights = memory.rows[:count], memory.weights[:count]
        self.bags = torch.arange(0, 4 * views * count, 4 * views, dtype=torch.int32)
        self.scores = memory.scores[:count].view(-1, 1, planes)

    def find(self, tiny: Tensor | None, exact: bool) -> tuple[Tensor, Tensor]:
        """Rows (int32) and weights, both N x 4 V, of ``points``. ``tiny`` goes on z if some may lie behind a view."""
        x, y, z, inside = self.x, self.y, self.z, self.inside
        if tiny is not None:
            z.view(-1, len(tiny)).add_(tiny)
        behind = z <= 0 if tiny is not None and exact else None
        pixels = inside.view(2, *z.shape).mul_(z.reciprocal_())
        if behind is not None:
            pixels.masked_fill_(behind, 0.0)
        elif tiny is not None:
            pixels.nan_to_num_(0.0)
        x.clamp_(0, self.limits[0])
        y.clamp_(0, self.limits[1])
        torch.floor(inside, out=self.corner)
        inside.sub_(self.corner)
        torch.mul(x, y, out=z)
        rows = torch.mm(*self.to_rows, out=self.rows).view(torch.int32).sub_(MAGIC_BITS)
        return rows, torch.mm(*self.to_weights, out=self.weights)


def _visible(rays: Tensor, shift: Tensor, depths: Tensor, last: tuple[int, int]) -> list[tuple[int, int, bool]]:
    """For each tile the first and one past the last plane that a view can see, and whether a camera is in between.

    Decided at the corners of a tile: they enclose it in every view, unless that camera is in between.
    """
    height, width = rays.shape[-2:]
    edges = [torch.arange(0, n, SIDE)[:, None] + torch.tensor([0, SIDE - 1]) for n in (height, width)]
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
