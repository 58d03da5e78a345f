"""Which of two pixels is farther, as another network's depth tells it: right order without right scale."""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional as F

from kinodepth.losses.reduction import masked_mean


def order_labels(first: Tensor, second: Tensor, ratio: float = 1.15, is_inclusive: bool = False) -> Tensor:
    """Return +1 where ``first`` is ``ratio`` times farther than ``second``, -1 where it is nearer, 0 where neither.

    Depths in any one unit, of any shape. Ratios follow IEEE: x / 0 is a clear order, 0 / 0 and NaN are none.
    ``is_inclusive`` counts the very ratio as farther (spec sc_depth 8.2, pairs of the first set).
    """
    farther = first / second
    is_farther = farther >= ratio if is_inclusive else farther > ratio
    return is_farther.to(first.dtype) - (second / first > ratio).to(first.dtype)


def ranking_loss(first: Tensor, second: Tensor, labels: Tensor) -> Tensor:
    """Return the mean log(1 + exp(-label (first - second))) of the labelled pairs of depths; a scalar.

    0 with zero gradient when no pair has a label; finite for any contrast (SC-Depth V3, spec 8.2; 14, 2 and 3).
    """
    return masked_mean(F.softplus(-labels * (first - second)), labels != 0)
