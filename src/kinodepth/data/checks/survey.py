"""What is measured of a recording before anything is concluded: a few grey frames and tracked pairs of them."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np

from kinodepth.data.checks.tracking import Array, Tracks, grey, track
from kinodepth.data.checks.two_view import rotation_residual
from kinodepth.types import Camera, InputError, Sequence

FRAMES = 120  # looked at, at most: all of a short recording, runs of six of a long one
PAIRS = 20  # neighbouring frames that are tracked, at most
LONG_PAIRS = 12  # frames further apart that are tracked, at most
LONG_FLOW = 8.0  # pixels: the motion that pairs further apart are chosen for, well above what tracking errs
DIFFERENT = 15.0  # mean grey levels of 255: neighbours that are looked at more closely for cuts and exposure
SAME = 0.1  # mean grey levels of 255: frames that a recorder repeated; the noise of any sensor is above 0.5
STILL = 0.15  # pixels: what tracking reports of noise and compression where nothing moves
FEWEST = 15  # tracked points below which a pair says nothing


@dataclass(frozen=True)
class Pair:
    """Frames ``first`` and ``second`` (indices) with tracked points between them, for ``camera`` at that resolution.

    ``similarity`` (-1..1) is measured of neighbours that cannot be tracked."""

    first: int
    second: int
    tracks: Tracks
    camera: Camera
    rotation_leaves: Array
    similarity: float = 1.0

    @property
    def usable(self) -> bool:
        return len(self.tracks.a) >= FEWEST

    @property
    def parallax(self) -> float:
        """Pixels that seven in ten points stay below once the rotation is taken out: more than half of them may be far
        away, as on a road, and a few may move on their own."""
        return float(np.quantile(self.rotation_leaves, 0.7))


@dataclass
class Survey:
    """``changes``: neighbours looked at, as (index of the first, mean grey difference). ``near`` are
    tracked neighbours, ``far`` tracked pairs ``stride`` apart. ``sizes``: all image sizes met.
    ``unreadable``: errors."""

    changes: list[tuple[int, float]] = field(default_factory=list)
    near: list[Pair] = field(default_factory=list)
    far: list[Pair] = field(default_factory=list)
    stride: int = 1
    sizes: set[tuple[int, int]] = field(default_factory=set)
    unreadable: list[str] = field(default_factory=list)


def survey(sequence: Sequence) -> Survey:
    """Look at ``sequence``: seconds, however long it is."""
    chosen = _chosen(len(sequence))
    result = Survey()
    images: dict[int, Array] = {}
    for index in chosen:
        _look(sequence, index, images, result)
    neighbours = [i for i in chosen if i in images and i + 1 in images and images[i].shape == images[i + 1].shape]
    doubtful = []
    for index in neighbours:
        a, b = images[index], images[index + 1]
        difference = float(np.abs(a - b).mean())
        result.changes.append((index, difference))
        if difference > DIFFERENT:
            doubtful.append((difference, index))
    spread = [neighbours[i] for i in evenly(len(neighbours), PAIRS)]
    largest = [index for _, index in sorted(doubtful, reverse=True)[: PAIRS // 2]]
    for index in sorted({*spread, *largest}):
        result.near.append(measure(sequence, images, index, index + 1))
    _measure_far(sequence, images, result, LONG_PAIRS)
    return result


def glance(sequence: Sequence) -> Survey:
    """The least that tells whether poses fit the images: a few pairs further apart. A second, however long it is."""
    result, images = Survey(), dict[int, Array]()
    for index in evenly(len(sequence) - 1, 4):
        readable = all(_look(sequence, i, images, result) for i in (index, index + 1))
        if readable and images[index].shape == images[index + 1].shape:
            result.near.append(measure(sequence, images, index, index + 1))
    _measure_far(sequence, images, result, 8)
    return result


def _measure_far(sequence: Sequence, images: dict[int, Array], result: Survey, most: int) -> None:
    """Add at most ``most`` pairs so far apart that the camera has moved, judged by the pairs of neighbours."""
    moving = [pair.tracks.flow for pair in result.near if pair.usable and pair.tracks.flow >= STILL]
    flow = float(np.median(moving)) if moving else 0.0
    result.stride = min(math.ceil(LONG_FLOW / max(flow, 1e-3)), 30, max(1, (len(sequence) - 1) // 2))
    for first in evenly(len(sequence) - result.stride, most):
        for second in range(first + result.stride, min(first + result.stride + 2, len(sequence))):
            readable = all(_look(sequence, i, images, result) for i in (first, second))
            if not readable or images[first].shape != images[second].shape:
                break
            if np.abs(images[first] - images[second]).mean() >= SAME or second > first + result.stride:
                result.far.append(measure(sequence, images, first, second))
                break  # a repeated frame says nothing about motion: the one after it is taken


def _chosen(count: int) -> list[int]:
    if count <= FRAMES:
        return list(range(count))
    runs = FRAMES // 6
    return sorted({start + k for start in evenly(count - 5, runs) for k in range(6)})


def evenly(count: int, most: int) -> list[int]:
    return sorted({round(i) for i in np.linspace(0, count - 1, min(count, most))}) if count > 0 else []


def _look(sequence: Sequence, index: int, images: dict[int, Array], result: Survey) -> bool:
    """Whether frame ``index`` is among ``images``, read if need be."""
    if index not in images:
        try:
            image = sequence.read(index, ()).image
        except InputError as error:
            result.unreadable.append(str(error))
            return False
        images[index] = grey(image)
        result.sizes.add((image.shape[2], image.shape[1]))
    return True


def measure(sequence: Sequence, images: dict[int, Array], first: int, second: int) -> Pair:
    """Track points between two frames, given their grey ``images`` at tracking size by index."""
    height, width = images[first].shape
    known = sequence.records[first].camera
    focal = width / (2 * math.tan(math.radians(60) / 2))  # a guess is good enough to tell a rotation
    camera = (
        known.resize(width, height) if known else Camera(focal, focal, (width - 1) / 2, (height - 1) / 2, width, height)
    )
    tracks = track(images[first], images[second])
    if len(tracks.a) < FEWEST:
        alike = _similarity(images[first], images[second]) if second == first + 1 else 1.0
        return Pair(first, second, tracks, camera, np.zeros(1), alike)
    return Pair(first, second, tracks, camera, rotation_residual(tracks.a, tracks.b, camera))


def _similarity(a: Array, b: Array) -> float:
    """Highest correlation of two pictures at an eighth of the size over shifts of up to a third of it."""
    height, width = (n // 8 for n in a.shape)
    a, b = (v[: height * 8, : width * 8].reshape(height, 8, width, 8).mean((1, 3)) for v in (a, b))
    best = -1.0
    for dy in range(-height // 3, height // 3 + 1):
        for dx in range(-width // 3, width // 3 + 1):
            x = a[max(0, dy) : height + min(0, dy), max(0, dx) : width + min(0, dx)]
            y = b[max(0, -dy) : height + min(0, -dy), max(0, -dx) : width + min(0, -dx)]
            x, y = x - x.mean(), y - y.mean()
            best = max(best, float((x * y).sum()) / math.sqrt(float((x * x).sum() * (y * y).sum()) + 1e-6))
    return best
