"""Which frames make a training window, by their poses alone (spec deep_video_mvs 6)."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from functools import cache
from itertools import pairwise

import numpy as np
import torch
from torch import Tensor

from kinodepth.geometry.pose import move_between, pose_distance
from kinodepth.types import Sequence

LOW, HIGH = 0.125, 0.325  # combined pose distance of a good pair
PAIR_TRANSLATION, WINDOW_TRANSLATION = 0.05, 0.0625  # metres, at least
MARGIN = 6  # frames at either end that the published code never measures with
PAIR_PASSES = ((1.0, True), (0.666, False), (1.5, True))  # multiplier, forward
MULTIPLIERS = (1.0, 0.666, 1.5, 0.8, 1.25)
PASSES, CRAWL = 10, 3
LOOSEN = 1.1


@dataclass(frozen=True)
class Distances:
    """Combined distance and translation between any two of ``poses`` N x 4 x 4; NaN where one is not finite."""

    poses: Tensor

    def __len__(self) -> int:
        return len(self.poses)

    @cache  # noqa: B019  (lives as long as a listing)
    def row(self, i: int) -> tuple[np.ndarray, np.ndarray]:
        combined, _, translation = pose_distance(move_between(self.poses[i].expand_as(self.poses), self.poses))
        return combined.numpy(), translation.numpy()

    def are_good(self, i: int, j: int, low: float, high: float, translation: float) -> bool:
        combined, moved = self.row(i)
        return bool(low <= combined[j] <= high and moved[j] >= translation)


def windows(sequence: Sequence, length: int, margin: int = 0) -> list[tuple[int, ...]]:
    """Training windows of a recording. Published: ``margin`` 6 frames at its ends are not used to measure with."""
    lost = torch.full((4, 4), torch.nan, dtype=torch.float64)
    poses = [lost if record.cam_to_world is None else record.cam_to_world.double() for record in sequence.records]
    if len(poses) < length:
        return []
    distances = Distances(torch.stack(poses))
    return pairs(distances, margin) if length == 2 else subsequences(distances, length)


def pairs(distances: Distances, margin: int = MARGIN) -> list[tuple[int, ...]]:
    """(reference, measurement) of three passes; no two frames are paired twice."""
    count, found, used = len(distances), list[tuple[int, ...]](), set[tuple[int, int]]()
    for multiplier, forward in PAIR_PASSES:
        measured = set[int]()
        looseness = 1.0
        for i in range(count) if forward else reversed(range(count)):
            past, future = range(i - 1, margin - 1, -1), range(i + 1, min(count, count - margin + 1))
            order = (past, future) if forward else (future, past)
            for _ in range(2):
                low, high = multiplier * LOW / looseness, multiplier * HIGH * looseness
                j = next(
                    (
                        j
                        for places in order
                        for j in places
                        if j not in measured
                        and (i, j) not in used
                        and distances.are_good(i, j, low, high, PAIR_TRANSLATION)
                    ),
                    None,
                )
                if j is not None:
                    found.append((i, j))
                    measured.add(j)
                    used |= {(i, j), (j, i)}
                    looseness = 1.0
                    break
                looseness *= LOOSEN  # stays until the next success
    return found


def subsequences(distances: Distances, length: int) -> list[tuple[int, ...]]:
    """Windows of ``length`` frames, each a good pair with the one before; no frame in more than two, no pair twice."""
    count, found = len(distances), list[tuple[int, ...]]()
    used, uses = set[tuple[int, int]](), Counter[int]()
    for number in range(PASSES):
        multiplier, offset = MULTIPLIERS[number % len(MULTIPLIERS)], number % CRAWL
        forward = number % 2 == 0
        limits = (multiplier * LOW, multiplier * HIGH, multiplier * WINDOW_TRANSLATION)
        starts = range(offset, count - length + 1, CRAWL) if forward else range(count - 1 - offset, length, -CRAWL)
        for start in starts:
            if uses[start] > 1:
                continue
            chosen = [start]
            for j in range(start + 1, count) if forward else range(start - 1, -1, -1):
                last = chosen[-1]
                if uses[j] <= 1 and (last, j) not in used and distances.are_good(last, j, *limits):
                    chosen.append(j)
                    if len(chosen) == length:
                        break
            if len(chosen) == length:
                found.append(tuple(chosen))
                uses.update(chosen)
                for a, b in pairwise(chosen):
                    used |= {(a, b), (b, a)}
    return found
