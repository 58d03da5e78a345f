"""Motion as colour: the wheel of optical flow, components of 3-D motion, moving things tinted. All H x W x 3 uint8."""

from __future__ import annotations

import numpy as np
from matplotlib.colors import hsv_to_rgb
from torch import Tensor

from kinodepth.visualization.panels import to_picture

TINT = np.array([255, 40, 40], np.float32)  # of what moves by itself


def colorize_flow(flow: np.ndarray | Tensor, largest: float) -> np.ndarray:
    """Colour 2 x H x W pixels of motion: the hue is the direction (right red, down green to yellow, left cyan, up
    violet), the saturation the length, full from ``largest`` on; white is at rest, grey not finite."""
    x, y = _array(flow)
    known = np.isfinite(x) & np.isfinite(y)
    x, y = np.where(known, x, 0), np.where(known, y, 0)
    hue = np.arctan2(y, x) / (2 * np.pi) % 1
    length = np.clip(np.hypot(x, y) / max(largest, 1e-6), 0, 1)
    colors = hsv_to_rgb(np.stack([hue, length, np.ones_like(hue)], -1))
    colors[~known] = 0.5
    return (colors * 255 + 0.5).astype(np.uint8)


def colorize_motion(field: np.ndarray | Tensor, largest: float) -> np.ndarray:
    """Colour 3 x H x W motion in space: x, y, z are red, green, blue, within ``largest`` either way; grey is rest."""
    unit = _array(field) / max(largest, 1e-6)
    return to_picture(np.nan_to_num(0.5 + 0.5 * unit, nan=0.5).clip(0, 1))


def tint_mask(image: np.ndarray | Tensor, mask: np.ndarray | Tensor) -> np.ndarray:
    """The image 3 x H x W in [0, 1] with the pixels of ``mask`` (1 x H x W, same size) tinted red."""
    picture, inside = to_picture(image), _array(mask)[0] > 0.5
    picture[inside] = (0.45 * picture[inside] + 0.55 * TINT).astype(np.uint8)
    return picture


def _array(values: np.ndarray | Tensor) -> np.ndarray:
    return values.detach().float().cpu().numpy() if isinstance(values, Tensor) else np.asarray(values, np.float32)
