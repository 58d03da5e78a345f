"""The alignment ladder: how predicted depth of unknown scale is brought onto ground truth, from nothing at all to a
fit per frame. All rungs are scored in one run, because the gap between them is information: scale drift.

* ``none``: as predicted.
* ``per_clip_scale``: one factor, the median over frames of the per-frame median ratios (constant memory).
* ``per_clip_scale_shift``: inverse depth = scale / prediction + shift, least squares over all valid pixels.
* ``per_frame_median``: median(ground truth) / median(prediction) of each frame.
* ``per_frame_scale_shift``: as the clip's scale and shift, fitted to each frame.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import NamedTuple

import torch
from torch import Tensor

from kinodepth.evaluation.protocols import Alignment
from kinodepth.geometry.align import MedianRule, median


class Fit(NamedTuple):
    """Aligned inverse depth = (1 / prediction) / scale + shift; with shift 0 aligned depth = scale x prediction."""

    scale: float = 1.0
    shift: float = 0.0

    def apply(self, prediction: Tensor, farthest: float) -> Tensor:
        """Aligned depth; where the shift leaves no positive inverse depth it is ``farthest`` (metres)."""
        if self.shift == 0:
            return prediction * self.scale
        return 1 / (1 / (prediction * self.scale) + self.shift).clamp(min=1 / farthest)


def median_ratio(prediction: Tensor, ground_truth: Tensor, rule: MedianRule = "mean_of_two") -> float:
    """median(ground truth) / median(prediction), the per-frame scale; NaN without pixels or a positive prediction."""
    if not ground_truth.numel():
        return math.nan
    divisor = float(median(prediction.double(), rule))
    return float(median(ground_truth.double(), rule)) / divisor if divisor > 0 else math.nan


@dataclass
class InverseSums:
    """Exact sums for a least-squares line through (1 / prediction, 1 / ground truth); add frames in any order."""

    sums: Tensor = field(default_factory=lambda: torch.zeros(5, dtype=torch.float64))

    def add(self, prediction: Tensor, ground_truth: Tensor) -> InverseSums:
        """Take in the pixels of one frame; predictions that are not positive cannot be inverted and are left out."""
        usable = prediction > 0
        x, y = 1 / prediction[usable].double(), 1 / ground_truth[usable].double()
        self.sums = self.sums + torch.stack([torch.ones_like(x).sum(), x.sum(), y.sum(), (x * x).sum(), (x * y).sum()])
        return self

    def fit(self) -> Fit:
        """The best line that does not fall; predictions that say nothing get the constant mean inverse depth."""
        n, x, y, xx, xy = (float(v) for v in self.sums)
        if n == 0:
            return Fit(math.nan)
        variance = n * xx - x * x
        slope = (n * xy - x * y) / variance if variance > 1e-12 * n * xx else 0.0
        return Fit(1 / slope, (y - slope * x) / n) if slope > 0 else Fit(math.inf, y / n)


@dataclass
class Ladder:
    """What the first pass over a clip collects, and from it the fit of every rung for every frame."""

    rule: MedianRule = "mean_of_two"
    ratios: list[float] = field(default_factory=list)
    sums: InverseSums = field(default_factory=InverseSums)
    farthest: float = 0.0

    def add(self, prediction: Tensor, ground_truth: Tensor) -> None:
        """Take in the valid pixels (1-D) of the next frame."""
        self.ratios.append(median_ratio(prediction, ground_truth, self.rule))
        self.sums.add(prediction, ground_truth)
        if ground_truth.numel():
            self.farthest = max(self.farthest, float(ground_truth.max()))

    @property
    def known_ratios(self) -> Tensor:
        ratios = torch.tensor(self.ratios, dtype=torch.float64)
        return ratios[ratios.isfinite()]

    @property
    def clip_scale(self) -> float:
        """The clip's one factor."""
        return float(median(self.known_ratios, self.rule)) if self.known_ratios.numel() else math.nan

    @property
    def scale_drift(self) -> float:
        """Standard deviation over frames of ln(per-frame scale): 0 = one scale fits all, 0.1 = about 10 %."""
        known = self.known_ratios
        return float(known.log().std(correction=0)) if known.numel() else math.nan

    def fits(self, prediction: Tensor, ground_truth: Tensor) -> dict[Alignment, Fit]:
        """Each rung's fit for the frame with these valid pixels (1-D)."""
        return {
            "none": Fit(),
            "per_clip_scale": Fit(self.clip_scale),
            "per_clip_scale_shift": self.sums.fit(),
            "per_frame_median": Fit(median_ratio(prediction, ground_truth, self.rule)),
            "per_frame_scale_shift": InverseSums().add(prediction, ground_truth).fit(),
        }
