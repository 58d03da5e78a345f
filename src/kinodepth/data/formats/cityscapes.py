"""Cityscapes: leftImg8bit_sequence (or leftImg8bit)/<split>/<city>/*_leftImg8bit.png, camera/ and disparity/ beside.

Give the folder of the data set, or that of a split in it. Frames and depth come without the bottom quarter of the
image, which shows the car itself (spec rm_depth 6, 8). A recording is a stretch of frames without a gap. Depth is that
of the stereo disparity where it was computed, 0 elsewhere; the camera is that of a frame of the same stretch.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path

import torch
from torch import Tensor

from kinodepth.data.calibration import read_json
from kinodepth.data.images import image_size, read_depth, read_image
from kinodepth.types import Camera, InputError, Record, Sequence

IMAGES = ("leftImg8bit_sequence", "leftImg8bit")
ENDING = "_leftImg8bit.png"
KEPT = 0.75  # share of the rows, from the top


def detect(path: Path) -> bool:
    if not path.is_dir() or (path / "gt_depths").is_dir():  # the test split with moving objects: cityscapes_moving
        return False
    return any(next(base.rglob(f"*{ENDING}"), None) for base in _bases(path))


def open(path: Path) -> list[Sequence]:
    return [
        _sequence(stretch)
        for base in _bases(path)[:1]
        for city in sorted({image.parent for image in base.rglob(f"*{ENDING}")})
        for stretch in _stretches(city)
    ]


def _bases(path: Path) -> list[Path]:
    """The folder of images at or below ``path``; the sequences first."""
    if set(path.resolve().parts) & set(IMAGES):
        return [path]
    return [path / name for name in IMAGES if (path / name).is_dir()]


def _stretches(city: Path) -> Iterator[list[Path]]:
    """Images of <city>_<recording>_<frame> whose frame numbers follow each other."""
    found: list[Path] = []
    for image in sorted(city.glob(f"*{ENDING}")):
        if found and _place(image) != (_place(found[-1])[0], _place(found[-1])[1] + 1):
            yield found
            found = []
        found.append(image)
    if found:
        yield found


def _place(image: Path) -> tuple[str, int]:
    """Recording and frame number of an image."""
    recording, _, frame = image.name.removesuffix(ENDING).rpartition("_")
    if not frame.isdigit():
        raise InputError(f"{image} is not called <city>_<recording>_<frame>{ENDING}; expected that; restore the name")
    return recording, int(frame)


def _beside(image: Path, kind: str, ending: str) -> Path:
    """The file of another ``kind`` that belongs to an image."""
    image = image.resolve()
    home, split, city = image.parents[3], image.parts[-3], image.parts[-2]
    return home / kind / split / city / image.name.replace(ENDING, ending)


def _sequence(images: list[Path]) -> Sequence:
    width, height = image_size(images[0])
    rows = int(KEPT * height)
    files = [file for image in images if (file := _beside(image, "camera", "_camera.json")).is_file()]
    camera, base = _camera(files[0], width, height) if files else (None, 0.0)
    records = []
    for image in images:
        load = {"image": partial(_upper, image, rows)}
        disparity = _beside(image, "disparity", "_disparity.png")
        if camera is not None and disparity.is_file():
            load["depth"] = partial(_depth, disparity, camera.fx * base, rows)
        cropped = camera and camera.crop(0, 0, width, rows)
        records.append(Record(image.name.removesuffix(ENDING), load, None, cropped))
    return Sequence(records[0].name, records, str(images[0].parent))


def _camera(file: Path, width: int, height: int) -> tuple[Camera, float]:
    """The camera, and the metres between the two of the stereo pair."""
    known = read_json(file)
    try:
        fx, fy, cx, cy = (float(known["intrinsic"][key]) for key in ("fx", "fy", "u0", "v0"))
        base = float(known["extrinsic"]["baseline"])
    except (KeyError, TypeError, ValueError):
        raise InputError(
            f"{file} lacks intrinsic fx, fy, u0, v0 or extrinsic baseline; expected a Cityscapes camera; restore it"
        ) from None
    return Camera(fx, fy, cx, cy, width, height), base


def _upper(file: Path, rows: int) -> Tensor:
    return read_image(file)[:, :rows]


def _depth(file: Path, focal_times_base: float, rows: int) -> Tensor:
    """Metres of a 16-bit disparity: (value - 1) / 256 pixels, 0 = none."""
    values = read_depth(file)[:, :rows]
    return torch.where(values > 1, focal_times_base * 256 / (values - 1).clamp(min=1), 0.0)
