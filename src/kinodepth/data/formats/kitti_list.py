"""A list of KITTI raw frames, as Eigen and Eigen-Zhou splits are given: rows ``<date>/<drive>_sync <frame> l|r``.

The .txt file lies in the folder of the dates, or below it. Frames of a training list are targets: with each come its
neighbours, and a recording is a stretch of targets without a gap. A list with ``test`` in its name gives its frames
alone, one recording per drive and side.
"""

from __future__ import annotations

from itertools import groupby
from pathlib import Path

from kinodepth.data.calibration import read_text
from kinodepth.data.formats.kitti_raw import drive_sequence
from kinodepth.types import InputError, Sequence

SIDES = {"l": "02", "r": "03"}


def detect(path: Path) -> bool:
    if not path.is_file() or path.suffix != ".txt":
        return False
    first = next((line for line in read_text(path).splitlines() if line.strip()), "")
    return _is_row(first.split())


def open(path: Path) -> list[Sequence]:
    drives: dict[tuple[str, str], set[int]] = {}
    for number, line in enumerate(read_text(path).splitlines()):
        words = line.split()
        if words and not _is_row(words):
            raise InputError(
                f"{path} line {number + 1} is {line!r}; expected '<date>/<drive>_sync <frame> l'; correct it"
            )
        if words:
            drives.setdefault((words[0], SIDES[words[2]]), set()).add(int(words[1]))
    alone = "test" in path.stem
    return [
        recording
        for (drive, side), frames in drives.items()
        for recording in _recordings(_home(path, drive) / drive, side, sorted(frames), alone)
    ]


def _is_row(words: list[str]) -> bool:
    return len(words) == 3 and "_sync" in words[0] and words[1].isdigit() and words[2] in SIDES


def _home(path: Path, drive: str) -> Path:
    """The folder of the dates, which holds ``drive``."""
    homes = [folder for folder in path.resolve().parents if (folder / drive).is_dir()]
    if not homes:
        raise InputError(
            f"{path} names {drive}, which is in no folder above it; expected KITTI raw beside; move the list"
        )
    return homes[0]


def _recordings(folder: Path, side: str, frames: list[int], alone: bool) -> list[Sequence]:
    """The listed ``frames`` of a drive: each stretch with a neighbour at both ends, or all of them ``alone``."""
    drive = drive_sequence(folder, side)
    places = {int(record.name): place for place, record in enumerate(drive.records) if record.name.isdigit()}
    lost = [frame for frame in frames if frame not in places]
    if lost:
        raise InputError(f"{folder}: frame {lost[0]} is listed but missing; expected its image; complete the drive")
    if alone:
        return [drive.select([places[frame] for frame in frames], f"{drive.name}_{side}")]
    found = []
    for _, run in groupby(enumerate(frames), lambda pair: pair[1] - pair[0]):
        stretch = [frame for _, frame in run]
        with_ends = [stretch[0] - 1, *stretch, stretch[-1] + 1]
        indices = [places[frame] for frame in with_ends if frame in places]
        found.append(drive.select(indices, f"{drive.name}_{side}_{stretch[0]:010d}"))
    return found
