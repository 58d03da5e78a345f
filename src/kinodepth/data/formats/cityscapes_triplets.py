"""Pre-processed Cityscapes: <city>/<frame>.png, three pictures side by side (two frames before, the frame, two after),
and <city>/<frame>_cam.txt (spec mining_supervision 2.1).

A recording is a city and a frame of it a triplet: the image is the middle one, its neighbours are ``extra:previous``
and ``extra:next``. The nine numbers of _cam.txt are a matrix for pictures of 1024 x 384, whatever size they are stored
in. A list train_files.txt or val_files.txt (lines ``city frame``) in the folder says which triplets count.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path

from torch import Tensor

from kinodepth.data.calibration import read_numbers, read_text
from kinodepth.data.images import image_size, read_image
from kinodepth.types import Camera, InputError, Record, Sequence

SIZE = (1024, 384)  # of each picture, without the bottom quarter, which shows the car itself
LISTS = ("train_files.txt", "val_files.txt")


def detect(path: Path) -> bool:
    return path.is_dir() and next(_frames(path), None) is not None and not (path / "cam.txt").is_file()


def open(path: Path, split: str | Path | None = None) -> list[Sequence]:
    """The cities of ``path``; ``split`` is a list file to use instead of those in the folder."""
    lists = [Path(split)] if split else [path / name for name in LISTS if (path / name).is_file()]
    listed = sorted({pair for file in lists for pair in read_list(file)})
    if not lists:
        listed = sorted(_frames(path))
    cities: dict[str, list[Record]] = {}
    for city, frame in listed:
        cities.setdefault(city, []).append(_record(path / city, frame))
    return [Sequence(city, records, str(path / city)) for city, records in cities.items()]


def _frames(path: Path) -> Iterator[tuple[str, str]]:
    """City and frame of every picture with a camera; calibration files of others end likewise."""
    for file in path.glob("*/*_cam.txt"):
        frame = file.name.removesuffix("_cam.txt")
        if file.with_name(f"{frame}.png").is_file():
            yield file.parent.name, frame


def read_list(file: Path) -> list[tuple[str, str]]:
    """The pairs (city, frame) of a published list, in its order. Raises ``InputError`` for another kind of line."""
    rows = [line.split() for line in read_text(file).splitlines() if line.strip()]
    wrong = next((row for row in rows if len(row) != 2), None)
    if wrong or not rows:
        raise InputError(
            f"{file} has {'the line ' + repr(' '.join(wrong)) if wrong else 'no lines'}; expected lines 'city frame'; "
            "give a published list"
        )
    return [(city, frame) for city, frame in rows]


def _record(folder: Path, frame: str) -> Record:
    file = folder / f"{frame}.png"
    if not file.is_file():
        raise InputError(f"{file} does not exist but is listed; expected a triplet; complete the data or the list")
    width, height = image_size(file)
    if width % 3:
        raise InputError(f"{file} is {width} pixels wide; expected three pictures side by side; prepare it again")
    load = {name: partial(_part, file, i) for i, name in enumerate(("extra:previous", "image", "extra:next"))}
    return Record(frame, load, None, _camera(folder / f"{frame}_cam.txt", width // 3, height))


def _part(file: Path, index: int) -> Tensor:
    wide = read_image(file)
    return wide[..., index * (wide.shape[-1] // 3) : (index + 1) * (wide.shape[-1] // 3)].contiguous()


def _camera(file: Path, width: int, height: int) -> Camera:
    values = [value for row in read_numbers(file) for value in row]
    if len(values) != 9:
        raise InputError(f"{file} has {len(values)} numbers; expected the nine of a 3 x 3 matrix; restore it")
    whole = Camera(values[0], values[4], values[2], values[5], *SIZE)
    return whole.resize(width, height, "published")
