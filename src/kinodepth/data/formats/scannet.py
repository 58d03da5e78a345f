"""ScanNet: .sens files, or the folders color/, depth/, pose/, intrinsic/ that the data set's reader makes of them.

Depth is in millimetres, at its own size. Colour is brought into the depth camera by the homography between the two, so
that a frame has one camera; ``published`` picks the pixels of the published exporter (spec deep_video_mvs 7: nearest,
with the quirk of 2.3). Frames whose pose is not finite have none: tracking was lost there.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path

import torch
from torch import Tensor

from kinodepth.data.calibration import known_poses, read_numbers
from kinodepth.data.images import image_size, list_images, read_depth, read_image
from kinodepth.data.records import by_stem
from kinodepth.data.sens import SensFile
from kinodepth.geometry.camera import plane_rays
from kinodepth.geometry.sampling import sample
from kinodepth.geometry.warp import homography
from kinodepth.types import Camera, Convention, InputError, Record, Sequence


def detect(path: Path) -> bool:
    return bool(_scans(path)) or _is_raw(path)


def open(path: Path, convention: Convention = "exact") -> list[Sequence]:
    if _is_raw(path):
        return [_raw(path, convention)]
    return [_sens(file, convention) for file in _scans(path)]


def _scans(path: Path) -> list[Path]:
    if path.is_file():
        return [path] if path.suffix == ".sens" else []
    return sorted(path.glob("*.sens"))


def _is_raw(path: Path) -> bool:
    return all((path / name).is_dir() for name in ("color", "depth", "pose"))


def _sens(path: Path, convention: Convention) -> Sequence:
    scan = SensFile(path)
    names = [f"{index:06d}" for index in range(len(scan.frames))]
    if not names:
        raise InputError(f"{path} holds no frame; expected a scan; download it again")
    poses = known_poses([list(frame.pose) for frame in scan.frames], names, path)
    records = []
    for index, name in enumerate(names):
        image = partial(_aligned, partial(scan.color, index), scan.color_camera, scan.depth_camera, convention)
        load = {"image": image, "depth": partial(scan.depth, index)}
        records.append(Record(name, load, None, scan.depth_camera, poses.get(name)))
    return Sequence(path.stem, records, str(path))


def _raw(path: Path, convention: Convention) -> Sequence:
    images = sorted(list_images(path / "color"), key=lambda image: (len(image.stem), image.stem))  # 2 before 10
    depths, poses = by_stem(path / "depth"), by_stem(path / "pose", (".txt",))
    images = [image for image in images if image.stem in depths]
    if not images:
        raise InputError(
            f"{path} has no colour picture with depth; expected color/0.jpg, depth/0.png, ...; export again"
        )
    cameras = []
    for kind, first in (("color", images[0]), ("depth", depths[images[0].stem])):
        file = path / "intrinsic" / f"intrinsic_{kind}.txt"
        if not file.is_file():
            raise InputError(
                f"{path} has no intrinsic/{file.name}; expected what the ScanNet reader writes; export again"
            )
        cameras.append(_camera(file, *image_size(first)))
    stems = [image.stem for image in images if image.stem in poses]
    rows = [[value for row in read_numbers(poses[stem]) for value in row] for stem in stems]
    known = known_poses(rows, stems, path / "pose") if stems else {}
    records = []
    for image in images:
        picture = partial(_aligned, partial(read_image, image), cameras[0], cameras[1], convention)
        load = {"image": picture, "depth": partial(read_depth, depths[image.stem], 1000.0)}
        records.append(Record(image.stem, load, None, cameras[1], known.get(image.stem)))
    return Sequence(path.resolve().name, records, str(path))


def _camera(file: Path, width: int, height: int) -> Camera:
    rows = read_numbers(file)
    if len(rows) < 3 or any(len(row) < 3 for row in rows[:3]):
        raise InputError(f"{file} is no matrix; expected 4 rows of 4 numbers; export the scan again")
    return Camera.from_matrix(rows[:3], width, height)


def _aligned(read: Callable[[], Tensor], color: Camera, depth: Camera, convention: Convention) -> Tensor:
    """The picture of the ``color`` camera as the ``depth`` camera, at the same place, sees it; 0 beyond its border."""
    image = read()
    to_color = homography(torch.eye(3), depth.matrix(), color.matrix())[None]
    rays = plane_rays(to_color, depth.height, depth.width)
    pixels = rays[:, :2] / rays[:, 2:]
    if convention == "exact":
        return sample(image[None], pixels)[0]
    size = torch.tensor([color.width, color.height])[:, None, None]
    return sample(image[None], pixels * (size - 1) / size, mode="nearest")[0]
