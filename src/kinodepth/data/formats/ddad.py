"""DDAD as published (the DGP layout): <scene>/scene_*.json, calibration/*.json, rgb/CAMERA_0N, point_cloud/LIDAR.

One recording per scene, of one camera (default CAMERA_01, the front). Poses and LiDAR come from the scene file; depth
is the sweep of the same sample seen by the camera, the nearest return in each pixel.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from kinodepth.data.calibration import read_json
from kinodepth.data.formats.deep_video_mvs import read_time
from kinodepth.data.images import read_image
from kinodepth.geometry.pose import pose_matrix, quaternion_to_matrix
from kinodepth.types import Camera, InputError, Record, Sequence

LIDAR = "LIDAR"


def detect(path: Path) -> bool:
    return path.is_dir() and any(_scenes(path))


def open(path: Path, camera: str = "CAMERA_01") -> list[Sequence]:
    return [_sequence(file, camera) for file in _scenes(path)]


def _scenes(path: Path) -> list[Path]:
    """The scene files of one scene folder, or of a folder of these."""
    found = sorted(path.glob("scene_*.json")) or sorted(path.glob("*/scene_*.json"))
    return [file for file in found if (file.parent / "calibration").is_dir()]


def _sequence(file: Path, name: str) -> Sequence:
    scene, folder = read_json(file), file.parent
    try:
        data = {datum["key"]: datum for datum in scene["data"]}
        records = []
        for sample in scene["samples"]:
            by_name = {data[key]["id"]["name"]: data[key] for key in sample["datum_keys"] if key in data}
            if name in by_name:
                camera = _camera(folder / "calibration" / f"{sample['calibration_key']}.json", name, by_name[name])
                records.append(_record(folder, by_name[name], by_name.get(LIDAR), camera))
    except (KeyError, TypeError, ValueError) as error:
        raise InputError(f"{file} lacks {error}; expected DDAD's scene file; download it again") from None
    if not records:
        raise InputError(f"{file} has no image of {name}; expected one of the six cameras; give another")
    return Sequence(folder.resolve().name, records, str(folder))


def _record(folder: Path, image: dict[str, Any], sweep: dict[str, Any] | None, camera: Camera) -> Record:
    about = image["datum"]["image"]
    path, pose = folder / about["filename"], _pose(about["pose"])
    load = {"image": partial(read_image, path)}
    if sweep is not None:
        cloud = sweep["datum"]["point_cloud"]
        camera_from_lidar = torch.linalg.solve(pose, _pose(cloud["pose"]))
        load["depth"] = partial(seen_depth, folder / cloud["filename"], camera_from_lidar, camera)
    return Record(
        path.stem, load, read_time(image["id"]["timestamp"].rstrip("Z").replace("T", " "), path), camera, pose
    )


def _pose(stored: dict[str, Any]) -> Tensor:
    """4 x 4 float64, from the sensor to the world."""
    turn, place = stored["rotation"], stored["translation"]
    quaternion = torch.tensor([float(turn[key]) for key in ("qw", "qx", "qy", "qz")], dtype=torch.float64)
    return pose_matrix(
        quaternion_to_matrix(quaternion), torch.tensor([float(place[key]) for key in "xyz"], dtype=torch.float64)
    )


def _camera(file: Path, name: str, image: dict[str, Any]) -> Camera:
    calibration = read_json(file)
    values = calibration["intrinsics"][calibration["names"].index(name)]
    about = image["datum"]["image"]
    fx, fy, cx, cy = (float(values[key]) for key in ("fx", "fy", "cx", "cy"))
    return Camera(fx, fy, cx, cy, int(about["width"]), int(about["height"]))


def seen_depth(path: Path, camera_from_lidar: Tensor, camera: Camera) -> Tensor:
    """1 x H x W float32 metres of a sweep (.npz, ``data`` N x 3 or more); 0 where no return lies, else the nearest."""
    if not path.is_file():
        raise InputError(f"{path} does not exist; expected the LiDAR sweep that the scene lists; download it again")
    with np.load(path, allow_pickle=False) as stored:
        points = torch.from_numpy(np.asarray(stored["data"][:, :3], np.float64))
    x, y, z = (points @ camera_from_lidar[:3, :3].T + camera_from_lidar[:3, 3]).unbind(1)
    front = z > 0
    x, y, z = x[front], y[front], z[front]
    column, row = (camera.fx * x / z + camera.cx).round().long(), (camera.fy * y / z + camera.cy).round().long()
    inside = (column >= 0) & (column < camera.width) & (row >= 0) & (row < camera.height)
    cells = row[inside] * camera.width + column[inside]
    empty = torch.full((camera.height * camera.width,), torch.inf, dtype=torch.float64)
    depth = empty.scatter_reduce(0, cells, z[inside], "amin")
    return torch.where(depth.isfinite(), depth, 0).view(1, camera.height, camera.width).float()
