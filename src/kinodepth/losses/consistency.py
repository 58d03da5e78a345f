"""Do the depths of two views describe the same surface?"""

from __future__ import annotations

import torch
from torch import Tensor

EPSILON = 1e-7


def depth_inconsistency(computed: Tensor, sampled: Tensor) -> Tensor:
    """Return |computed - sampled| / (computed + sampled), B x 1 x H x W (SC-Depth D_geo, spec sc_depth 5.1).

    ``computed`` is the target's depth carried into the source camera, ``sampled`` the source's own depth there. In
    [0, 1] for positive depths, 1 where nothing was sampled (0); outside [0, 1] when a point lies behind the camera.
    Where the sum vanishes, 1e-7 stands in for it, so that value and gradient stay finite.
    """
    total = computed + sampled
    return (computed - sampled).abs() / torch.where(total.abs() < EPSILON, EPSILON, total)
