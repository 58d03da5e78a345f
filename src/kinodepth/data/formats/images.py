"""A single image, or a folder with nothing but images."""

from __future__ import annotations

from pathlib import Path

from kinodepth.data.images import IMAGE_SUFFIXES, list_images
from kinodepth.data.records import sequence_of
from kinodepth.types import Sequence


def detect(path: Path) -> bool:
    if path.is_file():
        return path.suffix.lower() in IMAGE_SUFFIXES
    return bool(list_images(path)) or (_plain_subfolder(path) and not (path / "K.txt").exists())


def open(path: Path) -> list[Sequence]:
    if path.is_file():
        return [sequence_of(path.stem, [path], path)]
    return [sequence_of(path.resolve().name, list_images(path) or list_images(path / "images"), path)]


def _plain_subfolder(path: Path) -> bool:
    return bool(list_images(path / "images")) and not any(
        (path / n).exists() for n in ("depth", "poses.txt", "moving_masks")
    )
