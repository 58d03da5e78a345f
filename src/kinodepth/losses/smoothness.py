"""Depth should change where the picture changes."""

from __future__ import annotations

from torch import Tensor


def edge_aware_smoothness_loss(values: Tensor, image: Tensor) -> Tensor:
    """Return the mean horizontal plus the mean vertical step of ``values``, damped at image edges; a scalar.

    ``values`` B x 1 x H x W (SC-Depth: depth; Monodepth2: sigmoid disparity) are divided by their image's mean + 1e-7;
    a step counts exp(-mean over channels |step of image B x C x H x W|) (spec sc_depth 6).
    """
    relative = values / (values.mean((2, 3), keepdim=True) + 1e-7)
    total = values.new_zeros(())
    for axis in (2, 3):
        damping = image.diff(dim=axis).abs().mean(1, keepdim=True).neg().exp()
        total = total + (relative.diff(dim=axis).abs() * damping).mean()
    return total
