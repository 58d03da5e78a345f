"""Depth should change where the picture changes."""

from __future__ import annotations

from torch import Tensor


def damped_steps(values: Tensor, guide: Tensor) -> Tensor:
    """Return the mean horizontal plus the mean vertical step of ``values`` B x 1 x H x W; a scalar.

    A step counts exp(-mean over channels |step of guide B x C x H x W|) (spec mining_supervision 5).
    """
    total = values.new_zeros(())
    for axis in (2, 3):
        damping = guide.diff(dim=axis).abs().mean(1, keepdim=True).neg().exp()
        total = total + (values.diff(dim=axis).abs() * damping).mean()
    return total


def edge_aware_smoothness_loss(values: Tensor, image: Tensor) -> Tensor:
    """Return ``damped_steps`` of ``values`` B x 1 x H x W divided by their image's mean + 1e-7; a scalar.

    ``values`` are depth in SC-Depth, sigmoid disparity in Monodepth2 (spec sc_depth 6).
    """
    return damped_steps(values / (values.mean((2, 3), keepdim=True) + 1e-7), image)
