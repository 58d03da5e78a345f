"""The photometric baseline loss (spec dynamic_multiframe 9.2): sparse depth, and neighbours like the keyframe.

Images B x 3 x H x W in [0, 1]; V neighbours; inverse depth in 1 / metres.
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional as F

from kinodepth.geometry.depth import invert_depth
from kinodepth.geometry.pose import move_between
from kinodepth.geometry.sampling import SamplingConvention, sample
from kinodepth.geometry.warp import inverse_warp
from kinodepth.losses.reduction import masked_mean
from kinodepth.losses.smoothness import edge_aware_smoothness_loss
from kinodepth.methods.dynamic_multiframe.config import DynamicMultiframeConfig
from kinodepth.methods.dynamic_multiframe.losses import full_size
from kinodepth.methods.dynamic_multiframe.model import Outputs
from kinodepth.types import Clip, Convention

WINDOW = ((0.0947, 0.1183, 0.0947), (0.1183, 0.1478, 0.1183), (0.0947, 0.1183, 0.0947))
C1, C2 = 0.01**2, 0.03**2
SMOOTHNESS = 1e-3  # weight at the finest size, halved at each coarser one


def photometric_error(a: Tensor, b: Tensor) -> Tensor:
    """Return 0.85 (1 - SSIM) / 2 + 0.15 |a - b|, B x 1 x H x W, means over channels, zeros beyond the border."""
    window = torch.tensor(WINDOW, device=a.device).expand(a.shape[1], 1, 3, 3)

    def mean(x: Tensor) -> Tensor:
        return F.conv2d(x, window.to(x.dtype), padding=1, groups=x.shape[1])

    mean_a, mean_b = mean(a), mean(b)
    variances = mean(a.square()) - mean_a.square(), mean(b.square()) - mean_b.square()
    covariance = mean(a * b) - mean_a * mean_b
    similarity = (2 * mean_a * mean_b + C1) * (2 * covariance + C2)
    similarity = similarity / ((mean_a.square() + mean_b.square() + C1) * (variances[0] + variances[1] + C2))
    structure = (1 - similarity).clamp(0, 1) / 2
    return 0.85 * structure.mean(1, keepdim=True) + 0.15 * (a - b).abs().mean(1, keepdim=True)


def reprojection_errors(
    inverse: Tensor,
    keyframe: Tensor,
    frames: Tensor,
    frame_from_keyframe: Tensor,
    intrinsics: Tensor,
    automask: bool = False,
    border: int = 0,
    convention: Convention = "exact",
) -> Tensor:
    """Return the errors B x V x H x W of ``frames`` B x V x 3 x H x W seen from the keyframe; inf: does not count.

    With ``automask`` those do not that the unmoved frame undercuts; the outer ``border`` pixels of it never.
    """
    found = []
    corners: SamplingConvention = "mixed_corners" if convention == "published" else "exact"
    for frame, move in zip(frames.unbind(1), frame_from_keyframe.unbind(1)):
        warped = inverse_warp(frame + 1, 1 / inverse, move, intrinsics, convention=convention)
        valid = warped.image[:, :1] != 0
        if convention == "exact":
            valid = valid & warped.valid
        if border:
            inner = F.pad(torch.ones_like(inverse)[..., border:-border, border:-border], [border] * 4)
            valid = sample(inner, warped.pixels, convention=corners) > 0.5
        error = photometric_error(warped.image - 1, keyframe)
        if automask:
            valid = valid & (photometric_error(frame, keyframe) >= error)
        found.append(torch.where(valid, error, torch.inf))
    return torch.cat(found, 1)


def reprojection_loss(errors: Tensor, over: Literal["min", "avg"] = "min") -> Tensor:
    """Mean over pixels of the least (or mean) error B x V x H x W of the neighbours that count; 0 without any."""
    counts = errors.isfinite()
    mean = torch.where(counts, errors, 0).sum(1) / counts.sum(1).clamp(min=1)
    joined = errors.amin(1) if over == "min" else mean
    valid = counts.any(1)
    return masked_mean(torch.where(valid, joined, 0), valid)


def self_supervised_loss(inverse: Tensor, errors: Tensor, keyframe: Tensor, level: int) -> Tensor:
    """Reprojection (least of the neighbours) and smoothness of size ``level`` (0 = finest)."""
    return reprojection_loss(errors) + SMOOTHNESS / 2**level * edge_aware_smoothness_loss(inverse, keyframe)


def photometric_terms(
    outputs: Outputs, clip: Clip, config: DynamicMultiframeConfig
) -> tuple[dict[str, Tensor], dict[str, float]]:
    """Terms of the final inverse depths of a batch and their weights: sparse 8 alpha, photometric 2 (1 - alpha)."""
    assert clip.cam_to_world is not None
    assert clip.depth is not None
    t, others = clip.target, list(clip.sources)
    keyframe, poses = clip.images[:, t], clip.cam_to_world
    moves = move_between(poses[:, others], poses[:, t : t + 1].expand_as(poses[:, others])).to(keyframe)
    truth = invert_depth(clip.depth[:, t])
    terms: dict[str, Tensor] = {}
    weights: dict[str, float] = {}
    for level, values in enumerate(outputs.final):
        inverse = full_size(values, truth.shape[-2:])
        terms[f"sparse_{level}"] = masked_mean((inverse - truth).abs(), truth > 0)
        errors = reprojection_errors(
            inverse, keyframe, clip.images[:, others], moves, clip.intrinsics, True, convention=config.convention
        )
        terms[f"photometric_{level}"] = self_supervised_loss(inverse, errors, keyframe, level)
        weights |= {f"sparse_{level}": 8 * config.alpha, f"photometric_{level}": 2 * (1 - config.alpha)}
    return terms, weights
