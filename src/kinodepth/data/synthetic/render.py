"""Ray casting: worlds into frames with images and exact depth, flow, object motion, instances and masks."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache, partial
from typing import Any

import numpy as np
import torch
from embreex.rtcore_scene import EmbreeScene
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter

from kinodepth.data.synthetic.plan import Scene
from kinodepth.data.synthetic.textures import SIZE, Array
from kinodepth.data.synthetic.world import Mover, World, make_world
from kinodepth.types import Frame, Record, Sequence

Matrix = NDArray[np.float64]
Moving = list[tuple[int, Mover, Matrix]]  # place among the movers, mover, camera_from_object
OBLIQUE = 0.75  # how far texture filtering follows the long side of a slanted pixel: 0 its short side, 1 its long one
FIELDS = ("image", "depth", "mask:dynamic", "mask:static", "mask:movable", "mask:instances",
          "extra:optical_flow", "extra:object_motion")  # fmt: skip


@dataclass
class Hits:
    """What N rays met: ``triangle`` in the world's tables (-1 sky), barycentric ``u``, ``v``, z ``depth``, ``facing``
    (cosine to the surface normal) and ``mover`` (index, -1 for what is at rest)."""

    triangle: NDArray[np.int32]
    u: Array
    v: Array
    depth: Array
    facing: Array
    mover: NDArray[np.int32]


def _inverse(pose: Matrix) -> Matrix:
    return np.asarray(np.linalg.inv(pose), np.float64)


def _rays(world: World, x: Array, y: Array) -> Array:
    """N x 3 directions in camera axes with z = 1, so that a ray parameter is a depth."""
    c = world.camera
    return np.stack([(x - c.cx) / c.fx, (y - c.cy) / c.fy, np.ones_like(x)], -1).astype(np.float32)


def _window(world: World, camera_from_object: Matrix, mover: Mover) -> tuple[float, ...] | None:
    """Image rectangle (x from, to, y from, to) that holds the object, None when it is out of sight."""
    low, high = mover.bounds
    corners = np.array([[x, y, z] for x in (low[0], high[0]) for y in (low[1], high[1]) for z in (low[2], high[2])])
    p = corners @ camera_from_object[:3, :3].T + camera_from_object[:3, 3]
    c, near = world.camera, 0.05
    if (p[:, 2] < near).all() or p[:, 2].min() > 150:
        return None
    if (p[:, 2] < near).any():
        return -1.0, float(c.width), -1.0, float(c.height)
    x, y = c.fx * p[:, 0] / p[:, 2] + c.cx, c.fy * p[:, 1] / p[:, 2] + c.cy
    if x.max() < -1 or y.max() < -1 or x.min() > c.width or y.min() > c.height:
        return None
    return x.min() - 1, x.max() + 1, y.min() - 1, y.max() + 1


def _trace(world: World, pose: Matrix, moving: Moving, x: Array, y: Array) -> Hits:
    rays = _rays(world, x, y)

    def cast(scene: EmbreeScene, object_from_camera: Matrix, chosen: Array, first: int) -> tuple[Array, ...]:
        ways = chosen @ object_from_camera[:3, :3].T.astype(np.float32)
        origins = np.empty_like(ways)
        origins[:] = object_from_camera[:3, 3]
        hit = scene.run(origins, ways, query="INTERSECT", output=1)
        triangle = np.where(hit["primID"] >= 0, hit["primID"] + first, -1)
        nx, ny, nz = (row.take(triangle, mode="wrap") for row in world.table[12:15])
        return triangle, hit["u"], hit["v"], hit["tfar"], np.abs(nx * ways[:, 0] + ny * ways[:, 1] + nz * ways[:, 2])

    triangle, u, v, depth, facing = cast(world.static, pose, rays, 0)
    hits = Hits(triangle.astype(np.int32), u, v, depth, facing, np.full(len(x), -1, np.int32))
    for k, mover, camera_from_object in moving:
        window = _window(world, camera_from_object, mover)
        if window is None:
            continue
        inside = np.flatnonzero((x >= window[0]) & (x <= window[1]) & (y >= window[2]) & (y <= window[3]))
        if len(inside) == 0:
            continue
        found = cast(mover.scene, _inverse(camera_from_object), rays[inside], mover.first)
        nearer = (found[0] >= 0) & (found[3] < hits.depth[inside])
        at = inside[nearer]
        for values, new in zip((hits.triangle, hits.u, hits.v, hits.depth, hits.facing), found):
            values[at] = new[nearer]
        hits.mover[at] = k
    hits.facing /= np.sqrt(rays[:, 0] ** 2 + rays[:, 1] ** 2 + 1)
    hits.depth = np.where(hits.triangle >= 0, hits.depth, 0).astype(np.float32)
    return hits


def _light(world: World, triangle: NDArray[np.int32], s: Array, t: Array) -> Array:
    """Baked brightness, bilinear between light-map points."""
    start, columns, rows = (row.take(triangle, mode="wrap") for row in world.index[1:4])
    x0 = np.clip(s.astype(np.int32), 0, columns - 2)
    y0 = np.clip(t.astype(np.int32), 0, rows - 2)
    fx, fy = s - x0, t - y0
    at = start + y0 * columns + x0
    below = at + columns
    top = world.light.take(at) * (1 - fx) + world.light.take(at + 1) * fx
    bottom = world.light.take(below) * (1 - fx) + world.light.take(below + 1) * fx
    return np.asarray(top + (bottom - top) * fy)


def _colour(world: World, hits: Hits, pose: Matrix, x: Array, y: Array) -> Array:
    """3 x N colours in [0, 1]: textures filtered to the pixel, times baked light; sky where nothing was hit."""

    def along(k: int) -> Array:
        start, du, dv = (world.table[k + 2 * i].take(hits.triangle, mode="wrap") for i in range(3))
        return np.asarray(start + hits.u * du + hits.v * dv)

    uv = np.stack([along(0), along(1)])
    light = _light(world, hits.triangle, along(6), along(7))
    tile = world.index[0].take(hits.triangle, mode="wrap")
    size = np.maximum(hits.depth, 1e-3) / world.camera.fx * np.maximum(hits.facing, 0.02) ** -OBLIQUE
    level = np.log2(size) - world.table[15].take(hits.triangle, mode="wrap")
    sky = np.flatnonzero(hits.triangle < 0)
    if len(sky):  # clouds on a plane overhead
        ways = _rays(world, x[sky], y[sky]) @ pose[:3, :3].T.astype(np.float32)
        up = np.maximum(-ways[:, 1], 0.02)
        texels = SIZE / 6.0
        uv[:, sky] = ways[:, [0, 2]].T / up * texels
        tile[sky], light[sky] = world.sky, 1
        level[sky] = np.log2(texels / world.camera.fx / up**1.5)
    return np.clip(world.atlas.sample(tile, uv, level) * light, 0, 1)


def _edges(hits: Hits, tile: NDArray[np.int32], height: int, width: int) -> NDArray[np.int64]:
    """Pixels beside a jump or crease of the surface or a change of material: one ray is not enough for these."""
    inverse = (1 / np.where(hits.depth > 0, hits.depth, 1e4)).reshape(height, width)
    kind = np.where(hits.triangle >= 0, tile, -1).reshape(height, width)
    rough = np.zeros((height, width), bool)
    for axis in (0, 1):
        a, k = np.moveaxis(inverse, axis, 0), np.moveaxis(kind, axis, 0)
        mark = np.moveaxis(rough, axis, 0)
        mark[1:-1] |= np.abs(a[:-2] - 2 * a[1:-1] + a[2:]) > 0.01 * a[1:-1]
        differs = k[1:] != k[:-1]
        mark[1:] |= differs
        mark[:-1] |= differs
    return np.flatnonzero(rough)


def _camera_effects(scene: Scene, image: Array, number: int) -> Array:
    """Exposure drift, blur and noise, seeded per frame."""
    if scene.exposure:
        phase = np.random.default_rng([scene.seed, 1]).uniform(0, 6, 2)
        image = image * (1 + scene.exposure * np.sin(number / scene.rate * 2.1 + phase).prod())
    if scene.blur:
        image = gaussian_filter(image, (0, scene.blur, scene.blur), mode="nearest")
    if scene.noise:
        rng = np.random.default_rng([scene.seed, 2, number])
        image = image + scene.noise * rng.standard_normal(image.shape, dtype=np.float32)
    return np.clip(image, 0, 1).astype(np.float32)


def _motion(world: World, hits: Hits, rays: Array, now: Matrix, later: Matrix,
            steps: dict[int, Matrix]) -> tuple[Array, Array, NDArray[np.bool_]]:  # fmt: skip
    """Points of the next frame 3 x N, the object motion 3 x N in its axes, and which pixels move by themselves."""
    relative = _inverse(later) @ now
    sky = hits.depth == 0
    points = np.where(sky, 1, hits.depth) * rays.T
    moved = relative[:3, :3].astype(np.float32) @ points + np.where(sky, 0, relative[:3, 3:]).astype(np.float32)
    object_motion = np.zeros_like(moved)
    dynamic = np.zeros(len(hits.depth), bool)
    for k, world_step in steps.items():
        at = np.flatnonzero(hits.mover == k)
        if len(at) and np.abs(world_step - np.eye(4)).max() > 1e-9:
            extra = _inverse(later) @ (world_step - np.eye(4)) @ now
            object_motion[:, at] = (extra[:3, :3] @ points[:, at] + extra[:3, 3:]).astype(np.float32)
            dynamic[at] = True
    return moved + object_motion, object_motion, dynamic


def pose_of(world: World, time: float) -> torch.Tensor:
    """cam_to_world 4 x 4 at ``time`` seconds, in metres as ``Scene.scale`` has them."""
    pose = world.path(time).copy()
    pose[:3, 3] *= world.scene.scale
    return torch.from_numpy(pose)


def render_frame(world: World, number: int) -> Frame:
    """Frame ``number`` with every field of ``FIELDS``; flow and object motion lead to frame ``number`` + 1.

    ``object_motion`` is 3 x H x W metres in the axes of the next camera, added after the camera rotation (RM-Depth).
    Sky has depth 0 and the flow of points at infinity.
    """
    scene, camera = world.scene, world.camera
    time, next_time = number / scene.rate, (number + 1) / scene.rate
    now, later = world.path(time), world.path(next_time)
    camera_from_world = _inverse(now)
    moving = [
        (k, m, camera_from_world @ m.path(time)) for k, m in enumerate(world.movers) if m.span[0] <= time <= m.span[1]
    ]
    local = now.copy()
    if world.period:  # a long street repeats
        local[2, 3] %= world.period
    height, width = camera.height, camera.width
    grid_y, grid_x = np.mgrid[:height, :width].astype(np.float32)
    x, y = grid_x.ravel(), grid_y.ravel()
    hits = _trace(world, local, moving, x, y)
    colour = _colour(world, hits, now, x, y)
    tile, instance = (world.index[row].take(hits.triangle, mode="wrap") for row in (0, 4))
    edges = _edges(hits, tile, height, width)
    if len(edges):
        offsets = ((0.125, 0.375), (-0.375, 0.125), (-0.125, -0.375), (0.375, -0.125))
        xs = np.concatenate([x[edges] + np.float32(a) for a, _ in offsets])
        ys = np.concatenate([y[edges] + np.float32(b) for _, b in offsets])
        finer = _colour(world, _trace(world, local, moving, xs, ys), now, xs, ys)
        colour[:, edges] = finer.reshape(3, 4, -1).mean(1)
    seen = np.flatnonzero(np.bincount(hits.mover + 1, minlength=1)[1:])
    steps = {int(k): world.movers[k].path(next_time) @ _inverse(world.movers[k].path(time)) for k in seen}
    moved, object_motion, dynamic = _motion(world, hits, _rays(world, x, y), now, later, steps)
    z = np.maximum(moved[2], 1e-6)
    flow = np.stack([camera.fx * moved[0] / z + camera.cx - x, camera.fy * moved[1] / z + camera.cy - y])
    instances, size = np.where(hits.triangle >= 0, instance, 0), np.float32(scene.scale)

    def image(values: NDArray[Any]) -> torch.Tensor:
        return torch.from_numpy(np.ascontiguousarray(values.reshape(-1, height, width)))

    return Frame(
        f"{number:06d}",
        image(_camera_effects(scene, colour.reshape(3, height, width), number)),
        time,
        camera,
        pose_of(world, time),
        image(hits.depth * size),
        masks={"dynamic": image(dynamic), "static": image(np.logical_not(dynamic)),
               "movable": image(world.movable[instances]), "instances": image(instances)},
        extra={"optical_flow": image(flow.astype(np.float32)), "object_motion": image(object_motion * size)},
    )  # fmt: skip


def render(world: World) -> Iterator[Frame]:
    """The frames of ``world`` in order."""
    for number in range(world.scene.frames):
        yield render_frame(world, number)


@lru_cache(maxsize=8)
def _kept_frame(scene: Scene, number: int) -> Frame:
    return render_frame(make_world(scene), number)


def _field(scene: Scene, number: int, name: str) -> torch.Tensor:
    frame = _kept_frame(scene, number)
    group, _, key = name.partition(":")
    value = {"mask": frame.masks, "extra": frame.extra}[group][key] if key else getattr(frame, group)
    return value.clone()


def sequence(
    seed: int = 0,
    kind: str = "room",
    frames: int = 30,
    width: int = 320,
    height: int = 256,
    motion: str | None = None,
    **settings: Any,
) -> Sequence:
    """A synthetic recording, rendered when frames are read; further ``settings`` are fields of ``Scene``."""
    scene = Scene(seed, kind, frames, width, height, motion, **settings)
    world = make_world(scene)
    records = [
        Record(
            f"{number:06d}",
            {name: partial(_field, scene, number, name) for name in FIELDS},
            number / scene.rate,
            world.camera,
            pose_of(world, number / scene.rate),
        )
        for number in range(scene.frames)
    ]
    return Sequence(f"{scene.kind}_{scene.seed:04d}", records, "synthetic")
