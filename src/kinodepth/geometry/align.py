"""Bringing predictions of unknown scale onto measurements: median, scale, scale and shift.

Every function takes tensors of one shape and optionally a bool mask ``valid``: give it one frame for one answer per
frame, or the stacked frames of a clip for one answer of the clip. Whether depth or inverse depth is aligned is the
caller's choice. Computed in float64, returns scalars. Raises ``ValueError`` where no pixel is valid.
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

MedianRule = Literal["mean_of_two", "lower"]


def median(values: Tensor, rule: MedianRule = "mean_of_two") -> Tensor:
    """Return the median of all ``values``; of an even count the mean of the middle two (NumPy) or the lower (torch)."""
    ordered = values.flatten().sort().values
    low, high = ordered[(len(ordered) - 1) // 2], ordered[len(ordered) // 2]
    return low if rule == "lower" else (low + high) / 2


def median_scale(
    prediction: Tensor, target: Tensor, valid: Tensor | None = None, rule: MedianRule = "mean_of_two"
) -> Tensor:
    """Return median(target) / median(prediction)."""
    p, t = _valid(prediction, target, valid)
    return median(t, rule) / median(p, rule)


def least_squares_scale(prediction: Tensor, target: Tensor, valid: Tensor | None = None) -> Tensor:
    """Return the s that minimises the sum of (s prediction - target)^2; 0 for a prediction of zeros."""
    p, t = _valid(prediction, target, valid)
    return _ratio((p * t).sum(), p.square().sum())


def scale_and_shift(prediction: Tensor, target: Tensor, valid: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """Return the s and b that minimise the sum of (s prediction + b - target)^2; s = 0 for a constant prediction."""
    p, t = _valid(prediction, target, valid)
    centred = p - p.mean()
    scale = _ratio((centred * (t - t.mean())).sum(), centred.square().sum())
    return scale, t.mean() - scale * p.mean()


def _ratio(numerator: Tensor, denominator: Tensor) -> Tensor:
    is_usable = denominator > 0
    return torch.where(is_usable, numerator / torch.where(is_usable, denominator, 1), 0)


def _valid(prediction: Tensor, target: Tensor, valid: Tensor | None) -> tuple[Tensor, Tensor]:
    if prediction.shape != target.shape:
        raise ValueError(f"cannot align shape {tuple(prediction.shape)} to {tuple(target.shape)}")
    keep = torch.ones_like(target, dtype=torch.bool) if valid is None else valid
    if not keep.any():
        raise ValueError("no valid pixel to align with")
    return prediction[keep].double(), target[keep].double()
