"""TUM RGB-D: rgb.txt, depth.txt, groundtruth.txt; joined by time, depth in 1/5000 m.

Poses are interpolated to the time of the image (linear and spherical). Intrinsics are those of the freiburg1, 2 or 3
colour camera named in the path, else the data set's default pinhole (525, 525, 319.5, 239.5); lens distortion stays.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path

import numpy as np
import torch
from scipy.spatial.transform import Rotation, Slerp
from torch import Tensor

from kinodepth.data.calibration import read_numbers, read_text
from kinodepth.data.images import image_size, read_depth, read_image
from kinodepth.types import Camera, InputError, Record, Sequence

APART = 0.02  # seconds between frames that belong together, at most (the benchmark's own rule)
CAMERAS = {
    "freiburg1": (517.306408, 516.469215, 318.643040, 255.313989),
    "freiburg2": (520.908620, 521.007327, 325.141442, 249.701764),
    "freiburg3": (535.4, 539.2, 320.1, 247.6),
}
DEFAULT = (525.0, 525.0, 319.5, 239.5)


def detect(path: Path) -> bool:
    return (path / "rgb.txt").is_file()


def open(path: Path) -> list[Sequence]:
    images = _listed(path / "rgb.txt")
    if not images:
        raise InputError(f"{path / 'rgb.txt'} lists no image; expected rows 'time file'; check the download")
    depths = _listed(path / "depth.txt") if (path / "depth.txt").is_file() else {}
    poses = _Trajectory(path / "groundtruth.txt") if (path / "groundtruth.txt").is_file() else None
    values = next((v for key, v in CAMERAS.items() if key in str(path.resolve())), DEFAULT)
    width, height = image_size(path / next(iter(images.values())))
    camera = Camera(*values, 640, 480).resize(width, height)
    depth_times = np.array(sorted(depths))
    records = []
    for time, name in images.items():
        load = {"image": partial(read_image, path / name)}
        if depth_times.size:
            nearest = float(depth_times[np.abs(depth_times - time).argmin()])
            if abs(nearest - time) < APART:
                load["depth"] = partial(read_depth, path / depths[nearest], 5000.0)
        records.append(Record(Path(name).stem, load, time, camera, poses.at(time) if poses else None))
    return [Sequence(path.resolve().name, records, str(path))]


def _listed(path: Path) -> dict[float, str]:
    """File names by time."""
    rows = [line.split() for line in read_text(path).splitlines() if line.strip() and not line.startswith("#")]
    try:
        return {float(row[0]): row[1] for row in rows}
    except (ValueError, IndexError):
        raise InputError(
            f"{path} has a row that is not 'time file'; expected the TUM list format; correct it"
        ) from None


class _Trajectory:
    """``cam_to_world`` by time from rows ``time tx ty tz qx qy qz qw``."""

    def __init__(self, path: Path) -> None:
        rows = sorted({row[0]: tuple(row) for row in read_numbers(path) if row}.values())
        if not rows or any(len(row) != 8 for row in rows) or not np.isfinite(rows).all():
            raise InputError(f"{path} has rows that are not 'time tx ty tz qx qy qz qw'; expected these; correct it")
        table = np.array(rows)
        self.times, self.places = table[:, 0], table[:, 1:4]
        self.turns = Slerp(self.times, Rotation.from_quat(table[:, 4:])) if len(rows) > 1 else None

    def at(self, time: float) -> Tensor | None:
        """4 x 4 float64 at ``time``; None outside the recording or in a gap longer than 0.5 s."""
        after = int(np.searchsorted(self.times, time))
        if self.turns is None or after in (0, len(self.times)) or self.times[after] - self.times[after - 1] > 0.5:
            return None
        pose = torch.eye(4, dtype=torch.float64)
        pose[:3, :3] = torch.from_numpy(self.turns(time).as_matrix())
        pose[:3, 3] = torch.tensor([np.interp(time, self.times, self.places[:, axis]) for axis in range(3)])
        return pose
