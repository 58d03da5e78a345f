"""Augmented ICL-NUIM: <scene>-color/, <scene>-depth-clean/ (millimetres), <scene>-traj.txt, for each scene of a folder.

The i-th pose of the trajectory (4 lines after one of numbers) belongs to the i-th image by name. Camera as in spec
deep_video_mvs 7.
"""

from __future__ import annotations

from itertools import chain
from pathlib import Path

from kinodepth.data.calibration import known_poses, read_numbers
from kinodepth.data.images import image_size
from kinodepth.data.records import depth_maps, images_in, sequence_of
from kinodepth.types import Camera, Sequence

CAMERA = Camera(525.0, 525.0, 320.0, 240.0, 640, 480)


def detect(path: Path) -> bool:
    return path.is_dir() and bool(_scenes(path))


def open(path: Path) -> list[Sequence]:
    return [_sequence(path, scene) for scene in _scenes(path)]


def _scenes(path: Path) -> list[str]:
    names = (folder.name.removesuffix("-color") for folder in sorted(path.glob("*-color")) if folder.is_dir())
    return [name for name in names if (path / f"{name}-traj.txt").is_file()]


def _sequence(path: Path, scene: str) -> Sequence:
    images = images_in(path / f"{scene}-color")
    file = path / f"{scene}-traj.txt"
    lines = [row for row in read_numbers(file) if len(row) >= 4]  # shorter ones say which frame follows
    rows = [list(chain(*lines[start : start + 4])) for start in range(0, len(lines), 4)]
    poses = known_poses(rows, [image.stem for image in images], file)
    camera = CAMERA.resize(*image_size(images[0]))
    depth = depth_maps(path / f"{scene}-depth-clean", 1000.0)
    return sequence_of(scene, images, path, camera, poses, maps={"depth": depth} if depth else {})
