"""Score one frame under a protocol: bring prediction and ground truth to one size, choose the valid pixels, align,
clamp, compare. ``score_depth`` is the whole of it for a frame on its own, e.g. in a validation step.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import NamedTuple

import torch
from torch import Tensor

from kinodepth.evaluation.alignment import Fit, InverseSums, median_ratio
from kinodepth.evaluation.metrics import depth_errors
from kinodepth.evaluation.protocols import Protocol
from kinodepth.geometry.sampling import resize
from kinodepth.types import InputError


class Pixels(NamedTuple):
    """The valid pixels of one frame: predicted and true depth (1-D, metres) and region masks of the same length."""

    prediction: Tensor
    ground_truth: Tensor
    regions: Mapping[str, Tensor]


def to_one_size(prediction: Tensor, ground_truth: Tensor, protocol: Protocol) -> tuple[Tensor, Tensor]:
    """Prediction and ground truth (both 1 x H x W of any sizes) at the size the protocol compares at."""
    p, g = prediction.detach().float()[None], ground_truth.detach().float()[None]
    if p.shape[-2:] == g.shape[-2:]:
        return p[0], g[0]
    if protocol.resize == "ground_truth_to_prediction":
        return p[0], resize(g, p.shape[-2:], mode="nearest_floor")[0]
    if protocol.resize == "inverse_depth_to_ground_truth":
        return 1 / resize(1 / p.clamp(min=1e-6), g.shape[-2:])[0], g[0]  # a hole (0) cannot be inverted
    return resize(p, g.shape[-2:])[0], g[0]


def valid_mask(ground_truth: Tensor, protocol: Protocol) -> Tensor:
    """Pixels of ``ground_truth`` 1 x H x W that the protocol scores."""
    g, low, high = ground_truth, protocol.min_depth, protocol.max_depth
    in_range = (g >= low) & (g <= high) & (g > 0) if protocol.closed else (g > low) & (g < high)
    if protocol.crop is None:
        return in_range
    window = torch.zeros_like(in_range)
    window[..., *protocol.crop.window(*g.shape[-2:])] = True
    return in_range & window


def select_pixels(
    name: str, prediction: Tensor, ground_truth: Tensor, protocol: Protocol, masks: Mapping[str, Tensor] | None = None
) -> Pixels:
    """The valid pixels of frame ``name`` with the regions of ``masks`` (1 x H x W bool, ground truth size).

    Raises ``InputError`` for a mask of another size and for predictions that are not finite where they count.
    """
    for mask in (masks or {}).values():
        if mask.shape[-2:] != ground_truth.shape[-2:]:
            raise InputError(
                f"the mask of frame {name} is {mask.shape[-1]} x {mask.shape[-2]} but its depth is "
                f"{ground_truth.shape[-1]} x {ground_truth.shape[-2]}; expected equal sizes; remake one of them"
            )
    p, g = to_one_size(prediction, ground_truth, protocol)
    valid = valid_mask(g, protocol)
    size = g.shape[-2:]
    regions = {
        key: mask if mask.shape[-2:] == size else resize(mask[None].float(), size, mode="nearest_floor")[0] > 0.5
        for key, mask in (masks or {}).items()
    }
    p_valid = p[valid]
    if not bool(p_valid.isfinite().all()):
        raise InputError(
            f"the prediction of frame {name} is not finite at {int((~p_valid.isfinite()).sum())} scored pixels; "
            "expected finite positive depth; look at the file or its --quantity"
        )
    return Pixels(p_valid.double(), g[valid].double(), {key: mask[valid] for key, mask in regions.items()})


def finish(aligned: Tensor, protocol: Protocol) -> Tensor:
    """Aligned depth clamped as the protocol says."""
    return aligned if protocol.clamp is None else aligned.clamp(*protocol.clamp)


def score_depth(prediction: Tensor, ground_truth: Tensor, protocol: Protocol) -> dict[str, float]:
    """Errors of one frame (1 x H x W each) under ``protocol``, whose clip is this one frame.

    All NaN when the frame has no valid pixel.
    """
    p, g, _ = select_pixels("", prediction, ground_truth, protocol)
    if not g.numel():
        return dict.fromkeys(protocol.errors, math.nan)
    if protocol.alignment == "none":
        fit = Fit()
    elif protocol.alignment.endswith("shift"):
        fit = InverseSums().add(p, g).fit()
    else:
        fit = Fit(median_ratio(p, g, protocol.median))
    aligned = finish(fit.apply(p, float(g.max())), protocol)
    return depth_errors(aligned, g, g > 0, protocol.errors)
