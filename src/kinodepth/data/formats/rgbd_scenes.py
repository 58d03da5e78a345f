"""RGB-D Scenes v2: imgs/scene_NN/*-color.png and *-depth.png (0.1 mm), pc/NN.pose with qw qx qy qz tx ty tz per frame.

The i-th pose belongs to the i-th image by name. Camera as in spec deep_video_mvs 7.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path

import torch

from kinodepth.data.calibration import read_numbers
from kinodepth.data.images import image_size, read_depth, read_image
from kinodepth.geometry.pose import pose_matrix, quaternion_to_matrix
from kinodepth.types import Camera, InputError, Record, Sequence

CAMERA = Camera(570.3, 570.3, 320.0, 240.0, 640, 480)


def detect(path: Path) -> bool:
    return path.is_dir() and bool(_folders(path))


def open(path: Path) -> list[Sequence]:
    return [_sequence(folder) for folder in _folders(path)]


def _folders(path: Path) -> list[Path]:
    """``path`` itself, or the scenes of the data set."""
    here = [path, *sorted(path.glob("scene_*")), *sorted(path.glob("imgs/scene_*"))]
    return [folder for folder in here if folder.name.startswith("scene_") and next(folder.glob("*-color.png"), None)]


def _sequence(folder: Path) -> Sequence:
    images = sorted(folder.glob("*-color.png"))
    camera = CAMERA.resize(*image_size(images[0]))
    file = folder.resolve().parents[1] / "pc" / f"{folder.resolve().name.removeprefix('scene_')}.pose"
    poses: list[torch.Tensor] | list[None] = [None] * len(images)
    if file.is_file():
        rows = torch.tensor(_rows(file, len(images)), dtype=torch.float64)
        poses = list(pose_matrix(quaternion_to_matrix(rows[:, :4]), rows[:, 4:]))
    records = []
    for image, pose in zip(images, poses):
        load = {"image": partial(read_image, image)}
        depth = image.with_name(image.name.replace("-color", "-depth"))
        if depth.is_file():
            load["depth"] = partial(read_depth, depth, 10000.0)
        records.append(Record(image.stem.removesuffix("-color"), load, None, camera, pose))
    return Sequence(folder.resolve().name, records, str(folder))


def _rows(file: Path, count: int) -> list[list[float]]:
    rows = read_numbers(file)
    if len(rows) != count or any(len(row) != 7 or not any(row[:4]) for row in rows):
        raise InputError(
            f"{file} has {len(rows)} rows for {count} images; expected 'qw qx qy qz tx ty tz' for each; restore it"
        )
    return rows
