"""Diagnoses of what is stated about the camera: field of view, direction, axes and scale of the poses."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator

import numpy as np

from kinodepth.data.checks import Finding
from kinodepth.data.checks.survey import Pair, Survey
from kinodepth.data.checks.tracking import Array
from kinodepth.data.checks.two_view import pose_residual
from kinodepth.types import InputError, Sequence

FOV = (20.0, 130.0)  # degrees, horizontal: a tele lens to the widest that a pinhole camera can picture
# Pixels of 160 lines, or of the picture if that has fewer: several times the error of tracking, and more than lens
# distortion adds between frames
WRONG = 1.0
BETTER = 0.5  # another reading of the poses must at least halve the error
OFF = 2.0  # factor between translation and depth; tracking and sensors together err far less
VISIBLE = 0.16  # of the motion must be parallax, twice what lens distortion can pretend, to measure a translation by
REACH = (0.05, 500.0)  # metres to what a recording shows, if its poses are in metres
TYPICAL = 2.5  # metres, a guess at how far things are where poses are in another unit
DEPTH_POINTS = 30  # tracked points with depth and parallax, without which the scale cannot be told

_OPENGL = np.diag([1.0, -1.0, -1.0, 1.0])  # x right, y up, z backward
READINGS: dict[str, Callable[[Array], Array]] = {
    "camera-to-world with OpenCV axes": lambda pose: pose,
    "world-to-camera": lambda pose: np.linalg.inv(pose),
    "camera-to-world with OpenGL axes (y up, z backward)": lambda pose: pose @ _OPENGL,
    "world-to-camera with OpenGL axes (y up, z backward)": lambda pose: np.linalg.inv(pose) @ _OPENGL,
}


def look(sequence: Sequence, seen: Survey, reach: tuple[float, float] = REACH) -> Iterator[Finding]:
    """``reach`` is the nearest and farthest depth in metres that can be meant."""
    yield from _camera(sequence)
    pairs = [pair for pair in seen.far if pair.usable and _poses(sequence, pair) is not None]
    pairs = [pair for pair in pairs if pair.tracks.flow > WRONG]
    if len(pairs) < 3:
        return
    wrong = list(_direction(sequence, pairs))
    yield from wrong
    if not wrong:
        turned_out = [pair for pair in pairs if pair.parallax > VISIBLE * pair.tracks.flow]
        yield from list(_scale(sequence, turned_out)) or _unit(sequence, turned_out, reach)


def _camera(sequence: Sequence) -> Iterator[Finding]:
    camera = next((record.camera for record in sequence.records if record.camera), None)
    if camera is None:
        yield Finding(
            "note", "camera",
            "there are no intrinsics, so a field of view is guessed; a wrong guess bends the depth; give --fov "
            "DEGREES or intrinsics.json",
        )  # fmt: skip
        return
    horizontal = camera.field_of_view[0]
    if not FOV[0] <= horizontal <= FOV[1]:
        yield Finding(
            "warning", "field of view",
            f"the intrinsics mean a horizontal field of view of {horizontal:.0f} degrees; expected {FOV[0]:.0f} "
            f"to {FOV[1]:.0f}; fx = {camera.fx:.4g} must be in pixels of {camera.width} x {camera.height} images",
        )  # fmt: skip


def _poses(sequence: Sequence, pair: Pair) -> tuple[Array, Array] | None:
    poses = [sequence.records[i].cam_to_world for i in (pair.first, pair.second)]
    known = [pose.double().numpy() for pose in poses if pose is not None and bool(pose.isfinite().all())]
    return (known[0], known[1]) if len(known) == 2 else None


def _b_from_a(sequence: Sequence, pair: Pair, reading: Callable[[Array], Array]) -> Array:
    found = _poses(sequence, pair)
    assert found is not None
    a, b = (reading(pose) for pose in found)
    return np.linalg.inv(b) @ a


def _direction(sequence: Sequence, pairs: list[Pair]) -> Iterator[Finding]:
    """Which reading of the poses puts every tracked point where it is seen, at some depth in front of the camera?"""
    errors = {}
    for name, reading in READINGS.items():
        moves = [_b_from_a(sequence, pair, reading) for pair in pairs]
        residuals = [pose_residual(p.tracks.a, p.tracks.b, p.camera, move)[0] for p, move in zip(pairs, moves)]
        errors[name] = float(np.median([np.median(residual) for residual in residuals]))
    stated, best = errors[next(iter(READINGS))], min(errors, key=lambda name: errors[name])
    flow = float(np.median([pair.tracks.flow for pair in pairs]))
    camera = sequence.records[0].camera
    wrong = WRONG * max(1.0, 160 / min(camera.width, camera.height)) if camera else WRONG
    if stated > wrong and errors[best] < BETTER * stated:
        yield Finding(
            "warning", "pose direction",
            f"the poses fit the images when read as {best}; expected camera-to-world with OpenCV axes (x right, y "
            f"down, z forward); convert them (tracked points are off by {stated:.1f} px as given, "
            f"{errors[best]:.1f} px as that)",
        )  # fmt: skip
    elif stated > max(wrong, flow / 2):
        yield Finding(
            "warning", "poses",
            f"the poses do not explain the motion of the images: points that move {flow:.1f} px are off by "
            f"{stated:.1f} px; check that each pose belongs to its frame and that the intrinsics are right",
        )  # fmt: skip


def _scale(sequence: Sequence, pairs: list[Pair]) -> Iterator[Finding]:
    """By how much must the translation be multiplied for the depth maps to explain the parallax?"""
    samples: list[Array] = []
    for pair in pairs:
        load = sequence.records[pair.first].load.get("depth")
        move = _b_from_a(sequence, pair, READINGS["camera-to-world with OpenCV axes"])
        if load is None:
            continue
        try:
            samples.append(depth_ratios(pair, move, load()[0].numpy()))
        except InputError:
            continue
    ratios = np.concatenate(samples) if samples else np.zeros(0)
    if len(ratios) < DEPTH_POINTS:
        return
    low, scale, high = np.quantile(ratios, [0.25, 0.5, 0.75])
    if not 1 / OFF < scale < OFF and high < OFF * low:
        off = 1 / scale
        power = 10.0 ** round(math.log10(off))
        likely = power if 1 / 1.4 < off / power < 1.4 and power != 1 else off
        words = f"{likely:.4g} times too long" if off > 1 else f"{1 / likely:.4g} times too short"
        unit = " (millimetres?)" if likely == 1000 else ""
        yield Finding(
            "warning", "pose scale",
            f"the way between poses is about {words}{unit} for the depth maps; expected both in the same unit, "
            f"metres; multiply the positions, or divide the depth, by {1 / likely:.4g}",
        )  # fmt: skip


def _unit(sequence: Sequence, pairs: list[Pair], reach: tuple[float, float]) -> Iterator[Finding]:
    """Are the tracked points as far away, by the poses alone, as things are?"""
    samples: list[Array] = []
    for pair in pairs:
        move = _b_from_a(sequence, pair, READINGS["camera-to-world with OpenCV axes"])
        error, inverse, parallax = pose_residual(pair.tracks.a, pair.tracks.b, pair.camera, move)
        samples.append(1 / inverse[(parallax > WRONG) & (error < parallax / 2)])
    depths = np.concatenate(samples) if samples else np.zeros(0)
    if len(depths) < DEPTH_POINTS or reach[0] < (depth := float(np.median(depths))) < reach[1]:
        return
    power = 10.0 ** round(math.log10(depth / TYPICAL))
    unit = "millimetres?" if power == 1000 else f"multiply them by {1 / power:.4g}" if power != 1 else "check them"
    yield Finding(
        "warning", "pose unit",
        f"by the poses the things in the picture are {depth:.3g} m away; expected the {reach[0]:g} to {reach[1]:g} m "
        f"that depth is told for; if that is wrong, the positions are not in metres ({unit})",
    )  # fmt: skip


def depth_ratios(pair: Pair, b_from_a: Array, depth: Array) -> Array:
    """H x W ``depth`` of the first frame over the depth that the pose gives tracked points, where that is clear."""
    error, inverse, parallax = pose_residual(pair.tracks.a, pair.tracks.b, pair.camera, b_from_a)
    clear = (parallax > WRONG) & (error < parallax / 2)
    known = _depth_at(depth, pair.tracks.a[clear], pair.camera.width, pair.camera.height)
    return (inverse[clear] * known)[known > 0]


def _depth_at(depth: Array, points: Array, width: int, height: int) -> Array:
    """The median of what is measured within two pixels (at tracking size) of each point; 0 where nothing is."""
    sx, sy = depth.shape[1] / width, depth.shape[0] / height
    reach_x, reach_y = math.ceil(2 * sx), math.ceil(2 * sy)
    values = np.zeros(len(points))
    for i, (x, y) in enumerate(points):
        column, row = round((x + 0.5) * sx - 0.5), round((y + 0.5) * sy - 0.5)
        near = depth[max(0, row - reach_y) : row + reach_y + 1, max(0, column - reach_x) : column + reach_x + 1]
        known = near[near > 0]
        values[i] = np.median(known) if known.size else 0.0
    return values
