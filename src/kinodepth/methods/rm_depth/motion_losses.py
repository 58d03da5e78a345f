"""Regularisers of the object-motion field (spec rm_depth 5.3 to 5.5).

``field`` T_obj B x 3 x H x W and ``translation`` t_cam B x 3 in the depth's unit; every loss is a scalar, the mean over
the images of a batch. What the paper's Eqs. 12 and 13 are is not known: the outlier-aware loss is [our choice], built
to the required properties P1 to P6; the square-root sparsity and the group smoothness are those of Li et al. (CoRL
2020) [prior work].
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F


def motion_scale(field: Tensor, translation: Tensor) -> Tensor:
    """The root mean square B of ||t_cam + T_obj|| over an image, without gradient [detaching: our choice]."""
    total = (translation[..., None, None] + field).detach()
    return (total.square().sum(1).mean((1, 2)) + 1e-12).sqrt()


def rigid_by_size(field: Tensor, kappa: float = 1.0) -> Tensor:
    """Where motion is at most ``kappa`` times its mean over the image: B x 1 x H x W bool, no gradient (mode mag)."""
    size = field.detach().norm(dim=1, keepdim=True)
    largest = kappa * size.mean((2, 3), keepdim=True)
    return size <= largest * (1 + 1e-5) + 1e-12


def rigid_by_error(rigid_error: Tensor, full_error: Tensor, slack: float = 0.0) -> Tensor:
    """Where object motion does not lower the photometric error B x 1 x H x W: bool, no gradient (mode photo)."""
    return rigid_error.detach() <= full_error.detach() + slack


def outlier_aware_loss(field: Tensor, translation: Tensor, rigid: Tensor) -> Tensor:
    """Mean over all pixels of ||T_obj||_1 where ``rigid`` (B x 1 x H x W), by the scale of motion.

    True object motion is an outlier of the rigid model: it gets neither penalty nor gradient.
    """
    penalty = torch.where(rigid, field, 0).abs().sum(1).mean((1, 2))
    return (penalty / motion_scale(field, translation)).mean()


def sqrt_sparsity_loss(field: Tensor, translation: Tensor) -> Tensor:
    """Mean over pixels and components of 2 mu sqrt(q / mu + 1), q = |T_obj| by the scale of motion, mu its mean."""
    size = (field / motion_scale(field, translation)[:, None, None, None]).abs()
    mean = size.detach().mean((2, 3), keepdim=True)
    return (2 * mean * (size / (mean + 1e-24) + 1).sqrt()).mean()


def group_smoothness_loss(field: Tensor, translation: Tensor, wrap: bool = False) -> Tensor:
    """Mean over pixels and components of sqrt(dx^2 + dy^2 + 1e-24), backward differences, by the scale of motion.

    ``wrap``: differences around the border, as in Li et al.; else the first row and column are left out.
    """
    relative = field / motion_scale(field, translation)[:, None, None, None]
    if wrap:
        relative = F.pad(relative, (1, 0, 1, 0), mode="circular")
    across = relative[..., 1:, 1:] - relative[..., 1:, :-1]
    down = relative[..., 1:, 1:] - relative[..., :-1, 1:]
    return (across.square() + down.square() + 1e-24).sqrt().mean()
