"""Things made of flat four-cornered patches: blocks, lathed shapes, furniture, cars, people, houses, trees.

World and object axes: x right, y down, z ahead; the ground is y = 0, an object faces +z. Lengths in metres.
A patch's corners run top left, top right, bottom right, bottom left as seen from outside.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
Rng = np.random.Generator
Rectangle = tuple[float, float, float, float]  # x from, x to, z from, z to


@dataclass(frozen=True)
class Solid:
    """Patches: ``corners`` and corner ``normals`` N x 4 x 3, surface coordinates ``uv`` N x 4 x 2 in metres and the
    ``materials``, one per patch, written ``kind`` or ``kind#variant``."""

    corners: Array
    normals: Array
    uv: Array
    materials: tuple[str, ...]


def patches(corners: object, materials: Sequence[str], normals: Array | None = None, uv: Array | None = None) -> Solid:
    """Patches with, unless given, their own normals and surface coordinates that start at the first corner."""
    p = np.asarray(corners, float).reshape(-1, 4, 3)
    across, down = p[:, 1] + p[:, 2] - p[:, 0] - p[:, 3], p[:, 2] + p[:, 3] - p[:, 0] - p[:, 1]
    right = across / np.linalg.norm(across, axis=1, keepdims=True)
    normal = -np.cross(across, down)
    normal /= np.linalg.norm(normal, axis=1, keepdims=True)
    if normals is None:
        normals = np.repeat(normal[:, None], 4, 1)
    if uv is None:
        axes = np.stack([right, np.cross(right, normal)], 1)
        uv = np.einsum("nkc,nac->nka", p - p[:, :1], axes)
    return Solid(p, normals, uv, tuple(materials))


def join(*solids: Solid) -> Solid:
    return Solid(
        np.concatenate([s.corners for s in solids]),
        np.concatenate([s.normals for s in solids]),
        np.concatenate([s.uv for s in solids]),
        tuple(m for s in solids for m in s.materials),
    )


def place(solid: Solid, x: float, z: float, yaw: float = 0.0, y: float = 0.0) -> Solid:
    """The solid turned by ``yaw`` (radians, to the right) and moved."""
    c, s = np.cos(yaw), np.sin(yaw)
    turn = np.array([[c, 0, s], [0, 1, 0], [-s, 0, c]])
    return replace(solid, corners=solid.corners @ turn.T + [x, y, z], normals=solid.normals @ turn.T)


def frustum(bottom: Rectangle, y_bottom: float, top: Rectangle, y_top: float, material: str | Sequence[str]) -> Solid:
    """A block whose rectangles at the bottom and top may differ; materials front, back, right, left, top, bottom."""
    b, t = bottom, top
    x = {"-": (t[0], b[0]), "+": (t[1], b[1])}
    z = {"-": (t[2], b[2]), "+": (t[3], b[3])}
    y = (y_top, y_bottom)

    def corner(sx: str, low: int, sz: str) -> list[float]:
        return [x[sx][low], y[low], z[sz][low]]

    def side(left: tuple[str, str], right: tuple[str, str]) -> list[list[float]]:
        return [corner(left[0], 0, left[1]), corner(right[0], 0, right[1]),
                corner(right[0], 1, right[1]), corner(left[0], 1, left[1])]  # fmt: skip

    faces = [
        side(("+", "+"), ("-", "+")),
        side(("-", "-"), ("+", "-")),
        side(("+", "-"), ("+", "+")),
        side(("-", "+"), ("-", "-")),
        [corner("-", 0, "+"), corner("+", 0, "+"), corner("+", 0, "-"), corner("-", 0, "-")],
        [corner("-", 1, "-"), corner("+", 1, "-"), corner("+", 1, "+"), corner("-", 1, "+")],
    ]
    names = [material] * 6 if isinstance(material, str) else list(material)
    size = np.ptp(np.array(faces), axis=1)
    keep = [i for i in range(6) if np.sort(size[i])[1] > 1e-6]  # a ridge has no top
    return patches([faces[i] for i in keep], [names[i] for i in keep])


