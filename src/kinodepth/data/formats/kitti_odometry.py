"""KITTI odometry: sequences/NN/{image_2, calib.txt, times.txt, velodyne}, poses/NN.txt of camera 0.

Poses are moved to colour camera 2 with the offset in P2; where there is none of these, those of poses_dvso/NN.txt are
taken as they are. Depth is image_depth_annotated/NNNNNN.png (`kinodepth prepare --kitti-odometry` makes it; frames
without are empty), else the LiDAR sweep where there is one.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from kinodepth.data.calibration import read_numbers, read_pose_rows
from kinodepth.data.images import image_size, read_depth
from kinodepth.data.kitti import lidar_depth, matrix, read_calibration
from kinodepth.data.records import by_stem, images_in, sequence_of
from kinodepth.types import Camera, InputError, Sequence

PoseKind = Literal["official", "dvso"]


def detect(path: Path) -> bool:
    return path.is_dir() and any(folders(path))


def open(path: Path) -> list[Sequence]:
    return [_sequence(folder) for folder in folders(path)]


def folders(path: Path) -> list[Path]:
    """``path`` itself, or the sequences in a data set folder."""
    candidates = [path, *sorted(path.glob("sequences/*")), *sorted(path.glob("dataset/sequences/*"))]
    return [folder for folder in candidates if (folder / "image_2").is_dir() and (folder / "calib.txt").is_file()]


def _sequence(folder: Path) -> Sequence:
    images = images_in(folder / "image_2")
    width, height = image_size(images[0])
    file = folder / "calib.txt"
    calibration = read_calibration(file)
    projection = matrix(calibration, "P2", file)
    camera = Camera.from_matrix(projection[:3, :3], width, height)
    second_from_first = np.eye(4)
    second_from_first[:3, 3] = np.linalg.solve(projection[:3, :3], projection[:3, 3])
    stems = [image.stem for image in images]
    official = pose_file(folder, "official").is_file()
    poses = read_poses(folder, stems, "official" if official else "dvso") if official or has_dvso(folder) else None
    if official and poses is not None:
        second, back = torch.from_numpy(second_from_first), torch.from_numpy(np.linalg.inv(second_from_first))
        poses = {stem: second @ pose @ back for stem, pose in poses.items()}
    maps: dict[str, dict[str, Callable[[], Tensor]]] = {}
    annotated = by_stem(folder / "image_depth_annotated", (".png",))
    sweeps = {p.stem: p for p in sorted((folder / "velodyne").glob("*.bin"))}
    if annotated:
        maps = {"depth": {s: partial(_annotated, annotated.get(s), width, height) for s in stems}}
    elif sweeps and "Tr" in calibration:
        image_from_lidar = projection @ matrix(calibration, "Tr", file)
        maps = {"depth": {s: partial(lidar_depth, p, image_from_lidar, width, height) for s, p in sweeps.items()}}
    return sequence_of(folder.resolve().name, images, folder, camera, poses, read_times(folder, stems), maps)


def pose_file(folder: Path, kind: PoseKind) -> Path:
    folder = folder.resolve()
    return folder.parents[1] / ("poses" if kind == "official" else "poses_dvso") / f"{folder.name}.txt"


def has_dvso(folder: Path) -> bool:
    return pose_file(folder, "dvso").is_file()


def read_poses(folder: Path, stems: list[str], kind: PoseKind) -> dict[str, Tensor]:
    """``cam_to_world`` of a sequence folder's frames as stored. Raises ``InputError`` where the file is missing."""
    path = pose_file(folder, kind)
    if not path.is_file():
        raise InputError(
            f"{folder} has no poses at {path}; expected one row of 12 numbers per image; add the file or take "
            f"{'dvso' if kind == 'official' else 'official'}"
        )
    return dict(zip(stems, read_pose_rows(path, len(stems)), strict=True))


def read_times(folder: Path, stems: list[str]) -> dict[str, float] | None:
    if not (folder / "times.txt").is_file():
        return None
    values = [row[0] for row in read_numbers(folder / "times.txt")]
    if len(values) != len(stems):
        raise InputError(
            f"{folder} has {len(values)} times for {len(stems)} images; expected one per image; complete it"
        )
    return dict(zip(stems, values, strict=True))


def _annotated(path: Path | None, width: int, height: int) -> Tensor:
    return torch.zeros(1, height, width) if path is None else read_depth(path, 256.0)
