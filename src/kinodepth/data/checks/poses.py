"""What is wrong with poses and times: jumps, times that stand still, and before depth is predicted from them a second's
look at the pictures, whether direction and unit can be right."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise

import numpy as np
from torch import Tensor

from kinodepth.data.checks import Finding, geometry
from kinodepth.data.checks.survey import glance
from kinodepth.types import Record, Sequence

JUMP = 1.0  # metres from one frame to the next; a car makes that at 10 frames/s, but always
USUAL = 10.0  # times the usual step: what a moving camera does not do from one frame to the next


def look_at_poses(sequence: Sequence, reach: tuple[float, float] = geometry.REACH) -> list[Finding]:
    """What is wrong with the poses of ``sequence`` for a method that sees from ``reach[0]`` to ``reach[1]`` metres."""
    return [*look(sequence), *geometry.look(sequence, glance(sequence), reach)]


def look(sequence: Sequence) -> Iterator[Finding]:
    """What the numbers alone say."""
    yield from _times(sequence)
    yield from _jumps(sequence)


def _times(sequence: Sequence) -> Iterator[Finding]:
    """Frames that were taken at one time, or before the frame before them."""
    timed = [record for record in sequence.records if record.timestamp is not None]
    stuck = [(a, b) for a, b in pairwise(timed) if b.timestamp <= a.timestamp]  # type: ignore[operator]
    if stuck:
        a, b = stuck[0]
        what = "are of one time" if a.timestamp == b.timestamp else "go back in time"
        yield Finding(
            "warning", "times",
            f"frames {a.name} and {b.name} {what}, {a.timestamp} s and {b.timestamp} s ({len(stuck)} such pairs); "
            "expected rising times; correct them, since a pose that is found by time may be another frame's",
        )  # fmt: skip


def _jumps(sequence: Sequence) -> Iterator[Finding]:
    """Neighbours that are much farther apart than others: the tracker changed its mind, or the recording was cut."""
    steps = [(step, a, b) for a, b in pairwise(sequence.records) if (step := _step(a, b)) is not None]
    moved = [step for step, _, _ in steps if step > 0]
    limit = max(JUMP, USUAL * float(np.median(moved))) if moved else JUMP
    jumps = [item for item in steps if item[0] > limit]
    if jumps:
        step, a, b = max(jumps, key=lambda item: item[0])
        yield Finding(
            "warning", "jump",
            f"the position jumps by {step:.3g} m between frames {a.name} and {b.name} ({len(jumps)} jumps in all); "
            "expected a continuous path; views from before a jump do not fit those after it, so depth starts anew "
            "where they do not overlap; check the tracking",
        )  # fmt: skip


def _step(a: Record, b: Record) -> float | None:
    if a.cam_to_world is None or b.cam_to_world is None:
        return None
    step = float((b.cam_to_world[:3, 3] - a.cam_to_world[:3, 3]).double().norm())
    return step if np.isfinite(step) else None


class JumpWatch:
    """``jump(pose)`` of one pose after the other: metres where it jumps, by the rule above with the mean of the steps
    so far as the usual one; else 0. None or NaN are passed over."""

    def __init__(self) -> None:
        self.last: Tensor | None = None
        self.total, self.steps = 0.0, 0

    def jump(self, pose: Tensor | None) -> float:
        if pose is None or not bool(pose.isfinite().all()):
            return 0.0
        step = 0.0 if self.last is None else float((pose[:3, 3] - self.last[:3, 3]).norm())
        self.last = pose
        if self.steps and step > max(JUMP, USUAL * self.total / self.steps):
            return step
        self.total, self.steps = self.total + step, self.steps + (step > 0)
        return 0.0
