"""DeepVideoMVS test folders: images/, depth/ in millimetres, K.txt, poses.txt with row i for the i-th image by name.

Folders of that shape made from KITTI (kitti_meta/ beside them) have depth in 1/256 m. ``moving_masks/`` holds instance
ids of moving objects, ``timestamps.txt`` one time per row (seconds, or date and time of day). A row of NaN or inf is a
frame without pose: tracking was lost there.
"""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

from kinodepth.data.calibration import known_poses, read_camera, read_numbers, read_text
from kinodepth.data.images import image_size
from kinodepth.data.records import depth_maps, images_in, mask_maps, sequence_of
from kinodepth.types import InputError, Sequence


def detect(path: Path) -> bool:
    return (path / "images").is_dir() and (path / "K.txt").is_file()


def open(path: Path, depth_divisor: float | None = None) -> list[Sequence]:
    images = images_in(path / "images")
    stems = [image.stem for image in images]
    poses, times = None, None
    if (path / "poses.txt").is_file():
        poses = known_poses(read_numbers(path / "poses.txt"), stems, path / "poses.txt")
    if (path / "timestamps.txt").is_file():
        times = dict(zip(stems, _timestamps(path / "timestamps.txt", len(images)), strict=True))
    divisor = depth_divisor or (256.0 if (path / "kitti_meta").is_dir() else 1000.0)
    maps = {
        "depth": depth_maps(path / "depth", divisor),
        "mask:dynamic": mask_maps(path / "moving_masks"),
        "mask:instances": mask_maps(path / "moving_masks", ids=True),
    }
    camera = read_camera(path / "K.txt", *image_size(images[0]))
    name = path.resolve().name
    return [sequence_of(name, images, path, camera, poses, times, {k: v for k, v in maps.items() if v})]


def _timestamps(path: Path, count: int) -> list[float]:
    lines = [line.strip() for line in read_text(path).splitlines() if line.strip()]
    if len(lines) != count:
        raise InputError(f"{path} has {len(lines)} times for {count} images; expected one per image; complete it")
    return [read_time(line, path) for line in lines]


def read_time(text: str, path: Path) -> float:
    """Seconds of a number, or of a date and time (KITTI raw, nanoseconds)."""
    try:
        return float(text)
    except ValueError:
        pass
    try:
        moment, _, fraction = text.partition(".")
        whole = datetime.strptime(moment, "%Y-%m-%d %H:%M:%S").replace(tzinfo=UTC)
        return whole.timestamp() + float(f"0.{fraction or 0}")
    except ValueError:
        raise InputError(f"{path} reads {text!r}; expected seconds or a date and time; correct it") from None
