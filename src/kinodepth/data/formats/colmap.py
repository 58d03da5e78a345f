"""COLMAP text models: cameras.txt and images.txt in the folder, in sparse/ or sparse/0, images in images/.

The frames are the registered images by name. COLMAP's scale is arbitrary, and so is that of these poses. Its pixel
centres lie at halves. Cameras must be pinholes: undistort first (``colmap image_undistorter``).
"""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor

from kinodepth.data.calibration import read_text
from kinodepth.data.images import image_size
from kinodepth.data.records import joined, sequence_of
from kinodepth.geometry.pose import invert, pose_matrix, quaternion_to_matrix
from kinodepth.types import Camera, InputError, Record, Sequence

PLACES = (".", "sparse", "sparse/0")
# Numbers of focal lengths per model; what follows them and the principal point is distortion.
MODELS = {"SIMPLE_PINHOLE": 1, "PINHOLE": 2, "SIMPLE_RADIAL": 1, "RADIAL": 1, "OPENCV": 2, "FULL_OPENCV": 2}


def detect(path: Path) -> bool:
    return path.is_dir() and _model(path) is not None


def open(path: Path) -> list[Sequence]:
    model = _model(path)
    if model is None:
        raise InputError(f"{path} has no cameras.txt and images.txt; expected a COLMAP text model; export one as text")
    cameras = _cameras(model / "cameras.txt")
    poses, used = _images(model / "images.txt")
    folder = path / "images" if (path / "images").is_dir() else path
    images = {name: folder / name for name in sorted(poses)}
    lost = [name for name, file in images.items() if not file.is_file()]
    if not images or lost:
        raise InputError(
            f"{model / 'images.txt'} lists {len(images)} images, of which {len(lost)} are not in {folder}; expected "
            "all of them there; copy them or correct the names"
        )
    first = next(iter(images.values()))
    sequence = sequence_of(path.resolve().name, list(images.values()), path)
    sequence = joined(sequence, None, {file.stem: poses[name] for name, file in images.items()})
    records = []
    for record, name in zip(sequence.records, images, strict=True):
        camera = cameras.get(used[name])
        if camera is None:
            raise InputError(f"{model / 'cameras.txt'} has no camera {used[name]}, which {name} was taken with; add it")
        records.append(Record(record.name, record.load, None, camera, record.cam_to_world))
    size = image_size(first)
    if (records[0].camera.width, records[0].camera.height) != size:  # type: ignore[union-attr]
        records = [_resized(record, *size) for record in records]
    return [Sequence(sequence.name, records, sequence.source)]


def _model(path: Path) -> Path | None:
    found = (path / place for place in PLACES)
    return next((p for p in found if (p / "cameras.txt").is_file() and (p / "images.txt").is_file()), None)


def _rows(path: Path) -> list[list[str]]:
    return [line.split() for line in read_text(path).splitlines() if not line.startswith("#")]


def _cameras(path: Path) -> dict[str, Camera]:
    found = {}
    for row in filter(None, _rows(path)):
        if len(row) < 7 or row[1] not in MODELS:
            raise InputError(
                f"{path}: camera {' '.join(row[:2])} is no known pinhole model; expected PINHOLE; undistort"
            )
        numbers, focals = [float(word) for word in row[4:]], MODELS[row[1]]
        if any(numbers[focals + 2 :]):
            raise InputError(
                f"{path}: camera {row[0]} is distorted ({row[1]}); expected a pinhole; run colmap image_undistorter"
            )
        fx, fy = numbers[0], numbers[focals - 1]
        cx, cy = numbers[focals : focals + 2]
        found[row[0]] = Camera(fx, fy, cx - 0.5, cy - 0.5, int(row[2]), int(row[3]))
    return found


def _images(path: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    """``cam_to_world`` and camera by image name; rows ``id qw qx qy qz tx ty tz camera name``, points after each."""
    rows = _rows(path)
    while rows and not rows[0]:
        rows = rows[1:]
    poses, cameras = {}, {}
    for row in rows[::2]:
        if not row:
            continue
        try:
            numbers = torch.tensor([float(word) for word in row[1:8]], dtype=torch.float64)
            name, camera = " ".join(row[9:]), row[8]
        except (ValueError, IndexError):
            raise InputError(
                f"{path} has a row {' '.join(row)[:50]!r}; expected id, pose, camera, name; export again"
            ) from None
        poses[name] = invert(pose_matrix(quaternion_to_matrix(numbers[:4]), numbers[4:]))
        cameras[name] = camera
    return poses, cameras


def _resized(record: Record, width: int, height: int) -> Record:
    camera = record.camera.resize(width, height) if record.camera else None
    return Record(record.name, record.load, record.timestamp, camera, record.cam_to_world)
