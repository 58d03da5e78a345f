"""Scores of optical flow and of what moves by itself, against truth such as that of synthetic scenes."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import torch
from torch import Tensor

from kinodepth.types import InputError

OUTLIER_PIXELS, OUTLIER_SHARE = 3.0, 0.05  # of the true flow: an error above both is one (KITTI 2015)


def end_point_error(flow: Tensor, truth: Tensor) -> Tensor:
    """Distance in pixels, ... x 1 x H x W, between two flows ... x 2 x H x W."""
    return (flow.double() - truth.double()).norm(dim=-3, keepdim=True)


def intersection_over_union(mask: Tensor, truth: Tensor) -> float:
    """IoU of two masks of one shape; NaN where both are empty."""
    found, true = mask != 0, truth != 0
    union = int((found | true).sum())
    return int((found & true).sum()) / union if union else math.nan


@dataclass
class MotionMeter:
    """Sums over the pixels of all frames, in constant memory."""

    sums: dict[str, Tensor] = field(default_factory=dict)
    both: int = 0
    either: int = 0

    def add(
        self, flow: Tensor, truth: Tensor, moving: Tensor, mask: Tensor | None = None, valid: Tensor | None = None
    ) -> None:
        """Take in a frame: ``flow`` and ``truth`` 2 x H x W pixels, the true ``moving`` mask 1 x H x W, the predicted
        ``mask``, and which pixels count. Raises ``InputError`` when sizes differ."""
        if not flow.shape[-2:] == truth.shape[-2:] == moving.shape[-2:]:
            raise InputError(
                f"flow {tuple(flow.shape[-2:])}, truth {tuple(truth.shape[-2:])} and mask {tuple(moving.shape[-2:])} "
                "differ in size; expected one; resize the flow (and its values) first"
            )
        counts = torch.isfinite(truth).all(0, keepdim=True)
        counts = counts if valid is None else counts & valid
        error, dynamic = end_point_error(flow, truth), moving != 0
        wrong = (error > OUTLIER_PIXELS) & (error > OUTLIER_SHARE * truth.double().norm(dim=0, keepdim=True))
        for name, region in (("all", counts), ("static", counts & ~dynamic), ("dynamic", counts & dynamic)):
            row = torch.stack([region.sum().double(), error[region].sum(), wrong[region].sum().double()])
            self.sums[name] = self.sums.get(name, torch.zeros(3, dtype=torch.float64)) + row
        if mask is not None:
            found = (mask != 0) & counts
            self.both += int((found & dynamic).sum())
            self.either += int((found | (dynamic & counts)).sum())

    def summary(self) -> dict[str, float]:
        """``epe_px`` and ``outliers`` (share of errors above 3 pixels and 5 %) by region, ``moving_iou`` over all
        pixels of all frames; NaN where nothing was counted."""
        found = {}
        for name, (count, error, wrong) in self.sums.items():
            found[f"epe_px {name}"] = float(error / count) if count else math.nan
            found[f"outliers {name}"] = float(wrong / count) if count else math.nan
        return found | {"moving_iou": self.both / self.either if self.either else math.nan}
