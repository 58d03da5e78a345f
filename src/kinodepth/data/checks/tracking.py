"""Points followed from one frame to another: pyramidal Lucas-Kanade on a grid of corners, at low resolution."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter
from torch import Tensor

from kinodepth.geometry import sampling

Array = NDArray[Any]
LINES = 160  # pixels of the shorter image side that everything is measured at
POINTS = 150  # at most, one per square cell, so that they spread over the image
RADIUS = 5  # pixels; half the side of the window that is compared
LEVELS = 4  # halvings: follows motion of a quarter of the shorter side


@dataclass(frozen=True)
class Tracks:
    """N points ``a`` in one image and ``b`` in another, N x 2 (x, y) pixels; ``share`` of the corners that could be
    followed, out of ``corners``; ``gain`` is the brightness of the second over the first, at these points."""

    a: Array
    b: Array
    corners: int
    gain: float

    @property
    def share(self) -> float:
        return len(self.a) / max(self.corners, 1)

    @property
    def flow(self) -> float:
        """Median length of the motion in pixels."""
        return float(np.median(np.linalg.norm(self.b - self.a, axis=1))) if len(self.a) else 0.0


def grey(image: Tensor) -> Array:
    """Grey levels (0..255) of a 3 x H x W image, its shorter side brought down to ``LINES``."""
    luma = (image * image.new_tensor([0.299, 0.587, 0.114])[:, None, None]).sum(0) * 255
    height, width = luma.shape
    scale = min(1.0, LINES / min(height, width))
    size = (round(height * scale), round(width * scale))
    return np.asarray(sampling.resize(luma[None, None], size, antialias=True)[0, 0].numpy(), np.float32)


def track(first: Array, second: Array) -> Tracks:
    """Follow corners of the grey image ``first`` into ``second``. Kept are those that come back to where they started
    (within half a pixel) and still look alike (correlation 0.8)."""
    points = _corners(first)
    if not len(points):
        return Tracks(points, points, 0, 1.0)
    a, b = _pyramid(first), _pyramid(second)
    there = _follow(a, b, points)
    back = _follow(b, a, there)
    height, width = first.shape
    inside = ((there >= RADIUS) & (there <= np.array([width, height]) - 1 - RADIUS)).all(1)
    returned = np.linalg.norm(back - points, axis=1) < 0.5
    before, after = _windows(first, points), _windows(second, there)
    kept = inside & returned & (_correlation(before, after) > 0.8)
    gain = np.median(after[kept].mean(1) / np.maximum(before[kept].mean(1), 1)) if kept.any() else 1.0
    return Tracks(points[kept], there[kept], len(points), float(gain))


def _corners(image: Array) -> Array:
    """The most corner-like pixel of every cell where the weaker gradient exceeds two grey levels per pixel."""
    gy, gx = np.gradient(gaussian_filter(image, 0.7))
    xx, yy, xy = (gaussian_filter(product, 2.0) for product in (gx * gx, gy * gy, gx * gy))
    weaker = (xx + yy) / 2 - np.sqrt(((xx - yy) / 2) ** 2 + xy**2)
    margin = RADIUS + 2
    inner = weaker[margin:-margin, margin:-margin]
    side = max(8, math.ceil(math.sqrt(inner.size / POINTS)))
    points = []
    for top in range(0, inner.shape[0], side):
        for left in range(0, inner.shape[1], side):
            cell = inner[top : top + side, left : left + side]
            y, x = np.unravel_index(cell.argmax(), cell.shape)
            if cell[y, x] > 4:
                points.append((margin + left + x, margin + top + y))
    return np.array(points, np.float32).reshape(-1, 2)


def _pyramid(image: Array) -> list[Array]:
    """Local contrast, so that exposure does not matter, at halved sizes."""
    mean = gaussian_filter(image, 4.0)
    deviation = np.sqrt(np.maximum(gaussian_filter((image - mean) ** 2, 4.0), 4.0))
    levels = [(image - mean) / deviation]
    while len(levels) < LEVELS and min(levels[-1].shape) >= 8 * RADIUS:
        levels.append(gaussian_filter(levels[-1], 1.0)[::2, ::2])
    return levels


def _follow(a: list[Array], b: list[Array], points: Array) -> Array:
    """Where ``points`` of pyramid ``a`` are in ``b`` (Lucas and Kanade, from the coarsest level down)."""
    flow = np.zeros_like(points)
    for level in reversed(range(len(a))):
        here = points / 2**level
        window = _windows(a[level], here)
        gy, gx = (_windows(gradient, here) for gradient in np.gradient(a[level]))
        normal = np.stack([(gx * gx).sum(1), (gx * gy).sum(1), (gy * gy).sum(1)], 1)
        determinant = np.maximum(normal[:, 0] * normal[:, 2] - normal[:, 1] ** 2, 1e-6)
        for _ in range(10):
            error = window - _windows(b[level], here + flow)
            ex, ey = (gx * error).sum(1), (gy * error).sum(1)
            dx = (normal[:, 2] * ex - normal[:, 1] * ey) / determinant
            dy = (normal[:, 0] * ey - normal[:, 1] * ex) / determinant
            step = np.clip(np.stack([dx, dy], 1), -2, 2)
            flow = flow + step
            if np.abs(step).max() < 0.01:
                break
        if level:
            flow = flow * 2
    return points + flow


def _windows(image: Array, points: Array) -> Array:
    """N x (2 RADIUS + 1)^2 values around ``points``, bilinear."""
    offset = np.arange(-RADIUS, RADIUS + 1, dtype=np.float32)
    dy, dx = (grid.ravel() for grid in np.meshgrid(offset, offset, indexing="ij"))
    where = torch.from_numpy(np.stack([points[:, :1] + dx, points[:, 1:] + dy]).astype(np.float32))
    values = torch.from_numpy(np.ascontiguousarray(image, np.float32))
    return np.asarray(sampling.sample(values[None, None], where[None], "border")[0, 0].numpy())


def _correlation(a: Array, b: Array) -> Array:
    a, b = (values - values.mean(1, keepdims=True) for values in (a, b))
    return (a * b).sum(1) / np.sqrt(np.maximum((a * a).sum(1) * (b * b).sum(1), 1e-6))
