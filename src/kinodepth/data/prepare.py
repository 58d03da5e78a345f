"""A recording cut, thinned out, resized and written in the folder contract."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

from kinodepth._version import __version__
from kinodepth.data.calibration import read_json
from kinodepth.data.folder import home, write_folder, write_text
from kinodepth.data.selection import grey_levels, kept_frames, write_index
from kinodepth.data.transforms import resize_frame
from kinodepth.types import Frame, InputError, Sequence

MARK = "prepare.json"  # what a folder was prepared from; a folder with other content is never written into
FAR = 40.0  # metres: depth beyond needs steps of 1/256 m to fit 16 bits (255 m), else they are millimetres (65 m)

SIDES = (16, 16384)  # pixels: networks see nothing in smaller pictures; the largest of video formats


@dataclass(frozen=True)
class Cut:
    """What to keep: every ``stride``-th frame between ``start`` and ``end`` (seconds), of these the ones that differ in
    a share ``changed`` of the pixels from the last kept one; at ``size`` (width, height)."""

    size: tuple[int, int] | None = None
    stride: int = 1
    start: float | None = None
    end: float | None = None
    changed: float | None = None

    def __post_init__(self) -> None:
        if self.size is not None and not all(SIDES[0] <= side <= SIDES[1] for side in self.size):
            raise InputError(
                f"--size {self.size[0]}x{self.size[1]} is no size for a picture; expected sides of {SIDES[0]} to "
                f"{SIDES[1]} pixels; correct it"
            )
        if self.stride < 1:
            raise InputError(
                f"a stride of {self.stride} keeps nothing; expected 1 or more; leave it out for all frames"
            )


def choose(sequence: Sequence, cut: Cut) -> Sequence:
    """The frames of ``sequence`` that ``cut`` keeps. Raises ``InputError`` if there are none."""
    indices = list(range(len(sequence)))
    if cut.start is not None or cut.end is not None:
        if "timestamp" not in sequence.provides:
            raise InputError(f"{sequence.name} has no timestamps to cut by; expected timestamps.txt; add it")
        times = [record.timestamp or 0.0 for record in sequence.records]
        low, high = cut.start or 0.0, float("inf") if cut.end is None else cut.end
        indices = [i for i in indices if low <= times[i] - times[0] <= high]
    indices = indices[:: cut.stride]
    if cut.changed is not None:
        thinned = sequence.select(indices)
        indices = [indices[i] for i in kept_frames((grey_levels(f.image) for f in thinned.frames(())), cut.changed)]
    if not indices:
        raise InputError(f"nothing of {sequence.name} is left between start and end; expected some frames; widen them")
    return sequence.select(indices)


def prepare(sequence: Sequence, out: Path, cut: Cut, index: list[int] | None = None) -> Iterator[str]:
    """Write ``sequence`` into ``out`` and yield the name of each frame; frames that are there already are kept.

    ``index`` are the frames to train on, written anew each time; without it training uses all.

    Raises ``InputError`` if ``out`` holds anything that was not written by the same call.
    """
    settings = {"source": str(Path(sequence.source).resolve()), **asdict(cut), "first": sequence.records[0].name}
    text = json.dumps(settings, indent=1) + "\n"
    mark = out / MARK
    if out.exists() and not out.is_dir():
        raise InputError(f"{out} is a file; expected a new or empty folder; choose another name")
    if out.is_dir() and any(out.iterdir()) and not (mark.is_file() and mark.read_text(encoding="utf-8") == text):
        what = "was prepared from other frames or with other settings" if mark.is_file() else "holds something else"
        raise InputError(f"{out} {what}; expected a new or empty folder; choose another or empty it")
    write_text(mark, text)
    write_index(out, index)
    meaning = home(sequence) / "prior" / "prior.json"
    if "prior_depth" in sequence.provides and meaning.is_file():  # what was read is depth, whatever it was stored as
        about = {**read_json(meaning), "quantity": "depth"}
        write_text(out / "prior" / meaning.name, json.dumps(about, indent=1) + "\n")
    about = {"kinodepth": __version__, "source": Path(sequence.source).name}
    yield from write_folder(_resized(sequence, cut), out, about, depth_divisor=_divisor(sequence))


def _resized(sequence: Sequence, cut: Cut) -> Iterator[Frame]:
    first = None
    for frame in sequence.frames():
        size = (frame.image.shape[2], frame.image.shape[1])
        first = first or size
        if cut.size is None and size != first:
            raise InputError(
                f"frame {frame.name} is {size[0]} x {size[1]}, the first one {first[0]} x {first[1]}; expected one "
                "size; add --size WxH to bring them to one"
            )
        yield resize_frame(frame, cut.size[1], cut.size[0]) if cut.size else frame


def _divisor(sequence: Sequence) -> float:
    loads = [record.load["depth"] for record in sequence.records if "depth" in record.load]
    some = loads[:: max(1, len(loads) // 8)]
    return 256.0 if any(float(load().max()) > FAR for load in some) else 1000.0
