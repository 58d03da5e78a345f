"""Diagnoses from the files and grey levels: missing fields, sizes, duplicates, cuts, exposure, empty depth and prior,
masks."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch

from kinodepth.data.checks import Finding
from kinodepth.data.checks.survey import SAME, Survey, evenly
from kinodepth.types import InputError, Sequence

LOST = 0.1  # share of corners that can be followed, below which two frames do not show the same place
UNLIKE = 0.7  # correlation of shifted thumbnails: blurred neighbours stay above 0.75, other places below 0.65
EXPOSURE = 1.26  # brightness ratio of the same points: a third of an f-stop, the step of a camera's automatic control
DEPTHS = 12  # depth maps and masks that are read, at most


def look(sequence: Sequence, seen: Survey) -> Iterator[Finding]:
    if len(sequence) < 3:
        yield Finding("fatal", "short", f"there are {len(sequence)} frames; training needs at least 3; record more")
    if seen.unreadable:
        yield Finding("fatal", "unreadable", seen.unreadable[0])
    if len(seen.sizes) > 1:
        sizes = " and ".join(f"{w} x {h}" for w, h in sorted(seen.sizes)[:2])
        yield Finding(
            "fatal", "size", f"frames differ in size ({sizes}); expected one size; use kinodepth prepare --size WxH"
        )
    yield from _gaps(sequence)
    yield from _duplicates(sequence, seen)
    yield from _jumps(sequence, seen)
    yield from _depth(sequence)
    yield from _prior(sequence)
    yield from _masks(sequence)


def _gaps(sequence: Sequence) -> Iterator[Finding]:
    """Fields that some frames have and others lack."""
    for name in sorted(sequence.provides_somewhere - sequence.provides):
        without = [record.name for record in sequence.records if name not in record.provides]
        if name == "cam_to_world":
            yield Finding(
                "warning", "gaps",
                f"{len(without)} of {len(sequence)} frames have no pose, such as {without[0]}; methods for posed video "
                "leave them out; if tracking was not lost there, add the poses",
            )  # fmt: skip
            continue
        yield Finding(
            "warning", "gaps",
            f"{len(without)} of {len(sequence)} frames have no {name}, such as {without[0]}, so methods that need "
            "it cannot use this recording; add the missing files or leave those frames out",
        )  # fmt: skip


def _duplicates(sequence: Sequence, seen: Survey) -> Iterator[Finding]:
    same = [index for index, difference in seen.changes if difference < SAME]
    if same and len(same) < 0.9 * len(seen.changes):  # all alike is a static camera, not repeated frames
        first = sequence.records[same[0] + 1].name
        yield Finding(
            "warning", "duplicates",
            f"{len(same)} of {len(seen.changes)} frames looked at repeat the one before, such as {first}, and "
            "teach nothing; leave them out with kinodepth prepare --changed 0.2",
        )  # fmt: skip


def _jumps(sequence: Sequence, seen: Survey) -> Iterator[Finding]:
    """Cuts, frames too far apart to be followed, and jumps of the exposure."""
    names = [record.name for record in sequence.records]
    textured = [pair for pair in seen.near if pair.tracks.corners >= 20]
    lost = [pair for pair in textured if pair.tracks.share < LOST]
    cuts = [pair for pair in lost if pair.similarity < UNLIKE]
    if len(lost) > len(textured) / 3:
        yield Finding(
            "warning", "too fast",
            f"in {len(lost)} of {len(textured)} pairs of neighbouring frames hardly anything can be followed: the "
            "camera moves too far between frames; record at a higher frame rate or move more slowly",
        )  # fmt: skip
    elif cuts:
        where = ", ".join(f"{names[pair.first]} and {names[pair.second]}" for pair in cuts[:3])
        yield Finding(
            "warning", "cut",
            f"the picture changes completely between {where}; training windows must not cross a cut, so prepare "
            "each part on its own with kinodepth prepare --start and --end",
        )  # fmt: skip
    if not textured:
        yield Finding(
            "warning", "texture",
            "there is hardly any texture to follow, so the motion cannot be judged and photometric training has "
            "nothing to compare; record a place with visible detail, in focus and with enough light",
        )  # fmt: skip
    jumps = [p for p in seen.near if p.usable and not 1 / EXPOSURE < p.tracks.gain < EXPOSURE]
    if jumps:
        worst = max(jumps, key=lambda pair: abs(np.log(pair.tracks.gain)))
        yield Finding(
            "warning", "exposure",
            f"the brightness of the same points jumps in {len(jumps)} pairs of neighbouring frames, by a factor of "
            f"{worst.tracks.gain:.2f} between {names[worst.first]} and {names[worst.second]}; lock the exposure "
            "or cut there",
        )  # fmt: skip


def _depth(sequence: Sequence) -> Iterator[Finding]:
    holders = [i for i, record in enumerate(sequence.records) if "depth" in record.load]
    medians, empty = [], []
    for index in (holders[i] for i in evenly(len(holders), DEPTHS)):
        try:
            depth = sequence.records[index].load["depth"]()
        except InputError as error:
            yield Finding("warning", "depth", str(error))
            return
        known = depth[depth > 0]
        if known.numel():
            medians.append(float(known.median()))
        else:
            empty.append(sequence.records[index].name)
    looked = len(medians) + len(empty)
    if empty:
        yield Finding(
            "warning", "empty depth",
            f"{len(empty)} of {looked} depth maps looked at are empty, such as {empty[0]}; expected values above "
            "0 where there is a measurement; export them again or remove those files",
        )  # fmt: skip
    if medians and not 0.05 < (middle := float(np.median(medians))) < 500:
        yield Finding(
            "warning", "depth unit",
            f"the depth maps say that things are {middle:.3g} m away; expected metres, 0.05 to 500 m; correct "
            "depth_divisor in sequence.json",
        )  # fmt: skip


def _prior(sequence: Sequence) -> Iterator[Finding]:
    """Priors without an order of depths: empty, not finite, or the same everywhere."""
    holders = [record for record in sequence.records if "prior_depth" in record.load]
    looked = [holders[i] for i in evenly(len(holders), DEPTHS)]
    dumb = []
    for record in looked:
        prior = record.load["prior_depth"]()
        known = prior[prior.isfinite() & (prior > 0)]
        if not known.numel() or bool(known.min() == known.max()):
            dumb.append(record.name)
    if dumb:
        yield Finding(
            "warning", "prior",
            f"{len(dumb)} of {len(looked)} priors looked at are empty or the same everywhere, such as {dumb[0]}, and "
            "teach nothing; expected depth of another network; make them again with kinodepth prior --overwrite",
        )  # fmt: skip


def _masks(sequence: Sequence) -> Iterator[Finding]:
    """Masks of moving things that never change were made for another frame, or lost."""
    if "mask:dynamic" not in sequence.provides or len(sequence) < 3:
        return
    masks = [sequence.records[i].load["mask:dynamic"]() for i in evenly(len(sequence), DEPTHS)]
    if bool(masks[0].any()) and all(torch.equal(masks[0], other) for other in masks[1:]):
        yield Finding(
            "warning", "masks",
            f"the masks of moving things are the same in all {len(masks)} frames looked at; expected one per "
            "frame; check how they were made",
        )  # fmt: skip
