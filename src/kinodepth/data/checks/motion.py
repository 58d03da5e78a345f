"""Diagnoses of the camera's motion: none, only turning, too little between frames."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np

from kinodepth.data.checks import Finding
from kinodepth.data.checks.survey import STILL, Survey
from kinodepth.types import Sequence

TURNING = 0.08  # of the motion is left by a rotation: lens distortion alone can leave as much
LITTLE = 0.5  # pixels of parallax between neighbours, about one at usual training sizes: less drowns in interpolation
ENOUGH = 1.0  # pixels of parallax that the suggested stride aims at


def look(sequence: Sequence, seen: Survey) -> Iterator[Finding]:
    far = [pair for pair in seen.far if pair.usable]
    if not far:
        return
    still = [pair for pair in far if pair.tracks.flow < STILL]
    if len(still) > 0.9 * len(far):
        yield Finding(
            "fatal", "static",
            "the camera does not move, and depth is learnt from its motion only; record with a moving camera "
            "(predicting on this recording works)",
        )  # fmt: skip
        return
    moving = [pair for pair in far if pair.tracks.flow >= STILL]
    if sum(pair.parallax for pair in moving) < TURNING * sum(pair.tracks.flow for pair in moving):
        yield Finding(
            "fatal", "rotation",
            "the camera turns on the spot, so near and far things move alike and depth cannot be learnt; record "
            "while walking or driving, sideways or forward",
        )  # fmt: skip
        return
    if len(still) > 0.1 * len(far):
        yield Finding(
            "warning", "stands still",
            f"the camera stands still in {len(still)} of {len(far)} stretches looked at; "
            "leave such stretches out with kinodepth prepare --changed 0.2",
        )  # fmt: skip
    parallax = float(np.median([pair.parallax / (pair.second - pair.first) for pair in moving]))
    if parallax < LITTLE:
        stride = max(2, math.ceil(ENOUGH / max(parallax, ENOUGH / 30)))
        yield Finding(
            "warning", "little motion",
            f"neighbouring frames differ by {parallax:.2f} px of parallax (at 160 lines), too little to learn "
            f"depth from; use a longer step, about {stride} frames, with kinodepth prepare --stride {stride}",
        )  # fmt: skip
