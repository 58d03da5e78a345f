"""7-Scenes: seq-XX/frame-XXXXXX.{color.png,depth.png,pose.txt}; depth in millimetres, 65535 = no measurement.

Colour and depth are used without registration, with the depth camera's fx = fy = 585 and centre (320, 240), as is
usual with this data set.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path

import torch
from torch import Tensor

from kinodepth.data.calibration import pose_from_row, read_numbers
from kinodepth.data.images import image_size, read_depth, read_image
from kinodepth.types import Camera, InputError, Record, Sequence

NO_MEASUREMENT = 65535 / 1000.0


def detect(path: Path) -> bool:
    return path.is_dir() and any(_folders(path))


def open(path: Path) -> list[Sequence]:
    return [_sequence(folder) for folder in _folders(path)]


def _folders(path: Path) -> list[Path]:
    """``path`` itself or the seq-XX folders in it."""
    here = [path, *sorted(path.glob("seq-*"))]
    return [folder for folder in here if folder.is_dir() and next(folder.glob("frame-*.color.*"), None)]


def _sequence(folder: Path) -> Sequence:
    images = {image.name.split(".")[0]: image for image in sorted(folder.glob("frame-*.color.*"))}
    width, height = image_size(next(iter(images.values())))
    camera = Camera(585.0, 585.0, 320.0, 240.0, 640, 480).resize(width, height)
    records = []
    for name, image in images.items():
        load = {"image": partial(read_image, image)}
        depth, pose = folder / f"{name}.depth.png", folder / f"{name}.pose.txt"
        if depth.exists():
            load["depth"] = partial(_depth, depth)
        matrix = None
        if pose.exists():
            matrix = pose_from_row([v for row in read_numbers(pose) for v in row], str(pose))
        records.append(Record(name, load, None, camera, matrix))
    if not records:
        raise InputError(f"{folder} has no frame-*.color.png; expected a 7-Scenes sequence; check the folder")
    return Sequence(folder.resolve().name, records, str(folder))


def _depth(path: Path) -> Tensor:
    depth = read_depth(path, 1000.0)
    return torch.where(depth >= NO_MEASUREMENT - 1e-3, 0.0, depth)
