"""Errors of single objects, each brought to its own scale: the shape of objects, whatever their distance."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from kinodepth.evaluation.alignment import median_ratio
from kinodepth.evaluation.metrics import depth_errors
from kinodepth.evaluation.protocols import SEVEN


def object_errors(
    prediction: Tensor,
    ground_truth: Tensor,
    instances: Tensor,
    valid: Tensor,
    limits: tuple[float, float] = (1e-3, 80.0),
    names: Sequence[str] = SEVEN,
) -> Tensor:
    """Rows N x E of the objects of one frame that have a ``valid`` pixel, ascending in id.

    ``prediction`` and ``ground_truth`` 1 x H x W metres, ``instances`` 1 x H x W ids (0 = none), ``valid`` 1 x H x W
    bool. Each object is scaled by its own median ratio, then clamped to ``limits`` (spec mining_supervision 8).
    """
    rows = []
    for number in instances[instances > 0].unique().tolist():
        inside = valid & (instances == number)
        if bool(inside.any()):
            p, g = prediction[inside], ground_truth[inside]
            rows.append(list(depth_errors((p * median_ratio(p, g)).clamp(*limits), g, g > 0, names).values()))
    return torch.tensor(rows, dtype=torch.float64).reshape(-1, len(names))
