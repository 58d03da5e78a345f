"""Worlds ready to render: a plan with its textures drawn, its light baked and its meshes in ray-casting scenes."""

from __future__ import annotations

import zlib
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from embreex.rtcore_scene import EmbreeScene
from numpy.typing import NDArray

from kinodepth.data.synthetic import paths, solids
from kinodepth.data.synthetic.mesh import build_mesh
from kinodepth.data.synthetic.paths import Path
from kinodepth.data.synthetic.plan import PLACES, Scene
from kinodepth.data.synthetic.room import room
from kinodepth.data.synthetic.street import street
from kinodepth.data.synthetic.textures import KINDS, Array, Atlas
from kinodepth.types import Camera


@dataclass(frozen=True)
class Mover:
    """A rigid object with its own ray-casting scene; its triangles start at ``first`` in the world's tables."""

    name: str
    instance: int
    path: Path
    scene: EmbreeScene
    bounds: NDArray[np.float64]
    first: int
    span: tuple[float, float]


@dataclass(frozen=True)
class World:
    """A scene ready to render; ``table``, ``index`` (both transposed) and ``light`` join those of all meshes."""

    scene: Scene
    camera: Camera
    path: Path
    static: EmbreeScene
    movers: tuple[Mover, ...]
    names: tuple[str, ...]
    movable: NDArray[np.bool_]
    table: Array
    index: NDArray[np.int32]
    light: Array
    atlas: Atlas
    sky: int
    period: float = 0.0


@lru_cache(maxsize=4)
def make_world(scene: Scene) -> World:
    """The world of ``scene``, with textures drawn and light baked; takes about a second, then it is kept."""
    rng = np.random.default_rng([scene.seed, PLACES.index(scene.kind)])
    plan = {"room": room, "street": street}[scene.kind](rng, scene)
    fov = scene.fov or float(rng.uniform(55, 80))
    focal = scene.width / 2 / np.tan(np.radians(fov) / 2)
    camera = Camera(focal, focal, (scene.width - 1) / 2, (scene.height - 1) / 2, scene.width, scene.height)
    path = paths.shaken(plan.base, paths.jitter(rng, scene.camera_motion, scene.shake))
    materials = sorted({m for thing in plan.things for m in thing.solid.materials} | {"sky"})
    tiles = {name: k for k, name in enumerate(materials)}
    drawn = [np.random.default_rng([scene.seed, zlib.crc32(name.encode())]) for name in materials]
    atlas = Atlas([KINDS[name.split("#")[0]].draw(r) for name, r in zip(materials, drawn)])

    named = [k for k, thing in enumerate(plan.things) if thing.name]
    instance = {k: i + 1 for i, k in enumerate(named)}
    resting = [k for k, thing in enumerate(plan.things) if thing.path is None]
    moving = [k for k, thing in enumerate(plan.things) if thing.path is not None]
    owners = np.concatenate([np.full(len(plan.things[k].solid.corners), instance.get(k, 0)) for k in resting])
    mesh = build_mesh(solids.join(*(plan.things[k].solid for k in resting)), tiles, plan.light)
    mesh.index[:, 4] = owners[mesh.index[:, 4]]
    meshes, movers, first = [mesh], [], len(mesh.table)
    for k in moving:
        thing = plan.things[k]
        mesh = build_mesh(thing.solid, tiles, plan.light)
        mesh.index[:, 4] = instance[k]
        movers.append(Mover(thing.name, instance[k], thing.path, mesh.scene, mesh.bounds, first, thing.span))  # type: ignore[arg-type]
        meshes.append(mesh)
        first += len(mesh.table)
    light_start = np.cumsum([0, *(len(m.light) for m in meshes)])
    for mesh, begin in zip(meshes, light_start):
        mesh.index[:, 1] += begin
    light = np.concatenate([m.light for m in meshes])
    exposure = np.float32(1 / np.percentile(meshes[0].light, 90))  # one for the whole recording
    light = np.minimum(light * exposure, np.float32(1.2))
    return World(
        scene, camera, path, meshes[0].scene, tuple(movers),
        ("", *(plan.things[k].name for k in named)), np.array([False, *(plan.things[k].movable for k in named)]),
        np.concatenate([m.table for m in meshes]).T.copy(), np.concatenate([m.index for m in meshes]).T.copy(),
        light, atlas, tiles["sky"], plan.period,
    )  # fmt: skip
