"""Camera trajectories: absolute and relative pose error, and the text of TUM and KITTI trajectory files.

Alignment is Umeyama's closed form (IEEE PAMI 1991). Poses are ``cam_to_world`` N x 4 x 4.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from kinodepth.geometry.pose import matrix_to_quaternion
from kinodepth.types import InputError

SNIPPET = 5  # frames


class Similarity(NamedTuple):
    """y = scale * rotation @ x + translation."""

    scale: float
    rotation: Tensor
    translation: Tensor


def umeyama(source: Tensor, target: Tensor, with_scale: bool = True) -> Similarity:
    """The least-squares similarity that takes points ``source`` N x 3 to ``target`` N x 3 (Umeyama 1991, eq. 40-43)."""
    if source.shape != target.shape or source.shape[0] < 2:
        raise InputError(
            f"trajectories have {source.shape[0]} and {target.shape[0]} poses; expected the same number, at least 2"
        )
    source, target = source.double(), target.double()
    s_mean, t_mean = source.mean(0), target.mean(0)
    s, t = source - s_mean, target - t_mean
    u, d, v = torch.linalg.svd(t.T @ s / len(s))
    sign = torch.ones(3, dtype=torch.float64)
    sign[2] = torch.sign(torch.linalg.det(u) * torch.linalg.det(v))
    rotation = u @ torch.diag(sign) @ v
    variance = float((s**2).sum() / len(s))
    scale = float((d * sign).sum()) / variance if with_scale and variance > 0 else 1.0
    return Similarity(scale, rotation, t_mean - scale * rotation @ s_mean)


def absolute_trajectory_error(predicted: Tensor, true: Tensor, with_scale: bool = True) -> float:
    """ATE: RMS distance (unit of ``true``) of camera centres after similarity (or rigid) alignment."""
    fit = umeyama(predicted[:, :3, 3], true[:, :3, 3], with_scale)
    moved = fit.scale * predicted[:, :3, 3].double() @ fit.rotation.T + fit.translation
    return float(((moved - true[:, :3, 3].double()) ** 2).sum(1).mean().sqrt())


def relative_pose_error(predicted: Tensor, true: Tensor, step: int = 1, scale: float = 1.0) -> tuple[float, float]:
    """RPE over ``step`` frames: RMS translation (unit of ``true``) and RMS rotation (degrees).

    ``scale`` multiplies the predicted translations first (``umeyama(...).scale``).
    """
    if len(predicted) != len(true) or len(true) <= step:
        raise InputError(
            f"trajectories have {len(predicted)} and {len(true)} poses; expected the same number, above {step}"
        )
    predicted = predicted.double().clone()
    predicted[:, :3, 3] *= scale
    p = torch.linalg.inv(predicted[:-step]) @ predicted[step:]
    t = torch.linalg.inv(true.double()[:-step]) @ true.double()[step:]
    error = torch.linalg.inv(t) @ p
    cosine = ((error[:, :3, :3].diagonal(dim1=1, dim2=2).sum(1) - 1) / 2).clamp(-1, 1)
    return float((error[:, :3, 3] ** 2).sum(1).mean().sqrt()), float((cosine.acos().rad2deg() ** 2).mean().sqrt())


def tum_text(timestamps: list[float], cam_to_world: Tensor) -> str:
    """Lines ``timestamp tx ty tz qx qy qz qw`` (seconds, metres)."""
    quaternions = matrix_to_quaternion(cam_to_world[:, :3, :3].double())
    rows = torch.cat([cam_to_world[:, :3, 3].double(), quaternions.roll(-1, 1)], 1).tolist()
    return "".join(
        f"{t:.6f} " + " ".join(f"{v:.9g}" for v in row) + "\n" for t, row in zip(timestamps, rows, strict=True)
    )


def kitti_text(cam_to_world: Tensor) -> str:
    """Lines of 12 numbers, the upper 3 x 4 of each pose row by row (metres)."""
    return "".join(" ".join(f"{v:.9g}" for v in row) + "\n" for row in cam_to_world[:, :3].reshape(-1, 12).tolist())


def chain(moves: Tensor) -> Tensor:
    """Poses N+1 x 4 x 4 of N relative ones (frame i + 1 in the camera of frame i), starting at the identity."""
    poses = [torch.eye(4, dtype=torch.float64)]
    for move in moves.double():
        poses.append(poses[-1] @ move)
    return torch.stack(poses)


def snippet_error(predicted: Tensor, true: Tensor) -> float:
    """How far a short predicted trajectory N x 4 x 4 is off, both seen from their first camera, after scaling by
    sum(gt * pred) / sum(pred^2): root of the summed squares, divided by N only then (SfMLearner; spec rm_depth 8)."""
    p, t = ((torch.linalg.inv(poses[0].double()) @ poses.double())[:, :3, 3] for poses in (predicted, true))
    scale = (t * p).sum() / p.square().sum().clamp(min=1e-30)
    return float((t - scale * p).square().sum().sqrt()) / len(t)


def snippet_errors(predicted: Tensor, true: Tensor, length: int = 5) -> tuple[float, float]:
    """Mean and standard deviation of ``snippet_error`` over all snippets of ``length`` frames of two trajectories."""
    if len(predicted) != len(true) or len(true) < length:
        raise InputError(
            f"trajectories have {len(predicted)} and {len(true)} poses; expected the same number, at least {length}"
        )
    starts = range(len(true) - length + 1)
    errors = torch.tensor([snippet_error(predicted[i : i + length], true[i : i + length]) for i in starts])
    return float(errors.mean()), float(errors.std(correction=0))


def trajectory_errors(predicted: Tensor, true: Tensor) -> dict[str, float]:
    """What ``kinodepth evaluate`` says of a predicted trajectory against poses in metres, frame by frame.

    ATE after alignment by rotation, shift and scale; RPE from each frame to the next with that scale, in metres and
    degrees; the error of snippets of five frames where there are as many (each with a scale of its own).
    """
    scale = umeyama(predicted[:, :3, 3], true[:, :3, 3]).scale
    moved, turned = relative_pose_error(predicted, true, scale=scale)
    found = {"poses": float(len(true)), "scale": scale, "ate_m": absolute_trajectory_error(predicted, true)}
    found |= {"rpe_m": moved, "rpe_degrees": turned}
    if len(true) >= SNIPPET:
        found["snippet_m"], found["snippet_std_m"] = snippet_errors(predicted, true, SNIPPET)
    return found
