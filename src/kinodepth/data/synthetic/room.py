"""Furnished rooms in which people, toys and balls move."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from kinodepth.data.synthetic import paths, solids
from kinodepth.data.synthetic.mesh import Light
from kinodepth.data.synthetic.plan import Plan, Scene, Thing
from kinodepth.data.synthetic.solids import Rng, Solid, place


def _room_shell(rng: Rng, width: float, length: float, height: float) -> list[Thing]:
    x, z = width / 2, length / 2
    floor = rng.choice(["planks", "floor_tiles", "planks", "carpet#2"])
    walls = rng.choice(["wallpaper#0", "wallpaper#1", "plaster#0", "plaster#1", "bricks"], 4)
    h = height
    shell = solids.patches(
        [
            [[-x, 0, z], [x, 0, z], [x, 0, -z], [-x, 0, -z]],
            [[-x, -h, -z], [x, -h, -z], [x, -h, z], [-x, -h, z]],
            [[-x, -h, z], [x, -h, z], [x, 0, z], [-x, 0, z]],
            [[x, -h, -z], [-x, -h, -z], [-x, 0, -z], [x, 0, -z]],
            [[-x, -h, -z], [-x, -h, z], [-x, 0, z], [-x, 0, -z]],
            [[x, -h, z], [x, -h, -z], [x, 0, -z], [x, 0, z]],
        ],
        [floor, "plaster#2", *walls],
    )
    trim = [solids.block(0, 0, s * (z - 0.01), width, 0.09, 0.02, "wood#1") for s in (-1, 1)]
    trim += [solids.block(s * (x - 0.01), 0, 0, 0.02, 0.09, length, "wood#1") for s in (-1, 1)]
    door = solids.block(0, 0, -0.02, 0.95, 2.05, 0.04, "wood#0")
    frame = solids.block(0, 0, -0.01, 1.1, 2.12, 0.02, "wood#1")
    side = rng.choice([-1, 1])
    trim.append(place(solids.join(door, frame), side * x, rng.uniform(-0.6, 0.6) * z, side * np.pi / 2))
    things = [Thing(solids.join(shell, *trim))]
    hung: list[tuple[int, float]] = []
    for k in range(int(rng.integers(4, 9))):
        wall, w, h = int(rng.integers(4)), rng.uniform(0.4, 1.2), rng.uniform(0.4, 0.9)
        reach, span = (z, x, z, x)[wall], (x, z, x, z)[wall]
        px, py = rng.uniform(-0.8, 0.8) * (span - 0.7), -rng.uniform(1.2, height - h - 0.15)
        if all(wall != other or abs(px - at) > 1.25 for other, at in hung):
            hung.append((wall, px))
            faces = ("wood#1", f"painting#{k % 4}", *["wood#1"] * 4)
            picture = solids.block(px, py, reach - 0.02, w, h, 0.03, faces)
            things.append(Thing(place(picture, 0, 0, wall * np.pi / 2), "picture"))
    if floor != "carpet#2":
        rug = solids.block(0, 0, 0, rng.uniform(1.6, 2.6), 0.012, rng.uniform(1.2, 2), "carpet#2")
        things.append(
            Thing(
                place(rug, rng.uniform(-0.2, 0.2) * x, rng.uniform(-0.2, 0.2) * z, float(rng.uniform(-0.4, 0.4))), "rug"
            )
        )
    return things


def _furniture(rng: Rng, kind: str) -> tuple[Solid, float, float]:
    """A piece with its width and depth; its back is at z = 0."""
    if kind == "cabinet":
        w, d = rng.uniform(0.6, 1.8), rng.uniform(0.4, 0.6)
        return solids.cabinet(rng, w, d, rng.uniform(0.7, 2.0)), w, d
    if kind == "shelf":
        w = rng.uniform(0.7, 1.6)
        return solids.shelf(rng, w, 0.32, rng.uniform(1.0, 2.1)), w, 0.32
    if kind == "table":
        w, d = rng.uniform(1.0, 1.7), rng.uniform(0.6, 0.8)
        return solids.table(rng, w, d, rng.uniform(0.7, 0.76)), w, d
    if kind == "sofa":
        w = rng.uniform(1.5, 2.2)
        return solids.sofa(w), w, 0.95
    if kind == "lamp":
        return solids.floor_lamp(), 0.5, 0.6
    if kind == "chair":
        return solids.chair(rng), 0.5, 0.55
    return (solids.plant(rng) if kind == "plant" else solids.cartons(rng)), 0.7, 0.7


def _furnish(rng: Rng, plan: Plan, x: float, z: float) -> None:
    """Furniture along the walls, then a table with chairs and loose things where there is space."""
    for attempt in range(52):
        if attempt < 40:
            kinds = ["cabinet", "shelf", "table", "sofa", "plant", "lamp", "cartons", "chair"]
            solid, w, d = _furniture(rng, str(rng.choice(kinds)))
            wall = int(rng.integers(4))
            yaw, reach, span, room = wall * np.pi / 2, (z, x, z, x)[wall] - 0.03, (x, z, x, z)[wall], 0.1
            along = rng.uniform(-1, 1) * (span - w / 2 - 0.05)
        else:
            solid, w, d = _furniture(rng, str(rng.choice(["table", "cartons", "chair"])))
            yaw, along, room = rng.uniform(-0.5, 0.5), rng.uniform(-0.55, 0.55) * x, 0.2
            reach = rng.uniform(-0.55, 0.55) * z
        c, s = np.cos(yaw), np.sin(yaw)
        cx, cz = c * along + s * (reach - d / 2), -s * along + c * (reach - d / 2)
        if plan.free(cx, cz, w + room, d + room, yaw):
            plan.things.append(Thing(place(solid, c * along + s * reach, -s * along + c * reach, yaw), "furniture"))
            plan.fill(cx, cz, w, d, yaw)


def _mover(rng: Rng, kind: str) -> tuple[Solid, float]:
    """A thing that moves in rooms, and the height its origin keeps."""
    if kind == "person":
        return solids.person(rng), 0.0
    if kind == "robot":
        return solids.toy_robot(rng), 0.0
    if kind == "ball":
        return solids.ball(rng.uniform(0.12, 0.25)), 0.0
    w, h, d = rng.uniform(0.16, 0.28, 3)
    body = solids.block(0, 0, 0, w, h, d, str(rng.choice(["cardboard#0", "carpet#1", "painting#1"])))
    return body, -rng.uniform(0.9, 1.3)


def room(rng: Rng, scene: Scene) -> Plan:
    width, length, height = rng.uniform(4.8, 7.5), rng.uniform(5.2, 8.5), rng.uniform(2.4, 3.1)
    x, z = width / 2, length / 2
    base = paths.room_camera(rng, scene.camera_motion, (x - 0.5, z - 0.5))
    lamps = np.stack([rng.uniform(-0.7, 0.7, 3) * x, np.full(3, 0.6 - height), rng.uniform(-0.7, 0.7, 3) * z], 1)
    plan = Plan(Light(0.72, lamps=lamps, lamp_strength=1.1, reach=1.2, spacing=0.12), base)
    plan.things = _room_shell(rng, width, length, height)
    times = np.linspace(0, scene.duration, int(np.clip(scene.duration * 6, 6, 300)))
    plan.reserve(base, times, 0.75)
    if scene.movers:
        _room_movers(rng, scene, plan, times, (x - 0.4, z - 0.4))
    _furnish(rng, plan, x, z)
    return plan


def _room_movers(rng: Rng, scene: Scene, plan: Plan, times: NDArray[np.float64], half: tuple[float, float]) -> None:
    """One crossing, one oncoming, one that keeps its place before the camera, each clear of the others."""
    tracks = [np.stack([plan.base(t)[[0, 2], 3] for t in times])]
    if scene.camera_motion not in ("static", "rotation"):
        side, ahead = rng.choice([-1, 1]) * rng.uniform(0.3, 0.5), rng.uniform(1.1, 1.5)
        low = plan.base(0)[1, 3] > -1
        solid, height = _mover(rng, "robot" if low else "box")
        path = paths.beside(plan.base, (side, ahead), height)
        plan.things.append(Thing(solid, "companion", True, path))
        plan.reserve(path, times, 0.3)
        tracks.append(np.stack([path(t)[[0, 2], 3] for t in times]))
    for role in ("crossing", "oncoming", "crossing"):
        for attempt in range(200):
            t0 = rng.uniform(0.3, 0.7) * scene.duration
            camera = plan.base(t0)
            shrink = 1 - attempt / 300
            if role == "crossing":
                middle = camera @ [rng.uniform(-0.6, 0.6), 0, rng.uniform(1.8, 4.0), 1]
                turn, reach = rng.choice([-1, 1]) * np.pi / 2 + rng.uniform(-0.4, 0.4), rng.uniform(0.8, 1.8) * shrink
            else:
                middle = camera @ [rng.uniform(-1, 1), 0, rng.uniform(2.2, 4.0), 1]
                turn, reach = np.pi + rng.uniform(-0.3, 0.3), rng.uniform(0.6, 1.4) * shrink
            heading = float(np.arctan2(camera[0, 2], camera[2, 2]) + turn)
            kind = str(rng.choice(["person", "robot", "ball", "person"]))
            path = paths.swinging(middle[[0, 2]], heading, reach, rng.uniform(0.4, 1.1), t0)
            track = np.stack([path(t)[[0, 2], 3] for t in times])
            apart = min(np.hypot(*(track - other).T).min() for other in tracks)
            if (np.abs(track) < half).all() and apart > 0.75:
                solid, _ = _mover(rng, kind)
                if kind == "ball":
                    path = paths.rolling(path, float(solid.corners[..., 1].max()))
                plan.things.append(Thing(solid, kind, True, path))
                plan.reserve(path, times, 0.4)
                tracks.append(track)
                break