def block(
    x: float, y: float, z: float, width: float, height: float, length: float, material: str | Sequence[str]
) -> Solid:
    """A box standing at height ``y`` (negative is up) centred on (x, z)."""
    base = (x - width / 2, x + width / 2, z - length / 2, z + length / 2)
    return frustum(base, y, base, y - height, material)


def lathe(profile: Sequence[tuple[float, float]], material: str, sides: int = 10, smooth: bool = False) -> Solid:
    """The profile (radius, y) from top to bottom turned about the y axis."""
    r, y = np.array(profile, float).T
    angles = np.linspace(0, 2 * np.pi, sides + 1)
    direction = np.stack([np.cos(angles), 0 * angles, np.sin(angles)], 1)
    rings = r[:, None, None] * direction + y[:, None, None] * [0, 1, 0]
    slope = np.stack([np.diff(y), -np.diff(r)], 1) / np.hypot(np.diff(r), np.diff(y))[:, None]
    upper, lower = slope, slope
    if smooth:
        corner = np.concatenate([[[0, -1.0]], (slope[1:] + slope[:-1]) / 2, [[0, 1.0]]])
        corner /= np.linalg.norm(corner, axis=1, keepdims=True)
        upper, lower = corner[:-1], corner[1:]
    along = np.concatenate([[0], np.cumsum(np.hypot(np.diff(r), np.diff(y)))])

    def four(grid: Array, low: Array) -> Array:
        """Upper ring ``grid`` and lower ring ``low`` (segments x sides + 1 x C) to the corners of patches."""
        return np.stack([grid[:, :-1], grid[:, 1:], low[:, 1:], low[:, :-1]], 2).reshape(-1, 4, grid.shape[-1])

    lean = [w[:, None, :1] * direction + w[:, None, 1:] * [0, 1, 0] for w in (upper, lower)]
    turn = np.maximum(r[:-1], r[1:])[:, None] * angles
    wrap = [np.stack([turn, np.broadcast_to(a[:, None], turn.shape)], -1) for a in (along[:-1], along[1:])]
    corners = four(rings[:-1], rings[1:])
    return patches(corners, [material] * len(corners), four(*lean), four(*wrap))


def ellipsoid(radius: float, height: float, y: float, material: str, sides: int = 10, rings: int = 6) -> Solid:
    """An ellipsoid with its lowest point at height ``y``."""
    a = np.linspace(0, np.pi, rings + 1)
    profile = list(zip(radius * np.sin(a), y - height / 2 - height / 2 * np.cos(a)))
    return lathe(profile, material, sides, smooth=True)


def post(radius: float, height: float, material: str, y: float = 0.0, sides: int = 8) -> Solid:
    return lathe([(0, y - height), (radius, y - height), (radius, y)], material, sides)


# Furniture stands with its back to z = 0 and reaches to negative z, so that it can be put against a wall.


def cabinet(rng: Rng, width: float, depth: float, height: float) -> Solid:
    v = rng.integers(2)
    parts = [block(0, -0.06, -depth / 2, width, height - 0.06, depth, f"wood#{v}")]
    parts.append(block(0, 0, -depth / 2, width - 0.06, 0.06, depth - 0.06, "dark"))
    doors = max(1, round(width / 0.5))
    for k in range(doors):
        x = (k + 0.5) * width / doors - width / 2
        parts.append(block(x, -0.1, -depth, width / doors - 0.03, height - 0.14, 0.03, f"wood#{1 - v}"))
        parts.append(block(x + 0.15, -height * 0.5, -depth - 0.03, 0.02, 0.12, 0.02, "dark"))
    for _ in range(int(rng.integers(0, 3))):
        w, h, d = rng.uniform(0.15, 0.3, 3)
        box = block(0, 0, 0, w, h, d, "cardboard#0")
        parts.append(place(box, rng.uniform(-0.35, 0.35) * width, -depth / 2, rng.uniform(-1, 1), -height))
    return join(*parts)


