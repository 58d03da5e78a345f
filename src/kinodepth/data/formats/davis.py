"""DAVIS: frames in JPEGImages/<size>/<name>, masks in Annotations/<size>/<name>; or images/ and moving_masks/."""

from __future__ import annotations

from pathlib import Path

from kinodepth.data.images import list_images
from kinodepth.data.records import mask_maps, sequence_of
from kinodepth.types import Sequence


def detect(path: Path) -> bool:
    if (path / "JPEGImages").is_dir():
        return True
    return (path / "images").is_dir() and (path / "moving_masks").is_dir() and not (path / "K.txt").exists()


def open(path: Path) -> list[Sequence]:
    if not (path / "JPEGImages").is_dir():
        return [_sequence(path / "images", path / "moving_masks", path.resolve().name)]
    found = []
    for size in sorted(p for p in (path / "JPEGImages").iterdir() if p.is_dir()):
        for folder in sorted(p for p in size.iterdir() if p.is_dir()):
            found.append(_sequence(folder, path / "Annotations" / size.name / folder.name, folder.name))
    return found


def _sequence(images: Path, masks: Path, name: str) -> Sequence:
    maps = {"mask:dynamic": mask_maps(masks), "mask:instances": mask_maps(masks, ids=True)}
    return sequence_of(name, list_images(images), images, maps={k: v for k, v in maps.items() if v})
