"""KITTI raw: <date>/<drive>_sync/image_02/data, oxts, velodyne_points, with the calibration files of the date beside.

Colour camera 2. Poses from GPS/IMU (Mercator projection at the first frame's latitude), first frame = origin. Depth is
the improved ground truth (proj_depth/groundtruth/image_02) where there is one, else the LiDAR sweep.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from kinodepth.data.calibration import read_numbers, read_text
from kinodepth.data.formats.deep_video_mvs import read_time
from kinodepth.data.images import image_size, list_images, read_depth
from kinodepth.data.kitti import lidar_depth, matrix, read_calibration, rigid
from kinodepth.data.records import images_in, sequence_of
from kinodepth.types import Camera, InputError, Sequence

EARTH = 6378137.0  # metres, radius used by the data set's own projection


def detect(path: Path) -> bool:
    return path.is_dir() and any(_drives(path))


def open(path: Path) -> list[Sequence]:
    return [drive_sequence(drive) for drive in _drives(path)]


def _drives(path: Path) -> list[Path]:
    """``path`` itself, or the drives in a date folder or in a folder of dates."""
    candidates = [path, *sorted(path.glob("*_sync")), *sorted(path.glob("*/*_sync"))]
    return [drive for drive in candidates if (drive / "image_02" / "data").is_dir()]


def drive_sequence(drive: Path, side: str = "02") -> Sequence:
    """The recording of one colour camera of a drive: ``02`` left, ``03`` right."""
    images = images_in(drive / f"image_{side}" / "data")
    width, height = image_size(images[0])
    date = drive.resolve().parent
    camera = poses = None
    maps = {}
    file = date / "calib_cam_to_cam.txt"
    if file.is_file():
        calibration = read_calibration(file)
        projection = matrix(calibration, f"P_rect_{side}", file)
        camera = Camera.from_matrix(projection[:3, :3], width, height)
        rectify = matrix(calibration, "R_rect_00", file, 3)
        second_from_first = np.linalg.inv(_pinhole(projection)) @ projection  # the offset of this camera
        velo_file, imu_file = date / "calib_velo_to_cam.txt", date / "calib_imu_to_velo.txt"
        if velo_file.is_file():
            first_from_lidar = rectify @ rigid(read_calibration(velo_file), velo_file)
            sweeps = {p.stem: p for p in sorted((drive / "velodyne_points" / "data").glob("*.bin"))}
            image_from_lidar = projection @ first_from_lidar
            maps = {"depth": {s: partial(lidar_depth, p, image_from_lidar, width, height) for s, p in sweeps.items()}}
            if imu_file.is_file() and (drive / "oxts" / "data").is_dir():
                from_imu = second_from_first @ first_from_lidar @ rigid(read_calibration(imu_file), imu_file)
                rows = {p.stem: read_numbers(p)[0] for p in sorted((drive / "oxts" / "data").glob("*.txt"))}
                poses = poses_from_oxts(rows, from_imu)
    better = list_images(drive / "proj_depth" / "groundtruth" / f"image_{side}")
    if better:
        maps = {"depth": {p.stem: partial(read_depth, p, 256.0) for p in better}}
    return sequence_of(drive.resolve().name, images, drive, camera, poses, _times(drive, side, images), maps)


def poses_from_oxts(rows: dict[str, list[float]], camera_from_imu: np.ndarray) -> dict[str, Tensor]:
    """4 x 4 float64 ``cam_to_world`` by frame of GPS/IMU rows (latitude, longitude, altitude, roll, pitch, yaw, ...).

    The world is the first frame's camera.
    """
    poses: dict[str, Tensor] = {}
    scale = 0.0
    first: np.ndarray = np.eye(4)
    for name, row in rows.items():
        if len(row) < 6 or not np.isfinite(row[:6]).all():
            raise InputError(
                f"oxts of frame {name} lacks finite latitude to yaw; expected 30 numbers; restore the file"
            )
        latitude, longitude, altitude, roll, pitch, yaw = row[:6]
        scale = scale or np.cos(np.radians(latitude))
        imu = np.eye(4)
        imu[:3, :3] = _turn(2, yaw) @ _turn(1, pitch) @ _turn(0, roll)
        north = scale * EARTH * np.log(np.tan(np.radians(90 + latitude) / 2))
        imu[:3, 3] = scale * EARTH * np.radians(longitude), north, altitude
        pose = imu @ np.linalg.inv(camera_from_imu)
        if not poses:
            first = np.linalg.inv(pose)
        poses[name] = torch.from_numpy(first @ pose)
    return poses


def _turn(axis: int, angle: float) -> np.ndarray:
    """3 x 3 right-handed rotation by ``angle`` (radians) about ``axis``."""
    a, b = (axis + 1) % 3, (axis + 2) % 3
    rotation = np.eye(3)
    rotation[a, a] = rotation[b, b] = np.cos(angle)
    rotation[b, a], rotation[a, b] = np.sin(angle), -np.sin(angle)
    return rotation


def _pinhole(projection: np.ndarray) -> np.ndarray:
    square = np.eye(4)
    square[:3, :3] = projection[:3, :3]
    return square


def _times(drive: Path, side: str, images: list[Path]) -> dict[str, float] | None:
    file = drive / f"image_{side}" / "timestamps.txt"
    if not file.is_file():
        return None
    times = [read_time(line.strip(), file) for line in read_text(file).splitlines() if line.strip()]
    # row i is frame number i of the drive; drives lack single images, so the number in the name counts
    return {p.stem: times[int(p.stem)] for p in images if p.stem.isdigit() and int(p.stem) < len(times)}
