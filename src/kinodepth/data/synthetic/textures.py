"""Procedural surface textures: seamless tiles with detail at all scales, kept as mip pyramids in one flat table.

A tile is an H x W x 3 float32 picture in [0, 1] that repeats in both directions; sides are powers of two. Every
tile carries fractal noise down to its texel, so that any two views of it can be matched; the pyramid removes what
a pixel cannot resolve, so that they also agree.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import fft

Array = NDArray[np.float32]
Rng = np.random.Generator
SIZE = 512  # texels along a tile
LEVELS = 10  # pyramid levels of a tile, down to one texel for SIZE


def fractal(rng: Rng, slope: float = 1.0, stretch: tuple[float, float] = (1.0, 1.0)) -> Array:
    """Periodic SIZE x SIZE noise of unit deviation with amplitude spectrum f^-slope; ``stretch`` > 1 lengthens y, x."""
    fy = np.fft.fftfreq(SIZE)[:, None].astype(np.float32) * SIZE * stretch[0]
    fx = np.fft.rfftfreq(SIZE)[None].astype(np.float32) * SIZE * stretch[1]
    frequency = np.sqrt(fy * fy + fx * fx)
    frequency[0, 0] = np.inf
    spectrum = fft.rfft2(rng.standard_normal((SIZE, SIZE), dtype=np.float32)) * np.maximum(frequency, 1) ** -slope
    noise = fft.irfft2(spectrum, (SIZE, SIZE)).astype(np.float32)
    return np.asarray((noise - noise.mean()) / noise.std(), np.float32)


def _colour(rng: Rng, hues: tuple[float, float] = (0, 1), chroma: float = 0.35, light: float = 0.55) -> Array:
    """A random RGB colour: hue in turns within ``hues``, around ``light``."""
    hue, amount = rng.uniform(*hues), chroma * rng.uniform(0.4, 1)
    turns = 2 * np.pi * (hue - np.array([0, 1, 2]) / 3)
    return np.asarray(np.clip(light * rng.uniform(0.85, 1.15) * (1 + amount * np.cos(turns)), 0.03, 0.95), np.float32)


def _tint(value: Array, colour: Array) -> Array:
    """The picture ``value`` (H x W brightness) times one colour."""
    return value[..., None] * colour


def _cells(rng: Rng, rows: int, columns: int, shift: bool, joint: float) -> tuple[Array, Array]:
    """Per-cell random value in [0, 1] and the joint mask of a wall of rows x columns stones, ``joint`` in texels."""
    y, x = np.mgrid[:SIZE, :SIZE].astype(np.float32)
    row = (y * rows / SIZE).astype(int)
    x = (x + shift * (row % 2) * SIZE / columns / 2) % SIZE
    column = (x * columns / SIZE).astype(int)
    value = rng.random((rows, columns), dtype=np.float32)[row, column]
    fy, fx = y % (SIZE / rows), x % (SIZE / columns)
    return value, ((fy < joint) | (fx < joint)).astype(np.float32)


def plaster(rng: Rng) -> Array:
    base = 1 + 0.06 * fractal(rng, 1.1) + 0.05 * fractal(rng, 0.3)
    return _tint(base, _colour(rng, chroma=0.25, light=0.68))


def wallpaper(rng: Rng) -> Array:
    n = int(rng.choice([4, 8]))
    y, x = np.mgrid[:SIZE, :SIZE].astype(np.float32) * (2 * np.pi * n / SIZE)
    motif = np.sin(x + rng.uniform(0, 2) * np.sin(y)) * np.sin(y * int(rng.integers(1, 3)) + np.sin(2 * x))
    base = 1 + 0.06 * fractal(rng, 0.8)
    stripes = 0.5 + 0.5 * np.tanh(6 * (motif - 0.1))
    return _tint(base * (1 - stripes), _colour(rng, light=0.7)) + _tint(base * stripes, _colour(rng, light=0.5))


def wood(rng: Rng) -> Array:
    grain = fractal(rng, 1.1, (1.0, 14.0)) * 0.10 + fractal(rng, 0.7, (1.0, 8.0)) * 0.06 + fractal(rng, 1.4) * 0.04
    return _tint(1 + grain, _colour(rng, (0.04, 0.1), 0.55, rng.uniform(0.3, 0.6)))


def planks(rng: Rng) -> Array:
    tone, joint = _cells(rng, 8, 2, True, 2.5)
    return wood(rng) * ((0.72 + 0.5 * tone) * (1 - 0.6 * joint))[..., None]


def floor_tiles(rng: Rng) -> Array:
    n = int(rng.choice([4, 8]))
    tone, joint = _cells(rng, n, n, False, 5)
    base = (0.8 + 0.35 * tone + 0.07 * fractal(rng, 1.0)) * (1 - 0.45 * joint)
    second = (np.indices((SIZE, SIZE)) * n // SIZE).sum(0) % 2
    colours = np.stack([_colour(rng, chroma=0.2, light=0.65), _colour(rng, chroma=0.3, light=0.4)])
    return base[..., None] * colours[second * int(rng.integers(2))]


def carpet(rng: Rng) -> Array:
    y, x = np.mgrid[:SIZE, :SIZE].astype(np.float32) * (2 * np.pi / SIZE)
    rings = (
        np.sin(int(rng.integers(2, 5)) * x) + np.cos(int(rng.integers(2, 5)) * y) + 0.5 * np.cos(8 * x) * np.cos(8 * y)
    )
    index = np.digitize(rings, [-0.7, 0, 0.8])
    colours = np.stack([_colour(rng, chroma=0.6, light=rng.uniform(0.25, 0.65)) for _ in range(4)])
    return colours[index] * (1 + 0.14 * fractal(rng, 0.3) + 0.06 * fractal(rng, 1.0))[..., None]


def cloth(rng: Rng) -> Array:
    y, x = np.mgrid[:SIZE, :SIZE].astype(np.float32) / SIZE
    n, m = rng.integers(3, 9, 2)
    plaid = 0.5 * (np.sin(2 * np.pi * n * x) > 0.3) + 0.5 * (np.sin(2 * np.pi * m * y) > rng.uniform(-0.2, 1.5))
    base = 1 + 0.08 * fractal(rng, 0.4) + 0.10 * fractal(rng, 1.2)
    return _tint(base * (1 - plaid), _colour(rng, chroma=0.7, light=0.5)) + _tint(
        base * plaid, _colour(rng, chroma=0.7)
    )


def bricks(rng: Rng) -> Array:
    tone, joint = _cells(rng, 16, 8, True, 4)
    base = 0.75 + 0.45 * tone + 0.10 * fractal(rng, 0.8)
    colour = _colour(rng, (0.0, 0.08), 0.55, 0.48)
    return _tint(base * (1 - joint), colour) + _tint(
        (0.95 + 0.08 * fractal(rng, 0.6)) * joint, _colour(rng, chroma=0.1)
    )


def asphalt(rng: Rng) -> Array:
    cracks = np.abs(fractal(rng, 1.6)) < 0.025
    base = 1 + 0.16 * fractal(rng, 0.2) + 0.10 * fractal(rng, 1.2) - 0.35 * cracks
    return _tint(base, _colour(rng, chroma=0.05, light=0.36))


def road(rng: Rng) -> Array:
    """One tile is the whole width (x) and as much along (y): middle dashes, worn edge lines, wheel tracks."""
    base = asphalt(rng)
    y, x = np.mgrid[:SIZE, :SIZE].astype(np.float32) / SIZE
    base *= (1 - 0.12 * sum(np.exp(-(((x - c) / 0.03) ** 2)) for c in (0.17, 0.37, 0.63, 0.83)))[..., None]
    dash = (np.abs(x - 0.5) < 0.009) & (y < 0.5)
    edge = (np.abs(x - 0.03) < 0.007) | (np.abs(x - 0.97) < 0.007)
    paint = (dash | edge) * np.clip(0.95 + 0.35 * fractal(rng, 0.9), 0.2, 1).astype(np.float32)
    return base * (1 - paint[..., None]) + paint[..., None] * np.float32(0.8)


def pavement(rng: Rng) -> Array:
    tone, joint = _cells(rng, 4, 4, bool(rng.integers(2)), 4)
    base = (0.85 + 0.25 * tone + 0.08 * fractal(rng, 0.5) + 0.05 * fractal(rng, 1.2)) * (1 - 0.4 * joint)
    return _tint(base, _colour(rng, chroma=0.1, light=0.55))


def grass(rng: Rng) -> Array:
    mix = np.clip(0.5 + 0.3 * fractal(rng, 1.0), 0, 1)[..., None]
    colour = mix * _colour(rng, (0.2, 0.28), 0.8, 0.42) + (1 - mix) * _colour(rng, (0.24, 0.33), 0.8, 0.26)
    return colour * (1 + 0.22 * fractal(rng, 0.35))[..., None]


def leaves(rng: Rng) -> Array:
    mix = np.clip(0.5 + 0.5 * fractal(rng, 0.7), 0, 1)[..., None]
    return mix * _colour(rng, (0.2, 0.32), 0.9, 0.5) + (1 - mix) * _colour(rng, (0.25, 0.36), 0.9, 0.14)


def facade(rng: Rng) -> Array:
    """2 x 2 windows in a wall of plaster or bricks; a tile is two storeys of two windows."""
    wall = (bricks if rng.random() < 0.4 else plaster)(rng)
    glass, frame = _colour(rng, (0.5, 0.65), 0.3, 0.22), _colour(rng, chroma=0.15, light=0.8)
    cell, width, height = SIZE // 2, int(rng.integers(90, 150)), int(rng.integers(110, 160))
    for row in range(2):
        for column in range(2):
            y, x = row * cell + (cell - height) // 2, column * cell + (cell - width) // 2
            wall[y - 9 : y + height + 9, x - 9 : x + width + 9] = frame * rng.uniform(0.85, 1)
            pane = np.linspace(1.5, 0.7, height, dtype=np.float32)[:, None, None] * glass
            noise = fractal(rng, 1.3)[:height, :width, None]
            wall[y : y + height, x : x + width] = np.clip(pane * (1 + 0.25 * noise), 0.02, 1)
            curtain = int(rng.uniform(0, 0.45) * width)
            wall[y : y + height, x : x + curtain] = _colour(rng, light=0.65) * (1 + 0.1 * noise[:, :curtain])
            wall[y : y + height, x + width // 2 - 4 : x + width // 2 + 4] = frame
            wall[y + height // 3 - 4 : y + height // 3 + 4, x : x + width] = frame
            wall[y + height + 9 : y + height + 20, x - 16 : x + width + 16] = frame * 0.6  # the sill
    return wall


def roof(rng: Rng) -> Array:
    tone, joint = _cells(rng, 16, 16, True, 5)
    base = (0.7 + 0.5 * tone + 0.1 * fractal(rng, 0.7)) * (1 - 0.5 * joint)
    return _tint(base, _colour(rng, (0.0, 0.1), 0.5, rng.uniform(0.25, 0.45)))


def books(rng: Rng) -> Array:
    """Spines of different heights that stand at the bottom of the tile, dark above them."""
    picture, x = np.full((SIZE, SIZE, 3), 0.05, np.float32), 0
    while x < SIZE:
        width, top = int(rng.integers(14, 38)), int(rng.integers(6, 40))
        picture[top:-6, x : x + width] = _colour(rng, chroma=0.9, light=rng.uniform(0.25, 0.65))
        y = top + int(rng.integers(10, 40))
        picture[y : y + int(rng.integers(10, 60)), x + 3 : x + width - 3] = _colour(rng, light=0.75)
        picture[:, x : x + 2] *= 0.4
        x += width
    return picture * (1 + 0.08 * fractal(rng, 0.6) + 0.04 * fractal(rng, 1.2))[..., None]


def painting(rng: Rng) -> Array:
    """A framed abstract landscape."""
    level = np.digitize(fractal(rng, 1.7, (rng.uniform(1, 3), 1)), np.sort(rng.normal(0, 0.9, 5)))
    colours = np.stack([_colour(rng, chroma=0.9, light=rng.uniform(0.2, 0.8)) for _ in range(6)])
    picture = colours[level] * (1 + 0.12 * fractal(rng, 0.8))[..., None]
    edge = np.minimum(np.indices((SIZE, SIZE)), SIZE - 1 - np.indices((SIZE, SIZE))).min(0)
    picture[edge < 70] = 0.85
    picture[edge < 36] = wood(rng)[edge < 36] * 0.6
    return picture


def cardboard(rng: Rng) -> Array:
    base = 1 + 0.08 * fractal(rng, 0.6) + 0.08 * fractal(rng, 1.4)
    picture = _tint(base, _colour(rng, (0.06, 0.11), 0.5, 0.55))
    picture[SIZE // 2 - 24 : SIZE // 2 + 24] = _colour(rng, (0.05, 0.15), 0.3, 0.75) * base[:48, :, None]
    y, x, colour = *rng.integers(40, 180, 2), _colour(rng, chroma=0.9, light=0.4)
    picture[y : y + 60, x : x + 200] = colour * base[:60, :200, None]
    return picture


def paint(rng: Rng) -> Array:
    base = 1 + 0.05 * fractal(rng, 1.2) + 0.05 * fractal(rng, 0.4)
    return _tint(base, _colour(rng, chroma=0.9, light=float(rng.choice([0.25, 0.45, 0.7]))))


def glass(rng: Rng) -> Array:
    return _tint(np.clip(1 + 0.35 * fractal(rng, 1.4), 0.2, 2), _colour(rng, (0.5, 0.65), 0.3, 0.16))


def skin(rng: Rng) -> Array:
    base = 1 + 0.06 * fractal(rng, 1.0)
    return _tint(base, _colour(rng, (0.02, 0.06), 0.4, rng.uniform(0.3, 0.65)))


def dark(rng: Rng) -> Array:
    return _tint(1 + 0.2 * fractal(rng, 0.7), np.full(3, 0.13, np.float32))


def sky(rng: Rng) -> Array:
    clouds = np.clip(0.5 * fractal(rng, 1.6) + rng.uniform(-0.3, 0.5), 0, 1)[..., None]
    return (1 - clouds) * np.array([0.42, 0.6, 0.85], np.float32) + clouds * np.float32(0.93)


@dataclass(frozen=True)
class Kind:
    """How a material is drawn, and metres per texel (0: one tile fills one quad, whatever its size)."""

    draw: Callable[[Rng], Array]
    texel: float


_MILLIMETRES = (
    (plaster, 4), (wallpaper, 4), (wood, 3), (planks, 3), (floor_tiles, 4), (carpet, 3.5), (cloth, 1.6), (bricks, 4),
    (asphalt, 8), (road, 0), (pavement, 5), (grass, 10), (leaves, 8), (facade, 11.7), (roof, 8), (books, 2.4),
    (painting, 0), (cardboard, 0), (paint, 4), (glass, 3), (skin, 2), (dark, 2), (sky, 0),
)  # fmt: skip
KINDS = {draw.__name__: Kind(draw, texel / 1000) for draw, texel in _MILLIMETRES}


class Atlas:
    """Mip pyramids of many SIZE x SIZE tiles in one table, gathered trilinearly.

    A texel is one 64-bit word with red, green and blue in fields of 21 bits: 8 of value, 13 left for the weight, so
    that one multiplication and one addition per neighbour blend all three.
    """

    def __init__(self, tiles: list[Array]) -> None:
        words = []
        for tile in tiles:
            level = np.clip(tile, 0, 1).astype(np.float32)
            while True:
                texels = (level * 255 + 0.5).astype(np.int64)
                words.append((texels[..., 0] | texels[..., 1] << 21 | texels[..., 2] << 42).ravel())
                if len(level) == 1:
                    break
                rows = level[::2] + level[1::2]
                level = (rows[:, ::2] + rows[:, 1::2]) * np.float32(0.25)
        self.table = np.concatenate(words)
        texels_per_level = [(SIZE >> k) ** 2 for k in range(LEVELS)]
        self.start = np.cumsum([0, *texels_per_level[:-1]]).astype(np.int32)
        self.stride = sum(texels_per_level)

    def sample(self, tile: NDArray[np.int32], uv: Array, level: Array) -> Array:
        """Colours 3 x N in [0, 1] of tiles ``tile`` (N) at ``uv`` (2 x N, texels of the finest level, any range)
        seen with pixels of 2^``level`` texels (N)."""
        level = np.clip(level, 0, LEVELS - 1)
        fine = level.astype(np.int32)
        coarse = level - fine
        words = self._bilinear(tile, uv, fine, 1 - coarse)
        words += self._bilinear(tile, uv, np.minimum(fine + 1, LEVELS - 1), coarse)
        field = (1 << 21) - 1
        return np.stack([(words >> shift) & field for shift in (0, 21, 42)]) * np.float32(1 / (255 * 8192))

    def _bilinear(
        self, tile: NDArray[np.int32], uv: Array, level: NDArray[np.int32], share: Array
    ) -> NDArray[np.int64]:
        mask = (SIZE >> level) - 1
        bits = LEVELS - 1 - level
        shrink = (np.float32(0.5) ** np.arange(LEVELS, dtype=np.float32)).take(level)
        xy = uv * shrink - np.float32(0.5)
        whole = np.floor(xy)
        fx, fy = xy - whole
        x0, y0 = whole.astype(np.int32)
        base = tile * self.stride + self.start.take(level)
        left, right, upper, lower = (
            x0 & mask,
            (x0 + 1) & mask,
            base + ((y0 & mask) << bits),
            base + (((y0 + 1) & mask) << bits),
        )
        share = share * np.float32(8191)
        below = share * fy
        above = share - below
        words = np.zeros(len(tile), np.int64)
        for row, weight in ((upper, above), (lower, below)):
            part = weight * fx
            words += self.table.take(row + left) * (weight - part + np.float32(0.5)).astype(np.int64)
            words += self.table.take(row + right) * (part + np.float32(0.5)).astype(np.int64)
        return words