def shelf(rng: Rng, width: float, depth: float, height: float) -> Solid:
    wood = f"wood#{rng.integers(2)}"
    parts = [block(s * width / 2, 0, -depth / 2, 0.03, height, depth, wood) for s in (-1, 1)]
    parts.append(block(0, 0, -0.01, width, height, 0.02, wood))
    levels = max(2, round(height / 0.38))
    for k in range(levels + 1):
        y = -k * (height - 0.03) / levels
        parts.append(block(0, y, -depth / 2, width, 0.03, depth, wood))
        if k < levels:
            filled = rng.uniform(0.4, 0.95) * (width - 0.1)
            books = block(
                (filled - width) / 2 + 0.04, y - 0.03, -depth / 2, filled, rng.uniform(0.22, 0.29), depth * 0.8, "books"
            )
            parts.append(books)
    return join(*parts)


def table(rng: Rng, width: float, depth: float, height: float) -> Solid:
    wood = f"wood#{rng.integers(2)}"
    parts = [block(0, 0.05 - height, -depth / 2, width, 0.05, depth, wood)]
    for sx in (-1, 1):
        for z in (-0.06, 0.06 - depth):
            parts.append(block(sx * (width / 2 - 0.06), 0, z, 0.06, height - 0.05, 0.06, wood))
    for _ in range(int(rng.integers(2, 5))):
        w, h, d = rng.uniform(0.08, 0.25, 3)
        thing = block(0, 0, 0, w, h, d, str(rng.choice(["books", "cardboard#1", "paint#0"])))
        if rng.random() < 0.4:
            thing = lathe([(0, -h), (w / 2, -h), (w / 3, -h / 2), (w / 2, 0)], "paint#1", 12)
        x, z = rng.uniform(-0.4, 0.4) * width, -rng.uniform(0.2, 0.8) * depth
        parts.append(place(thing, x, z, rng.uniform(-2, 2), -height))
    return join(*parts)


def chair(rng: Rng) -> Solid:
    wood = f"wood#{rng.integers(2)}"
    legs = [block(x, 0, z, 0.04, 0.45, 0.04, wood) for x in (-0.19, 0.19) for z in (-0.05, -0.43)]
    seat = block(0, -0.45, -0.24, 0.45, 0.05, 0.45, "cloth#0")
    back = block(0, -0.55, -0.04, 0.42, 0.4, 0.03, wood)
    return join(seat, back, *legs, *[block(x, -0.45, -0.04, 0.04, 0.5, 0.04, wood) for x in (-0.19, 0.19)])


def sofa(width: float) -> Solid:
    cloth = "cloth#1"
    parts = [block(0, -0.08, -0.45, width, 0.34, 0.9, cloth), block(0, -0.42, -0.12, width, 0.42, 0.24, cloth)]
    parts += [block(s * (width / 2 - 0.1), -0.42, -0.5, 0.2, 0.2, 0.8, cloth) for s in (-1, 1)]
    parts += [place(block(0, 0, 0, 0.4, 0.38, 0.12, "carpet#1"), x * width, -0.32, x, -0.43) for x in (-0.25, 0.2)]
    return join(*parts, block(0, 0, -0.45, width - 0.1, 0.08, 0.8, "dark"))


def plant(rng: Rng) -> Solid:
    pot = lathe([(0, -0.36), (0.2, -0.36), (0.14, 0)], "roof", 12)
    crowns = [place(ellipsoid(rng.uniform(0.15, 0.3), rng.uniform(0.3, 0.6), -rng.uniform(0.4, 0.9), "leaves#0", 9, 5),
                    *rng.uniform(-0.15, 0.15, 2)) for _ in range(4)]  # fmt: skip
    return place(join(pot, post(0.03, 0.7, "wood#0", -0.3), *crowns), 0, -0.35)


def floor_lamp() -> Solid:
    shade = lathe([(0.14, -1.65), (0.24, -1.35)], "cloth#2", 12)
    return place(join(post(0.14, 0.03, "dark"), post(0.015, 1.4, "dark"), shade), 0, -0.3)


