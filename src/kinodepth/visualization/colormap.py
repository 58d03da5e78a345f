"""Depth as colour, with one range for a whole clip: a clip that is coloured frame by frame flickers even when its
depth does not.

Colour follows inverse depth, so that near things are warm and get most of the colours; 0 (no measurement) is black.
A range is a pair (near, far) in the unit of the depth.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import matplotlib
import numpy as np
from torch import Tensor

from kinodepth.types import InputError

Range = tuple[float, float]
_BINS = 8192
_LOG_LIMITS = (-16.0, 16.0)  # natural log of the depths told apart, 1e-7 to 9e6 units


def as_array(values: np.ndarray | Tensor) -> np.ndarray:
    """A map as H x W float32, from H x W or 1 x H x W, array or tensor on any device."""
    array = values.detach().float().cpu().numpy() if isinstance(values, Tensor) else np.asarray(values, np.float32)
    return array[0] if array.ndim == 3 else array


@dataclass
class ClipRange:
    """Percentiles of all depths of a clip in constant memory: a histogram of log depth, exact to 0.4 %."""

    counts: np.ndarray = field(default_factory=lambda: np.zeros(_BINS, np.int64))

    def add(self, depth: np.ndarray | Tensor) -> None:
        """Count the measured (> 0) pixels of a depth map."""
        values = as_array(depth)
        logs = np.log(values[values > 0])
        self.counts += np.histogram(np.clip(logs, *_LOG_LIMITS), _BINS, _LOG_LIMITS)[0]

    def range(self, low: float = 2.0, high: float = 98.0) -> Range:
        """(near, far): the ``low`` and ``high`` percentile of everything added; (1, 1) if nothing was."""
        total = int(self.counts.sum())
        if total == 0:
            return 1.0, 1.0
        ranks = np.array([low, high]) / 100 * (total - 1)
        bins = np.searchsorted(np.cumsum(self.counts), ranks, side="right")
        start, stop = _LOG_LIMITS
        near, far = np.exp(start + (bins + 0.5) * (stop - start) / _BINS)
        return float(near), float(far)


def percentile_range(depth: np.ndarray | Tensor, low: float = 2.0, high: float = 98.0) -> Range:
    """(near, far) of the measured pixels of a map or a stack of maps."""
    histogram = ClipRange()
    histogram.add(depth)
    return histogram.range(low, high)


def running_range(previous: Range | None, depth: np.ndarray | Tensor, momentum: float = 0.97) -> Range:
    """The range for the next frame of a live stream: it follows ``depth`` slowly (geometric mean), never jumps."""
    current = percentile_range(depth)
    if previous is None:
        return current
    near, far = (p**momentum * c ** (1 - momentum) for p, c in zip(previous, current))
    return near, far


def parse_range(text: str) -> Range:
    """(near, far) from ``"near,far"``. Raises ``InputError`` unless 0 < near < far."""
    try:
        near, far = (float(part) for part in text.split(","))
    except ValueError:
        near, far = 0.0, 0.0
    if not 0 < near < far < float("inf"):
        raise InputError(f"range {text!r} is not usable; expected near,far with 0 < near < far, for example 1,50")
    return near, far


def colorize(depth: np.ndarray | Tensor, span: Range, colormap: str = "Spectral_r") -> np.ndarray:
    """Colour a depth map (H x W or 1 x H x W) within ``span`` = (near, far): H x W x 3 uint8, near warm, 0 black."""
    values = as_array(depth)
    measured = values > 0
    near, far = 1 / span[0], 1 / span[1]
    if near - far < 1e-3 * near:  # a flat clip: the middle colour rather than amplified noise
        near, far = near * 1.0005, far * 0.9995
    inverse = 1 / np.where(measured, values, span[1])
    return _colors((inverse - far) / (near - far), measured, colormap)


def colorize_error(error: np.ndarray | Tensor, largest: float, colormap: str = "inferno") -> np.ndarray:
    """Colour an error map (H x W, NaN = not measured) from 0 to ``largest``: H x W x 3 uint8, unmeasured grey."""
    values = as_array(error)
    measured = np.isfinite(values)
    return _colors(np.where(measured, values, 0) / largest, measured, colormap, missing=96)


def _colors(unit: np.ndarray, measured: np.ndarray, colormap: str, missing: int = 0) -> np.ndarray:
    if colormap not in matplotlib.colormaps:
        raise InputError(f"colour map {colormap!r} is unknown; expected a matplotlib name such as turbo or magma")
    colors = matplotlib.colormaps[colormap](np.clip(unit, 0, 1), bytes=True)[..., :3]
    colors[~measured] = missing
    return colors
