"""Rotations and rigid transforms. ``a_from_b`` (4 x 4) takes b-coordinates to a: ``x_a = a_from_b @ x_b``.

The only stored pose is ``cam_to_world``. Every function takes any number of leading batch axes.
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

from kinodepth.geometry.camera import product


def pose_matrix(rotation: Tensor, translation: Tensor) -> Tensor:
    """Join rotation ``... x 3 x 3`` and translation ``... x 3`` into ``... x 4 x 4``."""
    top = torch.cat((rotation, translation[..., None]), -1)
    bottom = torch.tensor([0.0, 0.0, 0.0, 1.0], dtype=top.dtype, device=top.device)
    return torch.cat((top, bottom.expand(*top.shape[:-2], 1, 4)), -2)


def invert(a_from_b: Tensor) -> Tensor:
    """Return b_from_a of rigid transforms ``... x 4 x 4``."""
    rotation = a_from_b[..., :3, :3].transpose(-1, -2)
    return pose_matrix(rotation, -product(rotation, a_from_b[..., :3, 3:])[..., 0])


def compose(a_from_b: Tensor, b_from_c: Tensor) -> Tensor:
    """Return a_from_c."""
    return product(a_from_b, b_from_c)


def relative(cam_to_world_a: Tensor, cam_to_world_b: Tensor) -> Tensor:
    """Return a_from_b, the transform from camera b to camera a, of two stored poses ``... x 4 x 4``."""
    return compose(invert(cam_to_world_a), cam_to_world_b)


def move_between(cam_to_world_a: Tensor, cam_to_world_b: Tensor) -> Tensor:
    """As ``relative`` for recorded poses, in double precision and by a true inverse: their rotations are orthogonal to
    a few digits only, and published numbers depend on what that makes of them."""
    return torch.linalg.solve(cam_to_world_a.double(), cam_to_world_b.double())


def transform(a_from_b: Tensor, points: Tensor) -> Tensor:
    """Move points ``... x 3 x H x W`` from b to a by ``... x 4 x 4`` (or 3 x 4)."""
    columns = a_from_b[..., :3, :, None, None].unbind(-3)
    moved = torch.addcmul(columns[3], columns[0], points[..., 0:1, :, :])
    moved = torch.addcmul(moved, columns[1], points[..., 1:2, :, :])
    return torch.addcmul(moved, columns[2], points[..., 2:3, :, :])


def euler_to_matrix(angles: Tensor) -> Tensor:
    """Return Rx(a) Ry(b) Rz(c) of ``... x 3`` right-handed angles (a, b, c) in radians (spec sc_depth 4)."""
    (sx, sy, sz), (cx, cy, cz) = angles.sin().unbind(-1), angles.cos().unbind(-1)
    # fmt: off
    rows = (
        cy * cz, -cy * sz, sy,
        cx * sz + sx * sy * cz, cx * cz - sx * sy * sz, -sx * cy,
        sx * sz - cx * sy * cz, sx * cz + cx * sy * sz, cx * cy,
    )
    # fmt: on
    return torch.stack(rows, -1).unflatten(-1, (3, 3))


def axis_angle_to_matrix(axis_angle: Tensor) -> Tensor:
    """Return the rotation by ``|v|`` radians about ``v`` for ``... x 3`` vectors v; smooth at zero (Rodrigues)."""
    square = axis_angle.square().sum(-1)
    small = square < 1e-4
    safe = torch.where(small, 1.0, square)
    angle = safe.sqrt()
    first = torch.where(small, 1 - square / 6 + square.square() / 120, angle.sin() / angle)
    second = torch.where(small, 0.5 - square / 24 + square.square() / 720, (1 - angle.cos()) / safe)
    x, y, z = axis_angle.unbind(-1)
    zero = torch.zeros_like(x)
    cross = torch.stack((zero, -z, y, z, zero, -x, -y, x, zero), -1).unflatten(-1, (3, 3))
    identity = torch.eye(3, dtype=cross.dtype, device=cross.device)
    return identity + first[..., None, None] * cross + second[..., None, None] * product(cross, cross)


def quaternion_to_matrix(quaternion: Tensor) -> Tensor:
    """Return rotations of ``... x 4`` quaternions (w, x, y, z); they are normalised first, zero is not one."""
    w, x, y, z = (quaternion / quaternion.norm(dim=-1, keepdim=True)).unbind(-1)
    # fmt: off
    rows = (
        1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y),
        2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x),
        2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y),
    )
    # fmt: on
    return torch.stack(rows, -1).unflatten(-1, (3, 3))


def matrix_to_quaternion(rotation: Tensor) -> Tensor:
    """Return unit quaternions (w, x, y, z) with w >= 0 of rotations ``... x 3 x 3``."""
    m00, m01, m02, m10, m11, m12, m20, m21, m22 = rotation.flatten(-2).unbind(-1)
    # Row k is 4 q_k times the quaternion; the row with the largest q_k loses no digits.
    # fmt: off
    rows = (
        1 + m00 + m11 + m22, m21 - m12, m02 - m20, m10 - m01,
        m21 - m12, 1 + m00 - m11 - m22, m10 + m01, m02 + m20,
        m02 - m20, m10 + m01, 1 - m00 + m11 - m22, m21 + m12,
        m10 - m01, m02 + m20, m21 + m12, 1 - m00 - m11 + m22,
    )
    # fmt: on
    table = torch.stack(rows, -1).unflatten(-1, (4, 4))
    best = table.diagonal(dim1=-2, dim2=-1).argmax(-1)
    row = table.gather(-2, best[..., None, None].expand(*best.shape, 1, 4)).squeeze(-2)
    unit = row / row.norm(dim=-1, keepdim=True)
    return torch.where(unit[..., :1] < 0, -unit, unit)


def matrix_to_axis_angle(rotation: Tensor) -> Tensor:
    """Return the rotation vectors ``... x 3`` (radians, length at most pi) of rotations ``... x 3 x 3``."""
    quaternion = matrix_to_quaternion(rotation)
    w, axis = quaternion[..., :1], quaternion[..., 1:]
    square = axis.square().sum(-1, keepdim=True)
    small = square < 1e-8
    sine = torch.where(small, 1, square).sqrt()
    return axis * torch.where(small, 2 + square / 3, 2 * torch.atan2(sine, w) / sine)  # 2 asin(sine) / sine


def pose_from_vector(vector: Tensor, rotation: Literal["euler", "axis_angle", "quaternion"] = "euler") -> Tensor:
    """Read ``... x 6`` network outputs (translation, then rotation) as ``... x 4 x 4``.

    ``quaternion`` means (1, x, y, z) of the last three, normalised (spec sc_depth 4).
    """
    translation, parameters = vector[..., :3], vector[..., 3:]
    if rotation == "quaternion":
        parameters = torch.cat((torch.ones_like(parameters[..., :1]), parameters), -1)
    to_matrix = {"euler": euler_to_matrix, "axis_angle": axis_angle_to_matrix, "quaternion": quaternion_to_matrix}
    return pose_matrix(to_matrix[rotation](parameters), translation)


def pose_distance(a_from_b: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return how far apart two cameras are: (combined, rotation, translation), of ``... x 4 x 4`` each ``...``.

    rotation = sqrt(2 (1 - min(3, trace R) / 3)), translation = |t| in the poses' unit, combined = their root sum of
    squares (spec deep_video_mvs 4). Symmetric.
    """
    trace = a_from_b[..., :3, :3].diagonal(dim1=-2, dim2=-1).sum(-1)
    rotation_square = 2 * (1 - trace.clamp(max=3) / 3)
    translation_square = a_from_b[..., :3, 3].square().sum(-1)
    return (rotation_square + translation_square).sqrt(), rotation_square.sqrt(), translation_square.sqrt()
