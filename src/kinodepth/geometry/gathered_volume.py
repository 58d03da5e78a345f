"""The plane-sweep volume on a processor and its gradients, several times faster than by the sampler.

The views' features, channels last and framed by zeros, are the rows of one table. Each sample is a weighted sum of 4 V
of them (the mean over views of products with the reference is the product with the views' mean) in one fused operation;
tile by tile in the same memory, which stays in the cache, and without the planes that a tile cannot see.

The gradients need no samples. All planes of a pixel share its reference: in one matrix, pixels of a tile x rows, each
entry is the sum of weight times gradient over the samples of that pixel in which that row counts. The matrix times the
rows is the gradient of the reference, and with the reference it gives that of the rows. View by view only the box of
rows takes part that the tile sees, so that the matrix, too, stays in the cache.
"""

from __future__ import annotations

from collections.abc import Iterator

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
    """Write the volume of one batch item to ``out`` h x w x D, which holds zeros, in float32.

    Inputs as in ``cost_volume``, without B; ``at_infinity`` V x 3 x 3 and ``shift`` V x 3 take reference pixels to
    measurement pixels.
    """
    (views, channels), (height, width) = measurements.shape[:2], reference.shape[-2:]
    table = _framed(measurements).view(-1, channels)
    features = _tiled(reference)[:, :, None]
    memory = _Memory((width + 3, height + 3), len(depths), views, views * channels)
    for tile, some, corners in _located(memory, at_infinity, shift, depths, exact):
        rows, weights = corners.rows(width + 3), corners.weights()
        warped = torch.embedding_bag(table, rows.view(-1), corners.bags, False, 0, False, weights.view(-1))[0]
        torch.bmm(features[tile], warped.view(SIDE * SIDE, -1, channels).mT, out=corners.scores)
        y, x = (SIDE * place for place in divmod(tile, -(-width // SIDE)))
        place = out[y : y + SIDE, x : x + SIDE, some]
        place.copy_(corners.scores.view(SIDE, SIDE, -1)[: place.shape[0], : place.shape[1]])


def gathered_gradients(
    reference: Tensor,
    measurements: Tensor,
    at_infinity: Tensor,
    shift: Tensor,
    depths: Tensor,
    exact: bool,
    of_volume: Tensor,
) -> tuple[Tensor, Tensor]:
    """Gradients of the reference C x h x w and the measurements V x C x h x w from those of the volume, D x h x w.

    The other inputs are those of ``gathered_volume``.
    """
    (views, channels), (height, width) = measurements.shape[:2], reference.shape[-2:]
    tables, features, of_scores = _framed(measurements), _tiled(reference), _tiled(of_volume)
    of_tables, of_features = tables.new_zeros(views, channels, *tables.shape[1:3]), torch.zeros_like(features)
    memory = _Memory((width + 3, height + 3), len(depths), 1, views * channels)
    matrices = torch.empty(SIDE * SIDE, (height + 3) * (width + 3))  # of which only the part in use takes memory
    for i, (table, of_table) in enumerate(zip(tables, of_tables)):
        view = slice(i, i + 1)
        for tile, some, corners in _located(memory, at_infinity[view], shift[view], depths, exact):
            box = corners.box()
            matrix = corners.matrix(box, of_scores[tile, :, some], matrices)
            of_features[tile].addmm_(matrix, table[box].reshape(-1, channels))
            place = of_table[:, *box]
            place += torch.mm(features[tile].T, matrix).view_as(place)
    return _untiled(of_features, height, width), of_tables[..., 1 : height + 1, 1 : width + 1]


def _framed(measurements: Tensor) -> Tensor:
    """Maps V x C x h x w in a frame of zeros, one wide before and two behind: V x h + 3 x w + 3 x C."""
    views, channels, height, width = measurements.shape
    table = measurements.new_zeros(views, height + 3, width + 3, channels)
    table[:, 1 : height + 1, 1 : width + 1] = measurements.movedim(1, 3)
    return table


def _tiled(maps: Tensor) -> Tensor:
    """Cut maps C x h x w into tiles, filled up with zeros: N x pixels of a tile x C, in raster order."""
    height, width = maps.shape[-2:]
    tiles = F.pad(maps, (0, -width % SIDE, 0, -height % SIDE)).movedim(0, 2)
    return tiles.unflatten(1, (-1, SIDE)).unflatten(0, (-1, SIDE)).transpose(1, 2).flatten(0, 1).flatten(1, 2)


def _untiled(tiles: Tensor, height: int, width: int) -> Tensor:
    """The maps C x h x w of which these are the tiles."""
    lines = tiles.view(-(-height // SIDE), -(-width // SIDE), SIDE, SIDE, tiles.shape[-1]).transpose(1, 2)
    return lines.flatten(2, 3).flatten(0, 1)[:height, :width].movedim(2, 0)


def _located(
    memory: _Memory, at_infinity: Tensor, shift: Tensor, depths: Tensor, exact: bool
) -> Iterator[tuple[int, slice, _Corners]]:
    """For each tile that a view can see: its number, the planes that one can see, and their samples, until the next."""
    width, height = (n - 3 for n in memory.size)
    framed = torch.tensor([[1.0, 0.0, 1.0], [0.0, 1.0, 1.0], [0.0, 0.0, 1.0]])  # the table's pixel 1 is the map's 0
    rays = plane_rays(product(framed, at_infinity), height + -height % SIDE, width + -width % SIDE).transpose(0, 1)
    shift = product(framed, shift[..., None])[..., 0].T
    lines = _tiled(rays.flatten(0, 1)).transpose(1, 2)  # tiles x 3 V x pixels
    lines = torch.stack((lines, shift.reshape(-1, 1).expand_as(lines)), 3).flatten(1, 2)
    planes = torch.stack((depths, torch.ones_like(depths)))
    for tile, (first, last, crosses) in enumerate(_visible(rays, shift, depths, (width + 1, height + 1))):
        if first < last:
            corners = memory.of(last - first)
            torch.mm(lines[tile], planes[:, first:last], out=corners.points)
            corners.find(1e-8 * depths[first:last] if crosses else None, exact)
            yield tile, slice(first, last), corners


class _Memory:
    """What the tiles take turns to use, for samples in V maps that are ``size`` wide and high, frame included.

    A score is the mean of ``terms`` products.
    """

    def __init__(self, size: tuple[int, int], planes: int, views: int, terms: int) -> None:
        count = SIDE * SIDE * planes
        self.size, self.views, self.ready = size, views, dict[int, _Corners]()
        self.corner = torch.ones((2 * views + 1) * count)  # x, y; 1
        self.inside = torch.ones((3 * views + 1) * count)  # first x, y, z, then inside a cell x, y, x y; 1
        self.rows, self.weights = torch.empty(count, 4 * views), torch.empty(count, 4 * views)
        self.scores = torch.empty(count)
        # A float32 with MAGIC added has its integer value in its last bits: rows need no conversion.
        first = torch.arange(views)[:, None] * size[0] * size[1] + torch.tensor([0.0, 1, 0, 1]) + MAGIC
        each = torch.eye(views).repeat_interleave(4, 1)
        self.along = torch.cat((each, torch.zeros_like(each), first.view(1, -1)))
        self.down = torch.cat((torch.zeros_like(each), each, torch.tensor([[0.0, 0, 1, 1]]).repeat(1, views)))
        shares = torch.tensor([[-1.0, 1, 0, 0], [-1, 0, 1, 0], [1, -1, -1, 1]])  # of x, y, x y
        shares = torch.einsum("pc,vw->pvwc", shares, torch.eye(views)).reshape(3 * views, -1)
        whole = torch.tensor([[1.0, 0, 0, 0]]).repeat(1, views)
        self.to_weights = torch.cat((shares, whole)) / terms

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
        self.along, self.down, self.from_corner = memory.along, memory.down, corner.T
        self.to_weights, self.from_inside = memory.to_weights, inside.T
        self.in_rows, self.in_weights = memory.rows[:count], memory.weights[:count]
        self.bags = torch.arange(0, 4 * views * count, 4 * views, dtype=torch.int32)
        self.scores = memory.scores[:count].view(-1, 1, planes)

    def find(self, tiny: Tensor | None, exact: bool) -> None:
        """Cells of ``points`` and places inside. ``tiny`` goes on z if some may lie behind a view."""
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

    def weights(self) -> Tensor:
        """What the rows of each sample count, N x 4 V."""
        return torch.mm(self.from_inside, self.to_weights, out=self.in_weights)

    def rows(self, wide: int) -> Tensor:
        """The rows of each sample in a table of maps so wide, N x 4 V in int32."""
        to_rows = torch.add(self.along, self.down, alpha=wide)
        return torch.mm(self.from_corner, to_rows, out=self.in_rows).view(torch.int32).sub_(MAGIC_BITS)

    def box(self) -> tuple[slice, slice]:
        """The lines and columns of the only view's map, frame included, that hold the rows of all samples."""
        low, high = self.corner.amin(1).tolist(), self.corner.amax(1).tolist()  # aminmax takes ten times as long
        columns, lines = (slice(int(a), int(b) + 2) for a, b in zip(low, high))
        return lines, columns

    def matrix(self, box: tuple[slice, slice], of_scores: Tensor, memory: Tensor) -> Tensor:
        """Pixels x rows of the box, in ``memory``: the sum of weight times gradient of a pixel's samples of a row.

        ``of_scores`` pixels x planes. Pixel by pixel the sums stay in the fastest cache, and what follows is dense.
        """
        lines, columns = box
        wide, pixels = columns.stop - columns.start, SIDE * SIDE
        size = (lines.stop - lines.start) * wide
        starts = torch.arange(0, pixels * size, size, dtype=torch.int32) - (lines.start * wide + columns.start)
        places = self.rows(wide).view(pixels, -1).add_(starts[:, None])
        weights = self.weights().view(pixels, -1, 4).mul_(of_scores[..., None])
        matrix = memory.view(-1)[: pixels * size].zero_()
        return matrix.index_add_(0, places.view(-1), weights.view(-1)).view(pixels, size)


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
