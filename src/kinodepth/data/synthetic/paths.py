"""Smooth seeded trajectories: functions of time (seconds) to 4 x 4 object-to-world or camera-to-world matrices."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import ArrayLike, NDArray

Array = NDArray[np.float64]
Rng = np.random.Generator
Path = Callable[[float], Array]


def pose(position: ArrayLike, yaw: float = 0.0, pitch: float = 0.0, roll: float = 0.0) -> Array:
    """The matrix Ry(yaw) Rx(pitch) Rz(roll) at ``position``: yaw turns right, pitch up (y is down, z ahead)."""
    cy, sy, cp, sp, cr, sr = (f(a) for a in (yaw, pitch, roll) for f in (np.cos, np.sin))
    turn = np.array([[cy, 0, sy], [0, 1, 0], [-sy, 0, cy]])
    tilt = np.array([[1, 0, 0], [0, cp, -sp], [0, sp, cp]])
    lean = np.array([[cr, -sr, 0], [sr, cr, 0], [0, 0, 1]])
    matrix = np.eye(4)
    matrix[:3, :3] = turn @ tilt @ lean
    matrix[:3, 3] = position
    return matrix


def wander(rng: Rng, amount: ArrayLike, period: float) -> Callable[[float], Array]:
    """Smooth noise about zero, ``amount`` (one per axis) large, changing over ``period`` seconds."""
    scale = np.asarray(amount, float)
    rate = 2 * np.pi / (period * rng.uniform(0.6, 1.7, (3, len(scale))))
    phase = rng.uniform(0, 2 * np.pi, (3, len(scale)))
    return lambda t: scale * np.sin(rate * t + phase).sum(0) / 2


def jitter(rng: Rng, motion: str, shake: float) -> Callable[[float], Array]:
    """What hand, step or road adds to a camera path: right, down, ahead in metres, yaw, pitch, roll in radians."""
    slow, fast = {
        "handheld": ([0.05, 0.04, 0.05, 0.05, 0.04, 0.025], [0.004, 0.004, 0.003, 0.006, 0.006, 0.005]),
        "walking": ([0.04, 0.01, 0.03, 0.06, 0.03, 0.02], [0.003, 0.003, 0.002, 0.004, 0.004, 0.003]),
        "driving": ([0.0, 0.01, 0.0, 0.004, 0.006, 0.006], [0.0, 0.004, 0.0, 0.0006, 0.0015, 0.0012]),
        "rotation": ([0, 0, 0, 0.05, 0.12, 0.05], [0, 0, 0, 0.003, 0.003, 0.002]),
        "static": ([0.0] * 6, [0.0] * 6),
    }[motion]
    drift, tremble = wander(rng, slow, 2.5), wander(rng, fast, 0.35)
    step, phase = rng.uniform(1.7, 2.1), rng.uniform(0, 6)
    bob = np.array([0.02, 0.025, 0, 0, 0.004, 0.006]) * (motion == "walking")

    def at(t: float) -> Array:
        a = 2 * np.pi * step * t + phase
        return shake * (drift(t) + tremble(t) + bob * [np.sin(a / 2), np.sin(a), 0, 0, np.cos(a), np.sin(a / 2)])

    return at


def shaken(base: Path, noise: Callable[[float], Array]) -> Path:
    """The path ``base`` with ``noise`` in its own axes."""

    def at(t: float) -> Array:
        n = noise(t)
        return base(t) @ pose(n[:3], *n[3:])

    return at


def room_camera(rng: Rng, motion: str, half: tuple[float, float]) -> Path:
    """A steady path (yaw and position only) inside a room that reaches ``half`` metres from its centre in x and z."""
    angle = rng.uniform(0, 2 * np.pi)
    place = np.array([half[0] * np.sin(angle), half[1] * np.cos(angle)]) * 0.62
    height = -rng.uniform(1.35, 1.65)
    target = rng.uniform(-0.15, 0.15, 2) * half
    ahead = (target - place) / np.linalg.norm(target - place)
    yaw = float(np.arctan2(*ahead))
    side = np.array([ahead[1], -ahead[0]])
    phase, sign = rng.uniform(0, 2 * np.pi), rng.choice([-1, 1])

    if motion == "handheld":
        reach, period = rng.uniform([0.35, 0.15], [0.6, 0.35]), rng.uniform(5, 8)

        def at(t: float) -> Array:
            a = 2 * np.pi * t / period + phase
            x, z = place + side * reach[0] * np.sin(a) + ahead * reach[1] * np.sin(0.7 * a)
            return pose([x, height, z], yaw - 0.25 * sign * np.sin(0.8 * a + phase))

    elif motion in ("walking", "driving"):
        speed = rng.uniform(0.7, 1.1) if motion == "walking" else rng.uniform(0.4, 0.7)
        height = height if motion == "walking" else -rng.uniform(0.3, 0.6)
        radius = np.array(half) * rng.uniform(0.45, 0.58)
        rate = sign * speed / radius.mean()
        inward = sign * rng.uniform(0.2, 0.6)

        def at(t: float) -> Array:
            a = phase + rate * t
            heading = np.arctan2(sign * radius[0] * np.cos(a), -sign * radius[1] * np.sin(a))
            return pose([radius[0] * np.sin(a), height, radius[1] * np.cos(a)], heading + inward)

    else:
        swing = rng.uniform(0.4, 0.7) * (motion == "rotation")

        def at(t: float) -> Array:
            return pose([place[0], height, place[1]], yaw + sign * swing * np.sin(2 * np.pi * t / 6 + phase / 9))

    return at


def street_camera(rng: Rng, motion: str, lane: float, kerb: float) -> Path:
    """A steady path along +z from z = 0: in the lane centred at x = ``lane``, or beside the kerb at x = ``kerb``."""
    phase = rng.uniform(0, 2 * np.pi)
    if motion in ("driving", "walking"):
        speed = rng.uniform(4.5, 10) if motion == "driving" else rng.uniform(1.1, 1.6)
        x = lane if motion == "driving" else kerb + rng.uniform(1.0, 1.5)
        height = -rng.uniform(1.25, 1.7)
        sway, length = (0.35, rng.uniform(45, 80)) if motion == "driving" else (0.25, rng.uniform(6, 12))

        def at(t: float) -> Array:
            a = 2 * np.pi * speed * t / length + phase
            return pose([x + sway * np.sin(a), height, speed * t], np.arctan(sway * np.cos(a) * 2 * np.pi / length))

    else:
        yaw, x, height = -rng.uniform(0.15, 0.6), kerb + rng.uniform(0.9, 1.6), -rng.uniform(1.4, 1.65)
        swing, reach = 0.35 * (motion == "rotation"), rng.uniform(0.4, 0.7) * (motion == "handheld")

        def at(t: float) -> Array:
            a = 2 * np.pi * t / 6
            turn = yaw + swing * np.sin(a + phase / 9) + 0.08 * np.sin(0.8 * a + phase) * (motion == "handheld")
            return pose([x + 0.5 * reach * np.sin(a + phase), height, reach * np.sin(0.8 * a + phase)], turn)

    return at


def beside(base: Path, offset: ArrayLike, ground: float) -> Path:
    """A path that keeps ``offset`` (right, ahead) to the camera path ``base`` and its heading, at height ``ground``."""
    right, ahead = np.asarray(offset, float)

    def at(t: float) -> Array:
        camera = base(t)
        place = (camera @ [right, 0, ahead, 1])[:3]
        place[1] = ground
        matrix = camera.copy()
        matrix[:3, 3] = place
        return matrix

    return at


def swinging(middle: ArrayLike, heading: float, reach: float, speed: float, t_middle: float) -> Path:
    """To and fro along ``heading`` about ``middle`` (x, z), passing it at ``t_middle``, there with ``speed``."""
    x, z = np.asarray(middle, float)

    def at(t: float) -> Array:
        s = reach * np.sin(speed / reach * (t - t_middle))
        return pose([x + s * np.sin(heading), 0, z + s * np.cos(heading)], heading)

    return at


def passing(middle: ArrayLike, heading: float, speed: float, t_middle: float, reach: float = 1e6) -> Path:
    """Straight on through ``middle`` (x, z) at ``t_middle``; stands still when ``reach`` metres away from it."""
    x, z = np.asarray(middle, float)

    def at(t: float) -> Array:
        s = float(np.clip(speed * (t - t_middle), -reach, reach))
        return pose([x + s * np.sin(heading), 0, z + s * np.cos(heading)], heading)

    return at


def rolling(path: Path, radius: float) -> Path:
    """The path of a ball that rolls where ``path`` (along its own z) leads."""

    def at(t: float) -> Array:
        matrix, start = path(t), path(0.0)
        way = float((matrix[:3, 3] - start[:3, 3]) @ matrix[:3, 2])
        rolled = matrix @ pose([0, 0, 0], 0.4) @ pose([0, 0, 0], 0, -way / radius)
        rolled[1, 3] = -radius
        return rolled

    return at
