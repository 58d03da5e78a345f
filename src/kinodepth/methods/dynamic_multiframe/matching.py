"""The errors of the photometric plane sweep on a processor, in compiled loops (spec dynamic_multiframe 3).

SSIM is written with sums over windows of 9 pixels, X of the neighbour and Y of the keyframe:
(2 XY + 81 C1) (18 S(xy) - 2 XY + 81 C2) / ((XX + YY + 81 C1) (9 S(xx + yy) - XX - YY + 81 C2)).
"""

from __future__ import annotations

import numpy as np
from torch import Tensor

from kinodepth.geometry.compiled import compiled, in_bands
from kinodepth.methods.dynamic_multiframe.volume import C1, C2, SHARES, Matcher

ZERO, ONE, TWO, NINE, HALF = (np.float32(value) for value in (0, 1, 2, 9, 0.5))
NEAREST, TINY = np.float32(1e-6), np.float32(1e-7)


def swept_errors(
    framed: Tensor,
    key: Tensor,
    sums: tuple[Tensor, Tensor],
    rays: Tensor,
    shift: Tensor,
    closeness: Tensor,
    how: Matcher,
    above: int,
    errors: Tensor,
    seen: Tensor,
) -> None:
    """Write the errors of N neighbours on D planes and 1 where they can be seen, else 0, to ``errors`` and ``seen``.

    Both N x D x h x W. ``framed`` N x 3 x H+2 x W+2; ``key`` B x 3 x H' x W+2 has the rows that windows need, ``above``
    and one more before the first of ``errors``, and ``sums`` B x 3 x H'-2 x W are those of its windows of 9 pixels, of
    values and of squares; ``rays`` N x 3 x H' x W+2 and ``shift`` N x 3, of which
    rays + shift closeness are homogeneous pixels of ``framed``; ``closeness`` 1 x D x 1 x 1 or N x D x H' x W+2.
    """
    tensors = framed, key, *sums, rays, shift, closeness
    arrays = tuple(tensor.contiguous().numpy() for tensor in tensors)
    settings = how.channels, SHARES[how.matching], (81 * C1, 81 * C2)
    weights = tuple(np.array(values, np.float32) for values in settings)
    window = how.patch // 2, above, how.border, how.convention == "exact"
    found = errors.numpy(), seen.numpy()
    in_bands(lambda first, last: _sweep(first, last, *arrays, *weights, *window, *found), errors[:, :, 0, 0].numel())


