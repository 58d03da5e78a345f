"""Who wins each pixel of a forward warp, on a processor: one pass over the points in compiled loops."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from kinodepth.geometry.camera import MIN_Z
from kinodepth.geometry.compiled import compiled, in_bands

ONE, HALF, TINY = np.float32(1), np.float32(0.5), np.float32(1e-5)


def nearest_points(
    depth: Tensor, matrix: Tensor, shift: Tensor, moved: Tensor | None, finer: int, exact: bool
) -> tuple[Tensor, Tensor]:
    """For every pixel of b the index of the nearest point in a's finer grid, B x HW int64, and whether there is one.

    ``depth`` B x 1 x H x W of a; ``matrix`` B x 3 x 3 (of places in the finer grid) times depth plus ``shift`` B x 3
    plus ``moved`` B x 3 x H x W gives homogeneous pixels of b.
    """
    batch, _, height, width = depth.shape
    source, closest = torch.full((batch, height * width), -1), torch.full((batch, height * width), -torch.inf)
    motion = depth.new_zeros(1, 3, 1, 1) if moved is None else moved
    inputs = (value.float().contiguous().numpy() for value in (depth[:, 0], matrix, shift, motion))
    arrays = *inputs, moved is not None, finer, np.float32(MIN_Z), exact, closest.numpy(), source.numpy()
    in_bands(lambda first, last: _scatter(first, last, *arrays), batch)
    return source.clamp(min=0), source >= 0


@compiled
def _scatter(  # type: ignore[no-untyped-def]
    first, last, depth, matrix, shift, moved, moves, finer, nearest, exact, closest, source
):
    """Write the largest inverse depth that falls on each pixel, ``closest``, and whose it is, ``source``."""
    height, width = depth.shape[1:]
    high, wide, long = np.float32(height), np.float32(width), finer * width
    cells, inverse = np.empty(long, np.int32), np.empty(long, np.float32)
    for item in range(first, last):
        a, b, c = matrix[item]
        for row in range(finer * height):
            line = row // finer
            y0 = np.float32(row)
            start_x, start_y, start_z = a[1] * y0 + a[2], b[1] * y0 + b[2], c[1] * y0 + c[2]
            for column in range(long):
                x0, d = np.float32(column), depth[item, line, column // finer]
                x = (a[0] * x0 + start_x) * d + shift[item, 0]
                y = (b[0] * x0 + start_y) * d + shift[item, 1]
                z = (c[0] * x0 + start_z) * d + shift[item, 2]
                if moves:
                    x += moved[item, 0, line, column // finer]
                    y += moved[item, 1, line, column // finer]
                    z += moved[item, 2, line, column // finer]
                if exact:
                    x, y = x / z + HALF, y / z + HALF
                    lands = (x >= 0) & (x < wide) & (y >= 0) & (y < high) & (z > nearest) & (d > 0)
                else:
                    x, y = x / (z + TINY), y / (z + TINY)
                    lands = (x > -1) & (x < wide) & (y > -1) & (y < high) & (z != 0)
                cells[column] = np.int32(y) * np.int32(width) + np.int32(x) if lands else np.int32(-1)
                inverse[column] = ONE / z
            for column in range(long):
                cell = cells[column]
                if cell >= 0 and inverse[column] > closest[item, cell]:
                    closest[item, cell] = inverse[column]
                    source[item, cell] = row * long + column
