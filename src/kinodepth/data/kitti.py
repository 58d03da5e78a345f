"""What KITTI's raw and odometry layouts share: calibration files and LiDAR sweeps as depth maps."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from kinodepth.data.calibration import read_text
from kinodepth.types import InputError


def read_calibration(path: Path) -> dict[str, np.ndarray]:
    """Rows ``name: numbers`` of a calibration file, as flat float64 arrays; rows of words are left out."""
    found = {}
    for line in read_text(path).splitlines():
        name, _, numbers = line.partition(":")
        try:
            found[name.strip()] = np.array([float(word) for word in numbers.split()])
        except ValueError:
            continue
    return found


def matrix(calibration: dict[str, np.ndarray], key: str, path: Path, columns: int = 4) -> np.ndarray:
    """4 x 4 float64 of the 3 x ``columns`` (or 3 x 3) entry ``key``. Raises ``InputError`` where it is missing."""
    if key not in calibration or calibration[key].size != 3 * columns:
        raise InputError(f"{path} has no {key} of {3 * columns} numbers; expected KITTI calibration; restore the file")
    square = np.eye(4)
    square[:3, :columns] = calibration[key].reshape(3, columns)
    return square


def rigid(calibration: dict[str, np.ndarray], path: Path) -> np.ndarray:
    """4 x 4 float64 of the entries R (9 numbers) and T (3)."""
    transform = matrix(calibration, "R", path, 3)
    if calibration.get("T", np.empty(0)).size != 3:
        raise InputError(f"{path} has no T of 3 numbers; expected KITTI calibration; restore the file")
    transform[:3, 3] = calibration["T"]
    return transform


def lidar_depth(path: Path, image_from_lidar: np.ndarray, width: int, height: int) -> Tensor:
    """1 x H x W float32 metres of one sweep (float32 x, y, z, reflectance); 0 where no return lies.

    As in the usual Eigen-split ground truth: returns with forward x >= 0, pixel = round(projection) - 1 on both axes,
    of several returns in a pixel the nearest, depth = third homogeneous coordinate.
    """
    if not path.is_file() or path.stat().st_size % 16:
        raise InputError(f"{path} is missing or cut off; expected float32 x, y, z, reflectance; download it again")
    points = np.fromfile(path, np.float32).reshape(-1, 4)
    points = points[points[:, 0] >= 0].astype(np.float64)
    points[:, 3] = 1
    x, y, z = (points @ image_from_lidar[:3].T).T
    front = z > 0
    x, y, z = x[front], y[front], z[front]
    column, row = np.rint(x / z).astype(np.int64) - 1, np.rint(y / z).astype(np.int64) - 1
    seen = (column >= 0) & (column < width) & (row >= 0) & (row < height)
    depth = np.full(width * height, np.inf)
    np.minimum.at(depth, row[seen] * width + column[seen], z[seen])
    depth[np.isinf(depth)] = 0
    return torch.from_numpy(depth.reshape(1, height, width).astype(np.float32))
