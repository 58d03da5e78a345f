"""Depth, inverse depth, bounded network outputs and plane hypotheses."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

from kinodepth.types import InputError


def invert_depth(depth: Tensor) -> Tensor:
    """Return 1 / depth, and 0 where ``depth`` is not positive (no measurement); its own inverse."""
    known = depth > 0
    return torch.where(known, 1 / torch.where(known, depth, 1), 0)


def relative_inverse_to_depth(inverse: Tensor, contrast: float = 100.0) -> Tensor:
    """Return a depth for ``... x H x W`` inverse depth up to an unknown factor and shift; 0 where it is not finite.

    The shift cannot be known: it is taken as 0, or as what lifts the lowest value of the picture to 0; what would then
    be more than ``contrast`` times as far as the nearest pixel is put there. The order of depths is right whatever
    the shift was, and flat surfaces stay flat (inverse depth of a plane is linear in the pixels); angles are not kept.
    """
    known = torch.isfinite(inverse)
    lowest = torch.where(known, inverse, torch.inf).amin((-2, -1), keepdim=True).clamp(max=0)
    lifted = torch.where(known, inverse - lowest, 0)
    highest = lifted.amax((-2, -1), keepdim=True)
    depth = 1 / torch.where(highest > 0, torch.maximum(lifted, highest / contrast), 1)
    return torch.where(known, depth, 0)


def sigmoid_to_inverse_depth(value: Tensor, near: float, far: float) -> Tensor:
    """Map a sigmoid output in [0, 1] linearly to the inverse depths 1 / ``far`` (at 0) to 1 / ``near`` (at 1)."""
    return value * (1 / near - 1 / far) + 1 / far


def sigmoid_to_depth(value: Tensor, near: float, far: float) -> Tensor:
    """Map a sigmoid output in [0, 1] to depths from ``far`` (at 0) to ``near`` (at 1), linear in inverse depth."""
    return 1 / sigmoid_to_inverse_depth(value, near, far)


def plane_depths(
    count: int,
    near: float,
    far: float,
    spacing: Literal["inverse", "linear"] = "inverse",
    dtype: torch.dtype = torch.float32,
    device: torch.device | str | None = None,
) -> Tensor:
    """Return ``count`` plane hypotheses from ``far`` (plane 0) to ``near``, evenly spaced in inverse depth or in depth.

    Unit of ``near`` and ``far``. Raises ``InputError`` unless 0 < near < far and there are at least two.
    """
    if not (0 < near < far and count >= 2):
        raise InputError(f"{count} planes from {near} to {far} make no plane sweep; expected 0 < near < far, 2 or more")
    ends = (far, near) if spacing == "linear" else (1 / far, 1 / near)
    steps = torch.linspace(*ends, count, dtype=torch.float64)
    return (steps if spacing == "linear" else 1 / steps).to(dtype=dtype, device=device)
