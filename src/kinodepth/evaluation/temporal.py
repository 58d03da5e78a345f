"""Temporal consistency: does the depth of a static point stay the same from frame to frame once the camera's own
motion is taken out? Flicker that comes from colour maps is not seen here, only depth that really changes.

``temporal_abs_rel``: static pixels of frame t are carried into frame t-1 by depth and poses; mean of
|depth there - expected depth| / the larger of the two, then mean over pairs: 0 is perfect, 1 the worst.
``temporal_scale_jitter``: mean over pairs of |ln median(depth there / expected depth)|, how far the whole frame is off
by one factor; unlike the former it has no upper bound. Occluded pixels are not taken out, so moving cameras leave a
small floor even for exact depth.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from kinodepth.geometry.camera import back_project, pixel_grid, project
from kinodepth.geometry.pose import relative, transform
from kinodepth.geometry.sampling import resize, sample
from kinodepth.types import Camera, Prediction, Record


def pair_consistency(
    depth: Tensor,
    other_depth: Tensor,
    other_from_this: Tensor,
    intrinsics: Tensor,
    other_intrinsics: Tensor | None = None,
    static: Tensor | None = None,
    other_static: Tensor | None = None,
    optical_flow: Tensor | None = None,
) -> tuple[float, float]:
    """Compare ``depth`` (1 x H x W) with ``other_depth`` (1 x H' x W') at the places its static points move to.

    ``other_from_this`` 4 x 4 in the unit of the depths; intrinsics 3 x 3 in pixels of the respective depth; ``static``
    and ``other_static`` bool of their depth's size. Places come from the rigid motion or, if given, from
    ``optical_flow`` (2 x H x W, pixels of the other). Returns (mean relative error, ln of the median ratio), NaN when
    no static point is seen in both.
    """
    depth, other = depth.double()[None], other_depth.double()[None]
    moved = transform(other_from_this.double()[None], back_project(depth, intrinsics.double()[None]))
    to = intrinsics if other_intrinsics is None else other_intrinsics
    pixels, expected = project(moved, to.double()[None])
    if optical_flow is not None:
        height, width = depth.shape[-2:]
        pixels = (pixel_grid(height, width, torch.float64, depth.device) + optical_flow.double())[None]
    height, width = other.shape[-2:]
    x, y = pixels[:, :1], pixels[:, 1:]
    eps = 1e-6  # rounding must not lose the border of an unmoving picture
    seen = (x >= -eps) & (x <= width - 1 + eps) & (y >= -eps) & (y <= height - 1 + eps) & (expected > 0)
    found = sample(other, pixels, padding="border")
    seen = seen & (found > 0) & (depth > 0)
    if static is not None:
        seen = seen & static[None]
    if other_static is not None:
        seen = seen & (sample(other_static[None].double(), pixels, padding="border", mode="nearest") > 0.5)
    if not bool(seen.any()):
        return math.nan, math.nan
    ratio = (found / expected)[seen]
    return float((1 - torch.minimum(ratio, 1 / ratio)).mean()), float(ratio.median().log())


class TemporalMeter:
    """Feeds consecutive predictions of a clip to ``pair_consistency``; keeps one frame.

    ``clip_scale`` is metres per unit of the predictions, to bring the poses into the predictions' unit.
    """

    def __init__(self, clip_scale: float) -> None:
        self._clip_scale = clip_scale
        self._last: tuple[Prediction, Camera, Tensor, Tensor | None] | None = None
        self._pairs: list[tuple[float, float]] = []

    def add(self, prediction: Prediction, record: Record, moving: Tensor | None) -> None:
        """Take in the next frame; without a camera or a finite pose it only breaks the chain."""
        height, width = prediction.depth.shape[-2:]
        camera = prediction.camera or (record.camera.resize(width, height) if record.camera else None)
        pose = record.cam_to_world
        if camera is None or pose is None or not bool(pose.isfinite().all()):
            self._last = None
            return
        static = None
        if moving is not None:
            static = resize((moving == 0)[None].float(), (height, width), mode="nearest")[0] > 0.5
        if self._last is not None and math.isfinite(self._clip_scale):
            last, last_camera, last_pose, last_static = self._last
            motion = relative(last_pose.double(), pose.double()).clone()
            motion[:3, 3] /= self._clip_scale
            k, last_k = camera.matrix(torch.float64), last_camera.matrix(torch.float64)
            pair = pair_consistency(prediction.depth, last.depth, motion, k, last_k, static, last_static)
            self._pairs.append(pair)
        self._last = (prediction, camera, pose, static)

    def summary(self) -> dict[str, float]:
        """The clip's numbers; empty when no pair of frames had cameras and poses."""
        if not self._pairs:
            return {}
        errors = torch.tensor(self._pairs, dtype=torch.float64)
        return {
            "temporal_abs_rel": float(errors[:, 0].nanmean()),
            "temporal_scale_jitter": float(errors[:, 1].abs().nanmean()),
            "temporal_pairs": float(len(self._pairs)),
        }