def cartons(rng: Rng) -> Solid:
    w = rng.uniform(0.35, 0.55)
    low = place(block(0, 0, 0, w, w * 0.8, w, "cardboard#0"), 0, -0.35, rng.uniform(-0.3, 0.3))
    return join(
        low, place(block(0, 0, 0, w * 0.7, w * 0.6, w * 0.6, "cardboard#1"), 0, -0.35, rng.uniform(-1, 1), -w * 0.8)
    )


# Things that can move.


def person(rng: Rng) -> Solid:
    h, top, legs = rng.uniform(0.92, 1.08), f"cloth#{rng.integers(3)}", f"cloth#{rng.integers(3)}"
    step = rng.uniform(0.1, 0.25)
    parts = [place(lathe([(0.1, -0.85 * h), (0.07, 0)], legs, 8), s * 0.1, s * step * 0.4) for s in (-1, 1)]
    parts += [block(s * 0.1, 0, s * step * 0.4 + 0.06, 0.1, 0.07, 0.26, "dark") for s in (-1, 1)]
    parts += [place(lathe([(0.06, -1.42 * h), (0.045, -0.85 * h)], top, 8), s * 0.25, -s * 0.06) for s in (-1, 1)]
    parts.append(
        lathe([(0, -1.48 * h), (0.19, -1.44 * h), (0.2, -1.2 * h), (0.16, -0.85 * h), (0, -0.8 * h)], top, 12, True)
    )
    parts.append(ellipsoid(0.1, 0.25, -1.47 * h, "skin", 12, 8))
    return join(*parts, place(ellipsoid(0.107, 0.17, -1.575 * h, "dark", 10, 6), 0, -0.015))


def toy_robot(rng: Rng) -> Solid:
    w, h = rng.uniform(0.3, 0.5), rng.uniform(0.4, 0.8)
    wheels = [place(block(0, 0, 0, 0.06, 0.16, 0.2, "dark"), s * w * 0.4, z) for s in (-1, 1) for z in (-0.12, 0.12)]
    body = block(
        0, -0.1, 0, w, h - 0.1, w * 0.8, ("painting#0", "books", "cardboard#1", "cardboard#1", "paint#0", "dark")
    )
    return join(body, block(0, -h, 0, w * 0.5, 0.2, w * 0.4, "paint#1"), *wheels)


def ball(radius: float) -> Solid:
    """A ball about its own centre."""
    return ellipsoid(radius, 2 * radius, radius, "carpet#0", 16, 10)


def car(rng: Rng, variant: int) -> Solid:
    paint, length, width = f"paint#{variant}", rng.uniform(3.9, 4.7), rng.uniform(1.72, 1.85)
    l2, w2, belt, height = length / 2, width / 2, -rng.uniform(0.85, 0.98), -rng.uniform(1.42, 1.7)
    lower = frustum((-w2 + 0.06, w2 - 0.06, -l2 + 0.1, l2 - 0.1), -0.22, (-w2, w2, -l2, l2), -0.5, paint)
    upper = frustum((-w2, w2, -l2, l2), -0.5, (-w2 + 0.08, w2 - 0.08, -l2 + 0.06, l2 - 0.16), belt, paint)
    rear, front = rng.uniform(0.05, 0.5), rng.uniform(0.9, 1.25)
    sills = (-w2 + 0.09, w2 - 0.09, -l2 + 0.1, l2 - front)
    roof = (-w2 + 0.28, w2 - 0.28, -l2 + 0.2 + rear, l2 - front - 0.75)
    cabin = frustum(sills, belt, roof, height, ("glass", "glass", "glass", "glass", paint, "dark"))
    parts = [lower, upper, cabin]
    z_pillar = (roof[2] + roof[3]) / 2
    for s in (-1, 1):
        inner, outer = sorted((s * (roof[1] - 0.01), s * (roof[1] + 0.005)))
        low_in, low_out = sorted((s * (sills[1] - 0.01), s * (sills[1] + 0.008)))
        parts.append(
            frustum(
                (low_in, low_out, z_pillar - 0.06, z_pillar + 0.06),
                belt,
                (inner, outer, z_pillar - 0.05, z_pillar + 0.05),
                height,
                paint,
            )
        )
        for z in (-l2 + 0.75, l2 - 0.8):
            tyre = lathe([(0, -0.1), (0.2, -0.1), (0.32, -0.1), (0.32, 0.1), (0, 0.1)], "dark", 14)
            parts.append(_axle(tyre, s * (w2 - 0.09), -0.32, z))
        parts.append(block(s * (w2 - 0.3), -0.58, l2 - 0.04, 0.34, 0.14, 0.06, "skin"))
        parts.append(block(s * (w2 - 0.25), -0.58, -l2 + 0.03, 0.3, 0.16, 0.06, "roof"))
    return join(
        *parts, block(0, -0.42, -l2, 0.5, 0.12, 0.03, "plaster#0"), block(0, -0.42, l2, 0.5, 0.12, 0.03, "plaster#0")
    )


