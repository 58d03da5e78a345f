"""DeepVideoMVS training scenes: 000000.npz, ... with ``image`` (H x W x 3, RGB) and ``depth`` (H x W, millimetres),
poses.txt with row i for the i-th file by name, K.txt. A root holds train.txt and validation.txt with scene names.
"""

from __future__ import annotations

import zipfile
from functools import partial
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from kinodepth.data.calibration import known_poses, read_camera, read_numbers, read_text
from kinodepth.types import InputError, Record, Sequence


def detect(path: Path) -> bool:
    return _is_scene(path) or any(_is_scene(scene) for scene in _listed(path))


def open(path: Path) -> list[Sequence]:
    if _is_scene(path):
        return [_sequence(path)]
    scenes = _listed(path)
    missing = [scene for scene in scenes if not _is_scene(scene)]
    if missing:
        raise InputError(
            f"{missing[0]} is no scene but is listed in train.txt or validation.txt; expected K.txt, poses.txt and npz "
            "files; restore it or correct the list"
        )
    return [_sequence(scene) for scene in scenes]


def _is_scene(path: Path) -> bool:
    return (path / "K.txt").is_file() and (path / "poses.txt").is_file() and next(path.glob("*.npz"), None) is not None


def _listed(path: Path) -> list[Path]:
    files = [file for file in (path / "train.txt", path / "validation.txt") if file.is_file()]
    return [path / name for file in files for name in read_text(file).split()]


def _sequence(path: Path) -> Sequence:
    files = sorted(path.glob("*.npz"))
    stems = [file.stem for file in files]
    height, width = _array(files[0], "image").shape[:2]
    camera = read_camera(path / "K.txt", width, height)
    poses = known_poses(read_numbers(path / "poses.txt"), stems, path / "poses.txt")
    records = [
        Record(file.stem, {"image": partial(_image, file), "depth": partial(_depth, file)}, None, camera, pose)
        for file, pose in ((file, poses.get(file.stem)) for file in files)
    ]
    return Sequence(path.resolve().name, records, str(path))


def _image(path: Path) -> Tensor:
    return torch.from_numpy(_array(path, "image").transpose(2, 0, 1).copy()).float() / 255


def _depth(path: Path) -> Tensor:
    return torch.from_numpy(_array(path, "depth").astype(np.float32) / np.float32(1000))[None]


def _array(path: Path, key: str) -> np.ndarray:
    try:
        with np.load(path, allow_pickle=False) as file:
            return file[key]
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):
        raise InputError(f"{path} has no readable {key}; expected arrays image and depth; write it again") from None
