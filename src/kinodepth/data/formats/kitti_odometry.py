"""KITTI odometry: sequences/NN/{image_2, calib.txt, times.txt, velodyne}, poses/NN.txt of camera 0.

Poses are moved to colour camera 2 with the offset in P2. Depth is the LiDAR sweep where there is one.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path

import numpy as np
import torch

from kinodepth.data.calibration import read_numbers, read_pose_rows
from kinodepth.data.images import image_size
from kinodepth.data.kitti import lidar_depth, matrix, read_calibration
from kinodepth.data.records import images_in, sequence_of
from kinodepth.types import Camera, InputError, Sequence


def detect(path: Path) -> bool:
    return path.is_dir() and any(_folders(path))


def open(path: Path) -> list[Sequence]:
    return [_sequence(folder) for folder in _folders(path)]


def _folders(path: Path) -> list[Path]:
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
    poses = None
    rows = folder.resolve().parents[1] / "poses" / f"{folder.resolve().name}.txt"
    if rows.is_file():
        second, back = torch.from_numpy(second_from_first), torch.from_numpy(np.linalg.inv(second_from_first))
        poses = {s: second @ p @ back for s, p in zip(stems, read_pose_rows(rows, len(images)), strict=True)}
    times = None
    if (folder / "times.txt").is_file():
        values = [row[0] for row in read_numbers(folder / "times.txt")]
        if len(values) != len(images):
            raise InputError(
                f"{folder} has {len(values)} times for {len(images)} images; expected one per image; complete it"
            )
        times = dict(zip(stems, values, strict=True))
    maps = {}
    sweeps = {p.stem: p for p in sorted((folder / "velodyne").glob("*.bin"))}
    if sweeps and "Tr" in calibration:
        image_from_lidar = projection @ matrix(calibration, "Tr", file)
        maps = {"depth": {s: partial(lidar_depth, p, image_from_lidar, width, height) for s, p in sweeps.items()}}
    return sequence_of(folder.resolve().name, images, folder, camera, poses, times, maps)
