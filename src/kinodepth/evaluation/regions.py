"""Static and dynamic regions of frames, and the checks that keep masks from being lost or mixed up.

A mask belongs to a frame by name. Which mask counts is the caller's choice and part of the result: ``dynamic`` (really
moving), ``instances`` (ids of moving things) or ``movable`` (of a class that can move, moving or not).
"""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Mapping
from pathlib import PurePath

import torch
from torch import Tensor

from kinodepth.types import InputError, Sequence

COMPLEMENT = {"dynamic": "static", "instances": "static", "movable": "immovable"}


def region_masks(mask: Tensor | None, kind: str = "dynamic") -> dict[str, Tensor]:
    """The region ``dynamic`` (or ``movable``) and its complement from a frame's mask; nothing without one."""
    if mask is None:
        return {}
    inside = mask != 0
    return {COMPLEMENT[kind]: ~inside, "dynamic" if kind == "instances" else kind: inside}


def choose_mask(sequence: Sequence, names: Iterable[str], kind: str | None = None) -> str | None:
    """Which mask of the frames ``names`` to use: ``kind``, or by default ``dynamic`` where any frame has it.

    Raises ``InputError`` when some of the frames have the mask and others do not, or none has the one asked for.
    """
    wanted = set(names)
    have = {record.name: {key[5:] for key in record.load if key.startswith("mask:")} for record in sequence.records}
    have = {name: masks for name, masks in have.items() if name in wanted}
    known = set().union(*have.values()) if have else set()
    if kind is not None and kind not in COMPLEMENT:
        raise InputError(f"mask {kind!r} is no region mask; expected one of {', '.join(COMPLEMENT)}")
    if kind is not None and kind not in known:
        raise InputError(
            f"no frame of {sequence.name} has a {kind} mask; the data offer {', '.join(sorted(known)) or 'no masks'}; "
            "choose one of those or leave the option away"
        )
    kind = kind or next((key for key in ("dynamic", "instances") if key in known), None)
    if kind is None:
        return None
    missing = [name for name, masks in have.items() if kind not in masks]
    if missing:
        raise InputError(
            f"{len(missing)} of {len(have)} frames of {sequence.name} lack the {kind} mask, the first is {missing[0]}; "
            "expected one for every scored frame; add them or remove all of them"
        )
    return kind


def match_by_stem(names: Iterable[str], files: Iterable[PurePath], what: str = "mask") -> dict[str, PurePath]:
    """The file of each frame by its stem. Raises ``InputError`` for frames without a file and files without a frame."""
    found = {file.stem: file for file in files}
    wanted = list(names)
    lost = [name for name in wanted if name not in found]
    strangers = sorted(set(found) - set(wanted))
    if lost or strangers:
        first = f"no {what} for frame {lost[0]}" if lost else f"{what} {strangers[0]} belongs to no frame"
        raise InputError(
            f"{what} files do not match the frames by name ({len(lost)} frames without, {len(strangers)} files over): "
            f"{first}; expected one file per frame with the frame's stem; rename or complete the files"
        )
    return {name: found[name] for name in wanted}


class SameMaskWatch:
    """Notices one mask being used for all frames: the usual sign of masks applied wrongly."""

    def __init__(self) -> None:
        self._hashes: set[int] = set()
        self._frames: list[str] = []
        self._any = False

    def add(self, name: str, mask: Tensor) -> None:
        """Take in a frame's mask."""
        inside = (mask != 0).contiguous()
        self._hashes.add(zlib.crc32(inside.numpy().tobytes()))
        self._frames.append(name)
        self._any = self._any or bool(inside.any())

    def warnings(self, sequence: Sequence) -> list[str]:
        """Plain sentences about suspicious masks; reads two images only if all masks were equal."""
        if not self._frames:
            return []
        if not self._any:
            return ["No scored frame has a dynamic pixel: the masks are all empty."]
        if len(self._hashes) > 1 or len(self._frames) < 2:
            return []
        load: Mapping[str, Tensor] = {
            record.name: record.load["image"]()
            for record in sequence.records
            if record.name in (self._frames[0], self._frames[-1])
        }
        first, last = load[self._frames[0]], load[self._frames[-1]]
        if first.shape == last.shape and torch.equal(first, last):
            return []
        return [
            f"THE SAME MASK IS USED FOR ALL {len(self._frames)} FRAMES although the images change: "
            "static and dynamic numbers are very likely wrong."
        ]
