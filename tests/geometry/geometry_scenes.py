"""A textured plane seen by two cameras: pictures, depth and motion all known in closed form (float64)."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from scipy.spatial.transform import Rotation

INTRINSICS = np.array([[70.0, 0.0, 40.5], [0.0, 65.0, 28.0], [0.0, 0.0, 1.0]])
HEIGHT, WIDTH = 60, 80
NORMAL, DISTANCE = np.array([0.2, -0.1, 1.0]), 4.0  # plane: normal . x = distance, in the target camera


class View(NamedTuple):
    image: torch.Tensor  # 1 x 3 x H x W
    depth: torch.Tensor  # 1 x 1 x H x W


def render(view_from_target: np.ndarray) -> View:
    """What a camera sees of the plane: rays cut with the plane, a smooth texture in target coordinates."""
    v, u = np.mgrid[:HEIGHT, :WIDTH].astype(float)
    rays = np.linalg.inv(INTRINSICS) @ np.stack((u, v, np.ones_like(u))).reshape(3, -1)
    target_from_view = np.linalg.inv(view_from_target)
    directions, origin = target_from_view[:3, :3] @ rays, target_from_view[:3, 3]
    depth = (DISTANCE - NORMAL @ origin) / (NORMAL @ directions)
    x, y, _ = origin[:, None] + directions * depth
    image = np.stack((np.sin(1.5 * x + y), np.cos(x - 1.2 * y), np.sin(0.7 * x) * np.cos(0.9 * y)))
    shape = (1, -1, HEIGHT, WIDTH)
    return View(torch.from_numpy(image.reshape(shape)), torch.from_numpy(depth.reshape(shape)))


def motion(rotation: tuple[float, float, float] = (0.03, -0.05, 0.04), shift=(0.3, -0.1, 0.2)) -> np.ndarray:
    matrix = np.eye(4)
    matrix[:3, :3] = Rotation.from_rotvec(rotation).as_matrix()
    matrix[:3, 3] = shift
    return matrix


def torch_intrinsics() -> torch.Tensor:
    return torch.from_numpy(INTRINSICS)[None]


def read_bilinear(image: np.ndarray, x: float, y: float) -> np.ndarray:
    """C values of a C x H x W image at one place, zero outside: the slow and plain way."""
    _, height, width = image.shape
    total = np.zeros(len(image))
    x0, y0 = int(np.floor(x)), int(np.floor(y))
    for column, row in ((x0, y0), (x0 + 1, y0), (x0, y0 + 1), (x0 + 1, y0 + 1)):
        if 0 <= column < width and 0 <= row < height:
            total += image[:, row, column] * (1 - abs(x - column)) * (1 - abs(y - row))
    return total