@compiled
def _sweep(  # type: ignore[no-untyped-def]
    first,
    last,
    framed,
    key,
    total,
    square,
    rays,
    shift,
    closeness,
    channels,
    shares,
    constants,
    half,
    above,
    border,
    exact,
    errors,
    seen,
):
    """Write the planes from ``first`` to ``last`` of all neighbours, counted through."""
    (_, planes, high, wide), views = errors.shape, len(framed) // len(key)
    warped, raw = np.empty(key.shape[1:], np.float32), np.empty((key.shape[2] - 2, wide), np.float32)
    places, pixels = np.empty(wide + 2, np.int32), np.empty((2, wide + 2), np.float32)
    for task in range(first, last):
        view, plane = task // planes, task % planes
        for y in range(key.shape[2]):
            near = closeness[0, plane, 0] if closeness.shape[3] == 1 else closeness[view, plane, y]
            _project(rays[view, :, y], shift[view], near, exact, pixels)
            if 0 <= y - 1 - above < high:
                _see(pixels, framed.shape[2:], border, seen[view, plane, y - 1 - above])
            _warp(framed[view], places, pixels, warped[:, y])
        raw[:] = ZERO
        for channel in range(3):
            of_key, weights = key[view // views, channel], shares * channels[channel]
            sums = total[view // views, channel], square[view // views, channel]
            _compare(warped[channel], of_key, sums, weights, constants, raw)
        _average(raw, half, above, errors[view, plane])


@compiled
def _project(rays, shift, near, exact, pixels):  # type: ignore[no-untyped-def]
    """Write where a row of the keyframe falls, ``pixels`` 2 x W+2; ``near`` is its closeness, one or W+2."""
    step = len(near) > 1
    for x in range(pixels.shape[1]):
        closeness = near[x] if step else near[0]
        z = rays[2, x] + shift[2] * closeness
        z = max(z, NEAREST) if exact else z + TINY
        pixels[0, x] = (rays[0, x] + shift[0] * closeness) / z
        pixels[1, x] = (rays[1, x] + shift[1] * closeness) / z


@compiled
def _see(pixels, size, border, seen):  # type: ignore[no-untyped-def]
    """Write 1 where the inner ``pixels`` are inside the framed picture's ``border``, else 0: what touches the frame
    does not count."""
    low, bottom, right = np.float32(border), np.float32(size[0] - 1 - border), np.float32(size[1] - 1 - border)
    for x in range(len(seen)):
        u, v = pixels[0, x + 1], pixels[1, x + 1]
        seen[x] = ONE if (u > low) & (u < right) & (v > low) & (v < bottom) else ZERO


@compiled
def _warp(image, places, pixels, warped):  # type: ignore[no-untyped-def]
    """Read ``image`` at ``pixels``, beyond the border as at the border: 3 x W+2. Both others are written over."""
    high, wide = image.shape[1:]
    for x in range(pixels.shape[1]):
        u, v = pixels[0, x], pixels[1, x]
        u, v = (u if u > 0 else ZERO), (v if v > 0 else ZERO)  # also what is not a number
        u, v = min(u, np.float32(wide - 1)), min(v, np.float32(high - 1))
        column, row = min(np.int32(u), np.int32(wide - 2)), min(np.int32(v), np.int32(high - 2))
        places[x] = row * np.int32(wide) + column
        pixels[0, x], pixels[1, x] = u - np.float32(column), v - np.float32(row)
    right, below = np.uint32(1), np.uint32(wide)
    for channel in range(3):
        values = image[channel].reshape(-1)
        for x in range(pixels.shape[1]):
            place, u, v = np.uint32(places[x]), pixels[0, x], pixels[1, x]
            upper = values[place] + u * (values[place + right] - values[place])
            place += below
            lower = values[place] + u * (values[place + right] - values[place])
            warped[channel, x] = upper + v * (lower - upper)


@compiled
def _compare(other, own, own_sums, weights, constants, errors):  # type: ignore[no-untyped-def]
    """Add one channel's error, ``weights`` of one minus SSIM and of the absolute difference, to ``errors`` h x W.

    ``other`` and ``own`` h+2 x W+2; ``own_sums`` h x W over windows, of ``own`` and of its square; ``constants``
    81 C1 and 81 C2.
    """
    wide = other.shape[1]
    total, power, cross = np.empty(wide, np.float32), np.empty(wide, np.float32), np.empty(wide, np.float32)
    unlike, apart, (first, second) = HALF * weights[0], weights[1], constants
    for y in range(len(errors)):
        for x in range(wide):
            a, b, c = other[y, x], other[y + 1, x], other[y + 2, x]
            total[x], power[x] = a + b + c, a * a + b * b + c * c
            cross[x] = a * own[y, x] + b * own[y + 1, x] + c * own[y + 2, x]
        for x in range(wide - 2):
            mine, sum_ = own_sums[0][y, x], total[x] + total[x + 1] + total[x + 2]
            both, squares = TWO * sum_ * mine, sum_ * sum_ + mine * mine
            covariance = TWO * NINE * (cross[x] + cross[x + 1] + cross[x + 2]) - both
            variances = NINE * (power[x] + power[x + 1] + power[x + 2] + own_sums[1][y, x]) - squares
            alike = (both + first) * (covariance + second) / ((squares + first) * (variances + second))
            difference = abs(other[y + 1, x + 1] - own[y + 1, x + 1])
            errors[y, x] += unlike * (ONE - alike) + apart * difference


@compiled
def _average(raw, half, above, errors):  # type: ignore[no-untyped-def]
    """Write means over patches, with 0 beyond the picture; the first row of ``errors`` is row ``above`` of ``raw``."""
    (high, wide), scale = raw.shape, ONE / np.float32((2 * half + 1) ** 2)
    column = np.zeros(wide + 2 * half, np.float32)
    for y in range(len(errors)):
        column[:] = ZERO
        for line in range(max(y + above - half, 0), min(y + above + half + 1, high)):
            for x in range(wide):
                column[x + half] += raw[line, x]
        for x in range(wide):
            total = column[x]
            for place in range(x + 1, x + 2 * half + 1):
                total += column[place]
            errors[y, x] = total * scale
