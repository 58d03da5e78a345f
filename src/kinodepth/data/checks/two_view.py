"""What two views of tracked points say: how much of the motion a rotation explains, and whether a pose fits."""

from __future__ import annotations

import numpy as np
from scipy.spatial.transform import Rotation

from kinodepth.data.checks.tracking import Array
from kinodepth.types import Camera

NEAREST = 0.02  # no point is nearer than this many baselines: inverse depth is bounded


def rays(points: Array, camera: Camera) -> Array:
    """N x 3 directions (z = 1) of N x 2 pixels."""
    x, y = (points[:, 0] - camera.cx) / camera.fx, (points[:, 1] - camera.cy) / camera.fy
    return np.stack([x, y, np.ones_like(x)], 1).astype(np.float64)


def pixels(directions: Array, camera: Camera) -> Array:
    """N x 2 pixels of N x 3 points; what is behind the camera goes far away."""
    z = np.maximum(directions[:, 2:], 1e-3)
    return directions[:, :2] / z * [camera.fx, camera.fy] + [camera.cx, camera.cy]


def rotation_residual(a: Array, b: Array, camera: Camera) -> Array:
    """The pixels (N) that the best rotation leaves between tracked points: parallax, noise, moving objects.

    The rotation minimises the sum of absolute angles (re-weighted Kabsch), so that a minority of moving points does not
    turn it.
    """
    before, after = (d / np.linalg.norm(d, axis=1, keepdims=True) for d in (rays(a, camera), rays(b, camera)))
    weights = np.ones(len(a))
    for _ in range(12):
        rotation, _ = Rotation.align_vectors(after, before, weights)
        turned = rotation.apply(before)
        weights = 1 / np.maximum(np.linalg.norm(turned - after, axis=1), 1e-4)
    return np.linalg.norm(pixels(turned, camera) - b, axis=1)


def pose_residual(a: Array, b: Array, camera: Camera, b_from_a: Array) -> tuple[Array, Array, Array]:
    """How far tracked points are from where a pose allows them to be, with a depth in front of the camera of their own.

    Returns pixels (N), the inverse depth (N, 1 / unit of the pose) that fits best, and the parallax it means in pixels.
    """
    turned, after, t = rays(a, camera) @ b_from_a[:3, :3].T, rays(b, camera), b_from_a[:3, 3]
    left, right = np.cross(after, turned), np.cross(after, np.broadcast_to(t, after.shape))
    inverse = -(left * right).sum(1) / np.maximum((right * right).sum(1), 1e-18)
    inverse = np.clip(inverse, 0, 1 / (NEAREST * max(float(np.linalg.norm(t)), 1e-9)))
    there, far = pixels(turned + inverse[:, None] * t, camera), pixels(turned, camera)
    return np.linalg.norm(there - b, axis=1), inverse, np.linalg.norm(there - far, axis=1)
