"""The plane-sweep volume on a processor and its gradients, in compiled loops; nothing warped is ever stored.

The views' features, channels last and framed by zeros, are the rows of one table. A sample is four of them: that of a
cell's upper left corner, which is its place, the next one, and those below. Samples out of view have place -1.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from kinodepth.geometry.camera import product
from kinodepth.geometry.compiled import compiled, in_bands

ZERO, ONE, TINY = np.float32(0), np.float32(1), np.float32(1e-8)
NEXT = np.uintp(1)


def swept_volume(
    reference: Tensor, measurements: Tensor, at_infinity: Tensor, shift: Tensor, depths: Tensor, exact: bool
) -> Tensor:
    """The volume h x w x D of one batch item, float32.

    Inputs as in ``plane_sweep_volume``, without B; ``at_infinity`` V x 3 x 3 and ``shift`` V x 3 take reference pixels
    to measurement pixels.
    """
    features = _last(reference) / (len(measurements) * len(reference))
    volume = features.new_empty(*features.shape[:2], len(depths))
    geometry = _geometry(at_infinity, shift, depths)
    table, wide = _framed(measurements)
    arrays = features.numpy(), table.numpy(), wide, *geometry, exact, volume.numpy()
    in_bands(lambda first, last: _sweep(first, last, *arrays), len(features))
    return volume


def swept_gradients(
    reference: Tensor,
    measurements: Tensor,
    at_infinity: Tensor,
    shift: Tensor,
    depths: Tensor,
    exact: bool,
    of_volume: Tensor,
) -> tuple[Tensor, Tensor]:
    """Gradients of the reference C x h x w and the measurements V x C x h x w from those of the volume, D x h x w.

    The other inputs are those of ``swept_volume``.
    """
    (views, channels), (height, width) = measurements.shape[:2], reference.shape[-2:]
    features, of_scores = _last(reference), _last(of_volume) / (views * channels)
    of_features, table = features.new_zeros(views, *features.shape), _framed(measurements)[0]
    of_table = torch.zeros_like(table)
    each = tuple(maps.view(views, -1, channels).numpy() for maps in (table, of_table))
    (lines, planes), found = _geometry(at_infinity, shift, depths), of_features.numpy()
    arrays = features.numpy(), of_scores.numpy()

    def run(first: int, last: int) -> None:
        for view in range(first, last):
            own = each[0][view], found[view], each[1][view], width + 2, lines[view : view + 1]
            _sweep_back(*arrays, *own, planes, exact)

    in_bands(run, views)
    inner = of_table.view(views, height + 2, width + 2, channels)[:, 1:-1, 1:-1]
    return of_features.sum(0).movedim(2, 0), inner.movedim(3, 1)


def _last(maps: Tensor) -> Tensor:
    return maps.detach().movedim(0, 2).contiguous()


def _framed(measurements: Tensor) -> tuple[Tensor, int]:
    """Maps V x C x h x w in a frame of zeros as rows N x C, and how many of them make a line."""
    framed = F.pad(measurements.detach().movedim(1, 3), (0, 0, 1, 1, 1, 1))
    return framed.view(-1, framed.shape[3]), framed.shape[2]


def _geometry(at_infinity: Tensor, shift: Tensor, depths: Tensor) -> tuple[np.ndarray, np.ndarray]:
    """V x 3 x 4, of which (x, y, 1, 1 / depth) gives homogeneous pixels of the framed maps, and the depths."""
    framed = torch.tensor([[1.0, 0.0, 1.0], [0.0, 1.0, 1.0], [0.0, 0.0, 1.0]])  # the table's pixel 1 is the map's 0
    lines = product(framed, torch.cat((at_infinity, shift[..., None]), 2).detach())
    return lines.contiguous().numpy(), depths.contiguous().numpy()


@compiled
def _samples(y, x, lines, depths, wide, high, exact, places, weights):  # type: ignore[no-untyped-def]
    """Write where pixel (x, y) is in each view on each plane: ``places`` V x D and ``weights`` V x 4 x D."""
    right, bottom, line = np.float32(wide - 1), np.float32(high - 1), np.int32(wide)
    for view in range(len(lines)):
        a, b, c = lines[view]
        at_infinity = a[0] * x + a[1] * y + a[2], b[0] * x + b[1] * y + b[2], c[0] * x + c[1] * y + c[2]
        shift = a[3], b[3], c[3]
        first = np.int32(view * high * wide)
        for plane in range(len(depths)):
            depth = depths[plane]
            z = at_infinity[2] * depth + shift[2]
            over = ONE / (z + TINY * depth)
            u, v = (at_infinity[0] * depth + shift[0]) * over, (at_infinity[1] * depth + shift[1]) * over
            seen = (u > 0) & (v > 0) & (u < right) & (v < bottom) & ((z > 0) | (not exact))
            u = u if seen else ZERO
            v = v if seen else ZERO
            column, row = np.int32(u), np.int32(v)
            u, v = u - np.float32(column), v - np.float32(row)
            places[view, plane] = first + row * line + column if seen else np.int32(-1)
            weights[view, 0, plane] = ONE - u - v + u * v
            weights[view, 1, plane] = u - u * v
            weights[view, 2, plane] = v - u * v
            weights[view, 3, plane] = u * v


@compiled
def _sweep(first, last, features, table, wide, lines, depths, exact, volume):  # type: ignore[no-untyped-def]
    """Write the rows from ``first`` to ``last`` of the volume."""
    views, planes, channels = len(lines), len(depths), np.uintp(features.shape[2])
    places, weights = np.empty((views, planes), np.int32), np.empty((views, 4, planes), np.float32)
    below, high = np.uintp(wide), len(table) // (views * wide)
    for y in range(first, last):
        for x in range(features.shape[1]):
            feature = features[y, x]
            _samples(np.float32(y), np.float32(x), lines, depths, wide, high, exact, places, weights)
            for plane in range(planes):
                score = ZERO
                for view in range(views):
                    if places[view, plane] < 0:
                        continue
                    place = np.uintp(places[view, plane])
                    w0, w1 = weights[view, 0, plane], weights[view, 1, plane]
                    w2, w3 = weights[view, 2, plane], weights[view, 3, plane]
                    r0, r1 = table[place], table[place + NEXT]
                    r2, r3 = table[place + below], table[place + below + NEXT]
                    likeness = ZERO
                    for c in range(channels):
                        likeness += feature[c] * (w0 * r0[c] + w1 * r1[c] + w2 * r2[c] + w3 * r3[c])
                    score += likeness
                volume[y, x, plane] = score


@compiled
def _sweep_back(  # type: ignore[no-untyped-def]
    features, of_scores, table, of_features, of_table, wide, lines, depths, exact
):
    """Add the gradients of one view's table and of the features to ``of_table`` and ``of_features``."""
    planes, channels = len(depths), np.uintp(features.shape[2])
    places, weights = np.empty((1, planes), np.int32), np.empty((1, 4, planes), np.float32)
    below, high = np.uintp(wide), len(table) // wide
    for y in range(features.shape[0]):
        for x in range(features.shape[1]):
            feature, of_feature = features[y, x], of_features[y, x]
            _samples(np.float32(y), np.float32(x), lines, depths, wide, high, exact, places, weights)
            for plane in range(planes):
                if places[0, plane] < 0:
                    continue
                place = np.uintp(places[0, plane])
                score = of_scores[y, x, plane]
                w0, w1 = score * weights[0, 0, plane], score * weights[0, 1, plane]
                w2, w3 = score * weights[0, 2, plane], score * weights[0, 3, plane]
                r0, r1 = table[place], table[place + NEXT]
                r2, r3 = table[place + below], table[place + below + NEXT]
                o0, o1 = of_table[place], of_table[place + NEXT]
                o2, o3 = of_table[place + below], of_table[place + below + NEXT]
                for c in range(channels):
                    of_feature[c] += w0 * r0[c] + w1 * r1[c] + w2 * r2[c] + w3 * r3[c]
                    o0[c] += w0 * feature[c]
                    o1[c] += w1 * feature[c]
                    o2[c] += w2 * feature[c]
                    o3[c] += w3 * feature[c]
