"""Streets of houses, trees, lamps and parked cars, with traffic and people."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from kinodepth.data.synthetic import paths, solids
from kinodepth.data.synthetic.mesh import PERIOD, Light
from kinodepth.data.synthetic.paths import Path
from kinodepth.data.synthetic.plan import Plan, Scene, Thing
from kinodepth.data.synthetic.solids import Rng, Solid, place


def _ground(kerb: float, walk: float, step: float, start: float, end: float) -> Thing:
    """Road (a tile is ``step`` long), pavements with kerbs, lawns; in pieces, so that coordinates stay exact."""
    quads, materials, uv = [], [], []

    def strip(x0: float, x1: float, y: float, length: float, material: str) -> None:
        for z in np.arange(np.floor(start / length - 6), np.ceil(end / length + 4)) * length:
            quads.append([[x0, y, z + length], [x1, y, z + length], [x1, y, z], [x0, y, z]])
            materials.append(material)
            uv.append([[0, 0], [x1 - x0, 0], [x1 - x0, length], [0, length]])

    strip(-kerb, kerb, 0, step, "road")
    for s in (-1, 1):
        inner, outer, far = s * kerb, s * (kerb + walk), s * (kerb + walk + 60)
        strip(min(inner, outer), max(inner, outer), -0.12, 10.24, "pavement")
        strip(min(outer, far), max(outer, far), -0.1, 20.48, "grass")
        for z in np.arange(np.floor(start / 10.24 - 6), np.ceil(end / 10.24 + 4)) * 10.24:
            edge = [[inner, -0.12, z], [inner, -0.12, z + 10.24], [inner, 0, z + 10.24], [inner, 0, z]]
            quads.append(edge if s < 0 else [edge[1], edge[0], edge[3], edge[2]])
            materials.append("pavement")
            uv.append([[0, 0], [10.24, 0], [10.24, 0.12], [0, 0.12]])
    return Thing(solids.patches(quads, materials, uv=np.array(uv, float)))


def street(rng: Rng, scene: Scene) -> Plan:
    kerb, walk = rng.uniform(3.4, 4.6), rng.uniform(2.2, 3.2)
    lane = kerb / 2
    base = paths.street_camera(rng, scene.camera_motion, lane, kerb)
    azimuth, height = rng.uniform(0, 2 * np.pi), rng.uniform(0.7, 1.2)
    sun = np.array([np.cos(azimuth) * np.cos(height), -np.sin(height), np.sin(azimuth) * np.cos(height)])
    plan = Plan(Light(0.62, sun, sun_strength=rng.uniform(0.35, 0.7), reach=4.0, spacing=0.8), base)
    start, end = -20.0, float(base(scene.duration)[2, 3]) + 200.0
    if end > PERIOD + 100:
        plan.period, start, end = PERIOD, 0.0, PERIOD
    plan.reserve(base, np.arange(0, scene.duration + 0.2, 0.2), 0.9)
    if scene.movers:
        _traffic(rng, scene, plan, kerb, lane)
    at_rest: list[Thing] = []
    for s in (-1, 1):
        at_rest += _row_of_houses(rng, s, kerb + walk + rng.uniform(0.5, 5), start, end)
        at_rest += _kerbside(rng, plan, s, kerb, start, end)
    plan.things += [_repeated(thing) for thing in at_rest] if plan.period else at_rest
    step = PERIOD / round(PERIOD / (2 * kerb))
    plan.things.append(_ground(kerb, walk, step, start, end + 200.0 * (plan.period > 0)))
    return plan


def _repeated(thing: Thing) -> Thing:
    """The thing with copies one period on and back, as far as they can be seen."""
    z = thing.solid.corners[..., 2]
    copies = [thing.solid]
    if z.min() < 200:
        copies.append(place(thing.solid, 0, PERIOD))
    if z.max() > PERIOD - 40:
        copies.append(place(thing.solid, 0, -PERIOD))
    return replace(thing, solid=solids.join(*copies))


def _row_of_houses(rng: Rng, side: int, front: float, start: float, end: float) -> list[Thing]:
    things: list[Thing] = []
    z = start + rng.uniform(0, 3)
    while True:
        width, depth, storeys = 3.0 * rng.integers(2, 6), rng.uniform(7, 11), int(rng.integers(1, 5))
        gap = float(rng.choice([0.3, 3.0, 8.0]))
        if z + width + gap > end:
            return things
        house = solids.house(rng, width, depth, storeys, int(rng.integers(5)))
        x = side * (front + rng.uniform(0, 1.5))
        things.append(Thing(place(house, x, z + width / 2, side * np.pi / 2, -0.1)))
        if gap > 2:
            x = side * (front + rng.uniform(1, 4))
            things.append(Thing(place(solids.tree(rng), x, z + width + gap / 2, y=-0.1)))
        z += width + gap


def _kerbside(rng: Rng, plan: Plan, side: int, kerb: float, start: float, end: float) -> list[Thing]:
    """Lamps, trees, bins on the pavement and parked cars at the kerb, where nobody goes."""
    things = []
    for z in np.arange(start + rng.uniform(3, 9), end - 3, 6.5):
        kind = str(rng.choice(["lamp", "tree", "tree", "bin", "car", "car", "none"]))
        x, y = side * (kerb + 0.45), -0.12
        solid, size, yaw = solids.bin_(rng), (0.6, 0.6), 0.0
        if kind == "lamp":
            solid, yaw = solids.street_lamp(), np.pi * (side > 0)
        elif kind == "tree":
            solid = solids.tree(rng)
        elif kind == "car":
            solid, size = solids.car(rng, int(rng.integers(4))), (1.9, 4.8)
            x, y, yaw = side * (kerb - 0.35), -0.06, 0.0 if side > 0 else np.pi
        if kind != "none" and plan.free(x, z, *size):
            things.append(Thing(place(solid, x, z, yaw, y), kind, kind == "car"))
    return things


@dataclass
class _Traffic:
    """Who is on the road: nobody may come too close to the camera or to somebody who was there first."""

    plan: Plan
    duration: float
    others: list[Path]

    def add(
        self, solid: Solid, name: str, path: Path, radius: float, apart: float, t0: float | None, closing: float = 0
    ) -> bool:
        """Add a mover unless it comes within ``apart`` metres of others; it is near the camera at ``t0`` (None:
        always) and comes nearer with ``closing`` m/s."""
        times = np.arange(0, self.duration + 0.2, 0.2) if t0 is None else np.arange(t0 - 8, t0 + 8, 0.33)
        track = _track(path, times)
        for other in (*self.others[:2], *self.others[-12:]):
            if np.hypot(*(track - _track(other, times)).T).min() < apart:
                return False
        span = (t0 - 170 / closing, t0 + 170 / closing) if t0 is not None and closing > 0 else (-np.inf, np.inf)
        self.others.append(path)
        self.plan.things.append(Thing(solid, name, True, path, span))
        self.plan.reserve(path, times, radius)
        return True


def _traffic(rng: Rng, scene: Scene, plan: Plan, kerb: float, lane: float) -> None:
    """A car or walker ahead at camera speed, oncoming cars, people who cross, people who come along the pavement."""
    base, driving = plan.base, scene.camera_motion == "driving"
    traffic = _Traffic(plan, scene.duration, [base])
    gap = 0.0
    if driving:
        gap = rng.uniform(8, 12)
        traffic.add(solids.car(rng, 0), "car ahead", paths.beside(base, (0, gap), 0.0), 1.2, 2, None)
    elif scene.camera_motion in ("walking", "handheld"):
        offset = rng.uniform(-0.7, 0.2), rng.uniform(2.6, 4.0)
        traffic.add(solids.person(rng), "person ahead", paths.beside(base, offset, -0.12), 0.5, 1, None)
    first = rng.uniform(0.3, 0.6) * min(scene.duration, 5)
    for k, t0 in enumerate(np.arange(first, scene.duration + 5, 2.4 if driving else 4)):
        here, speed = base(t0)[2, 3], abs(base(t0 + 0.5)[2, 3] - base(t0 - 0.5)[2, 3])
        pace = rng.uniform(4, 8)
        path = paths.passing((-lane, here + rng.uniform(4, 15)), np.pi, pace, t0)
        traffic.add(solids.car(rng, 1 + k % 3), "car oncoming", path, 1.2, 3, t0, pace + speed)
        if k > 2 and scene.camera_motion not in ("driving", "walking"):
            continue  # people stay in view of a standing camera, so a few are enough
        for _ in range(10):
            ahead = here + (gap + 0.9 * speed + rng.uniform(0, 4) if driving else rng.uniform(4, 11))
            heading = rng.choice([-1, 1]) * np.pi / 2
            path = paths.passing((rng.uniform(-2, 2), ahead), heading, rng.uniform(1.2, 2.2), t0, kerb + 2)
            if traffic.add(solids.person(rng), "person crossing", path, 0.5, 2.2 if driving else 1.0, t0, speed):
                break
        meet, pace = (kerb + rng.uniform(1.5, 2.1)) * rng.choice([-1, 1]), rng.uniform(1, 1.6)
        path = paths.passing((meet, here + rng.uniform(5, 12)), np.pi, pace, t0)
        traffic.add(solids.person(rng), "person oncoming", path, 0.5, 0.9, t0, pace + speed)


def _track(path: Path, times: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.stack([path(t)[[0, 2], 3] for t in times])
