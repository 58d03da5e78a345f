"""Patches into embree scenes: triangles, texture coordinates and light baked once, shadows included."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from embreex.mesh_construction import TriangleMesh
from embreex.rtcore_scene import EmbreeScene
from numpy.typing import NDArray

from kinodepth.data.synthetic.solids import Solid
from kinodepth.data.synthetic.textures import KINDS, SIZE, Array

PERIOD = 327.68  # metres after which long streets repeat: whole tiles of pavement and lawn


@dataclass(frozen=True)
class Light:
    """``sun``: unit direction to it and strength; ``lamps``: L x 3 positions and strength at 1 m; the rest is ambient,
    dimmed by what stands within ``reach`` metres."""

    ambient: float
    sun: NDArray[np.float64] | None = None
    sun_strength: float = 0.0
    lamps: NDArray[np.float64] | None = None
    lamp_strength: float = 0.0
    reach: float = 3.0
    spacing: float = 0.2  # metres between stored light values


@dataclass(frozen=True)
class Mesh:
    """Triangles ready to be hit, in their own frame. ``table`` rows (16 floats per triangle): texel uv at the first
    corner and along both edges, the same for light-map coordinates, unit normal, log2 metres per texel; ``index``
    rows: tile, light-map start, light-map width and height, patch."""

    scene: EmbreeScene
    table: Array
    index: NDArray[np.int32]
    light: Array
    bounds: NDArray[np.float64]


def _patch_grid(solid: Solid, spacing: float) -> tuple[NDArray[np.int64], ...]:
    """Light-map size and start per patch; for every light value its patch and place (s, t) on it."""
    c = solid.corners
    length = np.stack([np.linalg.norm(c[:, 1] - c[:, 0] + c[:, 2] - c[:, 3], axis=1) / 2,
                       np.linalg.norm(c[:, 3] - c[:, 0] + c[:, 2] - c[:, 1], axis=1) / 2])  # fmt: skip
    size = np.clip(np.ceil(length / spacing).astype(int) + 1, 2, 64)
    count = size[0] * size[1]
    start = np.concatenate([[0], np.cumsum(count)[:-1]])
    patch = np.repeat(np.arange(len(c)), count)
    place = np.arange(count.sum()) - start[patch]
    s, t = place % size[0][patch] / (size[0] - 1)[patch], place // size[0][patch] / (size[1] - 1)[patch]
    return size, start, patch, s, t


def _occluded(scene: EmbreeScene, origins: NDArray[np.float64], ways: NDArray[np.float64], reach: object) -> Array:
    """1 where something lies within ``reach`` times the vector ``ways``."""
    dists = np.broadcast_to(np.asarray(reach, np.float32), len(origins)).copy()
    hit = scene.run(origins.astype(np.float32), ways.astype(np.float32), dists=dists, query="OCCLUDED")
    return (hit == 0).astype(np.float32)


def _bake(scene: EmbreeScene, solid: Solid, light: Light, grid: tuple[NDArray[np.int64], ...]) -> Array:
    """Brightness at every light-map point: ambient with occlusion, sun and lamps with shadows, faint dirt."""
    _, _, patch, s, t = grid
    weights = np.stack([(1 - s) * (1 - t), s * (1 - t), s * t, (1 - s) * t], 1)[..., None]
    # points on an edge are drawn in a little, out of the wall that the patch may touch
    inner = weights * 0.96 + 0.01
    point = (solid.corners[patch] * inner).sum(1)
    normal = (solid.normals[patch] * weights).sum(1)
    normal /= np.linalg.norm(normal, axis=1, keepdims=True)
    start = point + 0.05 * normal  # in front of pictures and carpets, which would leave a dark rim
    helper = np.where(np.abs(normal[:, :1]) < 0.7, [[1.0, 0, 0]], [[0, 1.0, 0]])
    right = np.cross(normal, helper)
    right /= np.linalg.norm(right, axis=1, keepdims=True)
    up = np.cross(normal, right)
    rays = 12
    total = np.zeros(len(point), np.float32)
    for k in range(rays):  # cosine-weighted directions, the same for every point, so that neighbours agree
        radius, angle = np.sqrt((k + 0.5) / rays), 2.39996 * k
        x, y, z = radius * np.cos(angle), radius * np.sin(angle), np.sqrt((rays - k - 0.5) / rays)
        way = x * right + y * up + z * normal
        total += light.ambient * (1 - 0.2 * way[:, 1]) * (1 - _occluded(scene, start, way, light.reach)) / rays
    if light.sun is not None:
        facing = np.clip(normal @ light.sun, 0, None)
        way = np.broadcast_to(light.sun, point.shape)
        total += light.sun_strength * facing * (1 - _occluded(scene, start, way, 200.0))
    for lamp in light.lamps if light.lamps is not None else ():
        way = lamp - start
        distance2 = (way * way).sum(1)
        facing = np.clip((way * normal).sum(1) / np.sqrt(distance2), 0, None)
        strength = light.lamp_strength * facing / (1.6 + distance2)
        total += strength * (1 - _occluded(scene, start, way, 0.97))
    turns = point * [1, 1, 2 * np.pi / PERIOD]
    dirt = np.sin(turns @ [1.3, 0.7, 47]) + np.sin(turns @ [-2.9, 2.1, 177] + 1) + np.sin(turns @ [0.31, 4.1, -22])
    return np.asarray(total * (1 + 0.03 * dirt), np.float32)


def build_mesh(solid: Solid, tiles: dict[str, int], light: Light) -> Mesh:
    """Triangles, texture and light tables of ``solid``; ``tiles`` maps its materials to tiles of the atlas."""
    corners, order = solid.corners, np.array([[0, 1, 2], [0, 2, 3]])
    triangles = corners[:, order].reshape(-1, 3, 3)
    scene = EmbreeScene(robust=True)
    TriangleMesh(scene, triangles.astype(np.float32))
    grid = _patch_grid(solid, light.spacing)
    size, start = grid[0], grid[1]
    texel = np.array([KINDS[m.split("#")[0]].texel for m in solid.materials])
    fitted = texel == 0
    unit = np.array([[0, 0], [1, 0], [1, 1], [0, 1.0]])
    extent = np.sqrt(np.linalg.norm(np.cross(corners[:, 1] - corners[:, 0], corners[:, 3] - corners[:, 0]), axis=1))
    uv = np.where(fitted[:, None, None], unit * SIZE, solid.uv / np.where(fitted, 1, texel)[:, None, None])
    texel = np.where(fitted, extent / SIZE, texel)
    st = unit * (size.T - 1.0)[:, None]

    def edges(values: NDArray[np.float64]) -> NDArray[np.float64]:
        v = values[:, order]
        return np.concatenate([v[:, :, 0], v[:, :, 1] - v[:, :, 0], v[:, :, 2] - v[:, :, 0]], -1).reshape(-1, 6)

    normal = np.cross(triangles[:, 1] - triangles[:, 0], triangles[:, 2] - triangles[:, 0])
    normal /= np.maximum(np.linalg.norm(normal, axis=1, keepdims=True), 1e-12)
    table = np.concatenate([edges(uv), edges(st), normal, np.log2(np.repeat(texel, 2))[:, None]], 1)
    tile = np.array([tiles[m] for m in solid.materials])
    index = np.stack([tile, start, size[0], size[1], np.arange(len(corners))], 1).repeat(2, axis=0)
    flat = corners.reshape(-1, 3)
    light_map = _bake(scene, solid, light, grid)
    return Mesh(
        scene, table.astype(np.float32), index.astype(np.int32), light_map, np.stack([flat.min(0), flat.max(0)])
    )
