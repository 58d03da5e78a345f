"""Where the planes should lie for recordings that are not of a car: chosen by baseline and field of view."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from statistics import median

from kinodepth.geometry.pose import relative
from kinodepth.methods.dynamic_multiframe.config import DynamicMultiframeConfig
from kinodepth.methods.dynamic_multiframe.recipe import windows
from kinodepth.types import InputError, Sequence

# Published: with KITTI's usual baseline of 1 m and 489 pixels of focal length at 512, the nearest plane moves sideways
# by this share of the picture's width, the farthest 132 times less.
SHARE, DEPTH_RATIO = 0.315, 132.0
WINDOWS, FRAMES = 200, 8  # looked at per recording
STANDS = 0.1  # a baseline below this share of the largest is that of a camera that stands


def plane_range(baseline: float, focal: float, width: float) -> tuple[float, float]:
    """Nearest and farthest plane, in the unit of ``baseline``, for a camera of ``focal`` and ``width`` pixels."""
    near = focal * baseline / (SHARE * width)
    return near, DEPTH_RATIO * near


def adapt(config: DynamicMultiframeConfig, sequences: Iterable[Sequence]) -> tuple[DynamicMultiframeConfig, list[str]]:
    """The settings with near and far chosen for ``sequences`` if they ask for it, and sentences that say so.

    Raises ``InputError`` when no camera moves.
    """
    if config.plane_range == "fixed":
        return config, []
    found = list(sequences)
    distances, spans = [], []
    for sequence in found:
        some = windows(sequence, config)
        for first, *others in some[:: max(1, len(some) // WINDOWS)]:
            start, *ends = (sequence.records[i].cam_to_world for i in (first, *others))
            assert start is not None
            distances += [float(relative(start, end)[:3, 3].norm()) for end in ends if end is not None]
        camera = sequence.records[0].camera
        if camera is not None:
            spans.append(camera.fx / camera.width)
    moving = [d for d in distances if d > STANDS * max(distances)]
    if not moving or not spans:
        raise InputError(
            "the cameras of these recordings do not move, so that no depth can be matched; expected poses with "
            "translation; set near and far"
        )
    near, far = plane_range(median(moving), median(spans), 1.0)
    near, far = float(f"{near:.3g}"), float(f"{far:.3g}")
    lines = [f"planes from {near:g} to {far:g} (neighbours are {median(moving):.3g} apart, focal length "
             f"{median(spans):.2f} of the width)"]  # fmt: skip
    share = _share_inside(found, near, far)
    if share is not None:
        lines.append(f"{share:.0%} of the measured depth of some frames lies between them")
    return replace(config, near=near, far=far, plane_range="fixed"), lines


def _share_inside(sequences: list[Sequence], near: float, far: float) -> float | None:
    inside = total = 0
    for sequence in sequences[:FRAMES]:
        loads = [record.load["depth"] for record in sequence.records if "depth" in record.load]
        for load in loads[:: max(1, len(loads) // FRAMES)]:
            depth = load()
            inside += int(((depth >= near) & (depth <= far)).sum())
            total += int((depth > 0).sum())
    return inside / total if total else None