def _axle(solid: Solid, x: float, y: float, z: float) -> Solid:
    """The lathed solid with its axis laid along x."""
    lay = np.array([[0.0, 1, 0], [-1, 0, 0], [0, 0, 1]])
    return replace(solid, corners=solid.corners @ lay.T + [x, y, z], normals=solid.normals @ lay.T)


# Things that stand along a street.


def house(rng: Rng, width: float, depth: float, storeys: int, variant: int) -> Solid:
    """A house centred on x = 0 with its front at z = 0, facing -z."""
    h, wall = storeys * 3.0, f"facade#{variant}"
    walls = block(0, 0, depth / 2, width, h, depth, (wall, wall, wall, wall, "roof", "dark"))
    e, ridge = 0.4, rng.uniform(1.5, 3.5)
    base = (-width / 2 - e, width / 2 + e, -e, depth + e)
    top = (-width / 2 - e, width / 2 + e, depth / 2, depth / 2)
    if rng.random() < 0.4:  # hipped
        top = (-width / 4, width / 4, depth / 2, depth / 2)
    gable = ("roof", "roof", "bricks", "bricks", "roof", "roof")
    parts = [walls, frustum(base, -h, top, -h - ridge, gable)]
    x = rng.uniform(-0.3, 0.3) * width
    parts.append(block(x, 0, 0, 1.0, 2.1, 0.16, f"paint#{rng.integers(4)}"))
    parts.append(block(x, 0, -0.3, 1.6, 0.15, 0.6, "pavement"))
    if rng.random() < 0.6:
        parts.append(block(rng.uniform(-0.35, 0.35) * width, -h, depth * 0.6, 0.7, ridge + 0.6, 0.7, "bricks"))
    return join(*parts)


def tree(rng: Rng) -> Solid:
    h, r = rng.uniform(1.8, 2.8), rng.uniform(0.9, 1.7)
    crowns = []
    for size, up in ((1, 0), (0.75, r * 0.6), (0.6, r * 1.1)):
        crown = ellipsoid(r * size, r * size * 1.7, -h - up, f"leaves#{rng.integers(2)}", 10, 7)
        crowns.append(place(crown, *rng.uniform(-0.5, 0.5, 2) * r))
    return join(lathe([(0.1, -h - r), (0.17, 0)], "wood#0", 8), *crowns)


def street_lamp() -> Solid:
    arm = block(0.6, -5.4, 0, 1.2, 0.08, 0.08, "dark")
    return join(lathe([(0.05, -5.5), (0.09, 0)], "asphalt", 8), arm, block(1.1, -5.3, 0, 0.5, 0.1, 0.2, "plaster#0"))


def bin_(rng: Rng) -> Solid:
    return lathe([(0, -0.95), (0.28, -0.9), (0.22, 0)], f"paint#{rng.integers(4)}", 12)
