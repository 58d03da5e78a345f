"""Depth errors of one image and their two averages. The unit is part of a name wherever there is one: ``_m`` metres
(or scene units when the prediction has no metres), ``_per_m`` inverse metres; the others are plain ratios.

Sources: spec sc_depth section 13.3, spec deep_video_mvs section 5; rows are per image, in double precision.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

ERRORS: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "abs_rel": lambda p, g: ((p - g).abs() / g).mean(),
    "sq_rel_m": lambda p, g: ((p - g) ** 2 / g).mean(),
    "rmse_m": lambda p, g: ((p - g) ** 2).mean().sqrt(),
    "rmse_log": lambda p, g: ((p.log() - g.log()) ** 2).mean().sqrt(),
    "log10": lambda p, g: (p.log10() - g.log10()).abs().mean(),
    "delta_1": lambda p, g: _within(p, g, 1.25),
    "delta_2": lambda p, g: _within(p, g, 1.25**2),
    "delta_3": lambda p, g: _within(p, g, 1.25**3),
    "abs_diff_m": lambda p, g: (p - g).abs().mean(),
    "abs_inverse_per_m": lambda p, g: (1 / p - 1 / g).abs().mean(),
}
ROOT_MEAN_SQUARE = frozenset({"rmse_m", "rmse_log"})
HIGHER_IS_BETTER = frozenset({"delta_1", "delta_2", "delta_3"})
DEEP_VIDEO_MVS = ("abs_diff_m", "abs_rel", "abs_inverse_per_m", "sq_rel_m", "rmse_m", "delta_1", "delta_2", "delta_3")


def _within(prediction: Tensor, ground_truth: Tensor, factor: float) -> Tensor:
    ratio = torch.maximum(prediction / ground_truth, ground_truth / prediction)
    return torch.where(ratio.isnan(), ratio, (ratio < factor).to(ratio)).mean()  # NaN is no miss but no answer


def depth_errors(
    prediction: Tensor, ground_truth: Tensor, valid: Tensor | None = None, names: Sequence[str] = tuple(ERRORS)
) -> dict[str, float]:
    """Compare two depth maps of one image (any equal shapes, metres) on the pixels of ``valid``.

    The prediction must be aligned already. Without a valid pixel every error is NaN. ``valid`` defaults to the
    pixels with ground truth above 0. Spec sc_depth 13.3; ``abs_inverse_per_m`` from spec deep_video_mvs 5.
    """
    valid = ground_truth > 0 if valid is None else valid
    p, g = prediction[valid].double(), ground_truth[valid].double()
    if not g.numel():
        return dict.fromkeys(names, math.nan)
    return {name: float(ERRORS[name](p, g)) for name in names}


def deep_video_mvs_errors(
    prediction: Tensor, ground_truth: Tensor, max_depth: float = math.inf, min_depth: float = 0.5
) -> dict[str, float]:
    """The eight errors of DeepVideoMVS in their order, on ``min_depth`` <= ground truth <= ``max_depth`` (metres).

    No condition on the prediction; eight NaN without a valid pixel (spec deep_video_mvs section 5).
    """
    valid = (ground_truth >= min_depth) & (ground_truth <= max_depth)
    return depth_errors(prediction, ground_truth, valid, DEEP_VIDEO_MVS)


def mean_over_images(errors: Tensor) -> Tensor:
    """Average rows ``errors`` F x E with equal weight per image; images without pixels (NaN) are left out."""
    return errors.nanmean(0)


def pooled_over_pixels(errors: Tensor, pixels: Tensor, names: Sequence[str]) -> Tensor:
    """Average as if all pixels of all images (rows F x E, ``pixels`` F) were one image; exact, also for the RMS."""
    root = torch.tensor([name in ROOT_MEAN_SQUARE for name in names])
    counts = pixels.double()[:, None]
    squared = torch.where(root, errors**2, errors)
    mean = torch.where(counts > 0, squared * counts, 0.0).sum(0) / counts.sum()
    return torch.where(root, mean.sqrt(), mean)
