"""Recordings made ready for training: cameras where there are none, fields that must be there, a held-out part."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from kinodepth.data.folder import open_folder, write_folder
from kinodepth.data.video import VIDEO_SUFFIXES
from kinodepth.methods.base import Method, Stage
from kinodepth.types import Camera, InputError, Sequence


def with_camera(sequence: Sequence, field_of_view: float) -> Sequence:
    """``sequence`` with a camera of that horizontal ``field_of_view`` (degrees), centred, wherever a frame has none."""
    if not 1 < field_of_view < 179:
        raise InputError(
            f"a field of view of {field_of_view} degrees is not usable; expected 20 to 120 for most cameras"
        )
    height, width = sequence.read(0, ()).image.shape[-2:]
    focal = width / (2 * math.tan(math.radians(field_of_view) / 2))
    camera = Camera(focal, focal, (width - 1) / 2, (height - 1) / 2, width, height)
    records = [record if record.camera else replace(record, camera=camera) for record in sequence.records]
    return type(sequence)(sequence.name, records, sequence.source)


def decoded(sequence: Sequence, folder: Path, say: Callable[[str], None]) -> Sequence:
    """``sequence`` itself, or if it is a video its frames as images in ``folder``, written once.

    Windows in random order would otherwise decode most of the video again and again.
    """
    if Path(sequence.source).suffix.lower() not in VIDEO_SUFFIXES:
        return sequence
    out = folder / sequence.name
    if not (out / "sequence.json").is_file():  # written last
        say(f"{sequence.name}: decoding {len(sequence)} frames into {out}, once")
        for _ in write_folder(sequence.frames(), out, {"source": sequence.source}):
            pass
    return open_folder(out)


def require(method: Method, sequences: list[Sequence]) -> None:
    """Raise ``InputError`` naming what ``method`` needs for training and a recording does not have for every frame."""
    for sequence in sequences:
        missing = method.requires.missing(method.requires.training | {"image"}, sequence)
        if missing:
            remedy = "add it to the folder (docs/data.md says how)"
            if missing == ["prior_depth"]:
                remedy = "run kinodepth prior on it"
            raise InputError(
                f"{sequence.name} has no {', '.join(missing)} for every frame; {method.name} needs that to train; "
                f"{remedy} or choose a method that does without"
            )


def hold_out(sequences: list[Sequence], stage: Stage, share: float = 0.1) -> tuple[list[Sequence], list[Sequence]]:
    """Split each recording in time: all but the last ``share`` trains, the rest validates; no window crosses the split.

    A recording whose last part would be too short for a window of ``stage`` trains as a whole.
    """
    training, validation = [], []
    for sequence in sequences:
        cut = len(sequence) - max(1, round(share * len(sequence)))
        while cut > len(sequence) // 2 and not stage.clips(sequence.select(list(range(cut, len(sequence))))):
            cut -= 1  # a short recording gives up to half of its frames, so that something is held out at all
        kept, held = sequence.select(list(range(cut))), sequence.select(list(range(cut, len(sequence))))
        if stage.clips(kept) and stage.clips(held):
            training.append(kept)
            validation.append(held)
        else:
            training.append(sequence)
    if not any(stage.clips(sequence) for sequence in training):
        longest = max((len(sequence) for sequence in sequences), default=0)
        raise InputError(
            f"none of the {len(sequences)} recordings gives a training window, the longest has {longest} frames; "
            "expected at least three consecutive frames; give a longer recording"
        )
    return training, validation
