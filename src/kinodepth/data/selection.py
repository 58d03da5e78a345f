"""Which frames of a recording are worth training on: those that differ enough from the last kept one.

The choice is a file ``frame_index.txt`` beside the frames (one index a line, spec sc_depth 11.5). Only training and
``check`` honour it, so that prediction and evaluation still see every frame.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import torch
from torch import Tensor

from kinodepth.data.calibration import read_numbers
from kinodepth.data.checks import survey, tracking
from kinodepth.data.checks.content import LOST
from kinodepth.data.checks.geometry import VISIBLE
from kinodepth.data.checks.motion import ENOUGH
from kinodepth.data.files import atomic
from kinodepth.data.folder import home
from kinodepth.types import InputError, Sequence

INDEX = "frame_index.txt"


@dataclass(frozen=True)
class Selection:
    """How to select: ``published`` and ``signed`` keep a frame in which a ``share`` of the pixels changed by more than
    ``level`` grey levels; ``parallax`` one whose parallax is ``pixels`` (at 160 lines) and ``ratio`` of its motion."""

    rule: Literal["published", "signed", "parallax"]
    share: float = 0.5
    level: int = 10
    pixels: float = ENOUGH
    ratio: float = VISIBLE

    def __post_init__(self) -> None:
        if not (0 < self.share <= 1 and 0 <= self.level < 255 and self.pixels > 0):
            raise InputError(
                f"share {self.share:g}, level {self.level}, parallax {self.pixels:g} select nothing sensible; expected "
                "a share in (0, 1], a level of 0 to 254 and a parallax above 0; correct the option"
            )


def select(sequence: Sequence, selection: Selection) -> list[int]:
    """Indices of the frames of ``sequence`` to train on, by ``selection``. Frames must have one size."""
    images = _images(sequence)
    if selection.rule == "parallax":
        return parallax_frames(sequence, images, selection.pixels, selection.ratio)
    return kept_frames(map(grey_levels, images), selection.share, selection.level, selection.rule == "published")


def grey_levels(image: Tensor) -> Tensor:
    """uint8 H x W grey of a 3 x H x W image in [0, 1], in the fixed-point arithmetic of OpenCV, bit for bit."""
    red, green, blue = (image * 255).round().int()
    return ((9798 * red + 19235 * green + 3735 * blue + 16384) >> 15).byte()


def changed_share(kept: Tensor, candidate: Tensor, level: int = 10, wrap: bool = False) -> float:
    """Share of the pixels of two uint8 grey images H x W that differ by more than ``level``.

    ``wrap`` reproduces the published filter, whose 8-bit subtraction counts every pixel that got brighter by
    1..(255 - ``level``) (spec sc_depth 11.5 and 14.6).
    """
    difference = kept.int() - candidate.int()
    moved = (difference % 256 if wrap else difference.abs()) > level
    return moved.double().mean().item()


def kept_frames(grey: Iterable[Tensor], share: float = 0.5, level: int = 10, wrap: bool = False) -> list[int]:
    """Indices of the frames to keep of uint8 ``grey`` images: the first, and each in which at least ``share`` of the
    pixels differ by more than ``level`` from the last kept frame (spec sc_depth 11.5)."""
    indices: list[int] = []
    last: Tensor | None = None
    for index, frame in enumerate(grey):
        if last is None or changed_share(last, frame, level, wrap) >= share:
            indices.append(index)
            last = frame
    return indices


def parallax_frames(sequence: Sequence, images: Iterable[Tensor], pixels: float, ratio: float) -> list[int]:
    """Indices of the frames whose parallax to the last kept one, what no rotation of the camera explains, is at least
    ``pixels`` and at least ``ratio`` of the motion.

    Where the view turns away before that, the last frame that could be followed is kept as a bridge; after a cut the
    first frame of the new place. ``images`` (3 x H x W) are those of ``sequence``, whose cameras are used.
    """
    kept: list[int] = []
    seen: dict[int, tracking.Array] = {}
    for index, image in enumerate(images):
        seen[index] = tracking.grey(image)
        if not kept:
            kept.append(index)
            continue
        pair = survey.measure(sequence, seen, kept[-1], index)
        if _lost(pair) and kept[-1] < index - 1:
            kept.append(index - 1)
            pair = survey.measure(sequence, seen, kept[-1], index)
        if _lost(pair) or pair.parallax >= max(pixels, ratio * pair.tracks.flow):
            kept.append(index)
        seen = {i: seen[i] for i in {kept[-1], index}}
    return kept


def _lost(pair: survey.Pair) -> bool:
    return not pair.usable or pair.tracks.share < LOST


def _images(sequence: Sequence) -> Iterator[Tensor]:
    size: torch.Size | None = None
    for frame in sequence.frames(()):
        size = size or frame.image.shape
        if frame.image.shape != size:
            raise InputError(
                f"{sequence.name}: frame {frame.name} has another size than the first; expected one size to compare; "
                "prepare with --size first, then select from the prepared folder"
            )
        yield frame.image


def training_frames(sequence: Sequence) -> Sequence:
    """``sequence`` as it was opened from disk, reduced to its frame_index.txt; itself where there is none."""
    file = home(sequence) / INDEX
    if not sequence.source or not file.is_file():
        return sequence
    kept = [int(row[0]) for row in read_numbers(file)]
    wrong = [i for i in kept if not 0 <= i < len(sequence)]
    if wrong or not kept or kept != sorted(set(kept)):
        found = f"frame {wrong[0]} of {len(sequence)}" if wrong else "frames not ascending, twice or none"
        raise InputError(f"{file} names {found}; expected ascending indices of the images from 0; renew or remove it")
    return sequence.select(kept)


def write_index(folder: Path, indices: list[int] | None) -> None:
    """Write frame_index.txt into ``folder``; without ``indices`` one that is there is removed."""
    if indices is None:
        (folder / INDEX).unlink(missing_ok=True)
        return
    with atomic(folder / INDEX) as temporary:
        temporary.write_text("".join(f"{index}\n" for index in indices), encoding="utf-8")
