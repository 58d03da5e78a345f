"""How different two pictures look, pixel by pixel. Inputs B x C x H x W in whatever range the method uses.

Window averages are the dearest part of a self-supervised training step outside the networks, hence the two
hand-written derivatives.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F


class WindowStatistics(NamedTuple):
    """Window means of an image and of its square, B x C x H x W: what SSIM needs of an image used in many pairs."""

    mean: Tensor
    mean_square: Tensor


def running_sum(x: Tensor, window: int, axis: int) -> Tensor:
    """Sum every ``window`` neighbours along ``axis``, which becomes shorter by window - 1, in O(log window) passes."""
    size = x.shape[axis] - window + 1
    total, offset, length = None, 0, 1
    while True:  # x holds sums of ``length`` neighbours: 1, 2, 4 ...; the bits of ``window`` say which to add
        if window & length:
            part = x.narrow(axis, offset, size)
            total = part if total is None else total + part
            offset += length
        if 2 * length > window:
            assert total is not None
            return total
        rest = x.shape[axis] - length
        x = x.narrow(axis, 0, rest) + x.narrow(axis, length, rest)
        length *= 2


class _WindowMean(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, window: int) -> Tensor:
        ctx.window = window
        half = window // 2
        padded = F.pad(x, (half, half, half, half), mode="reflect")
        return running_sum(running_sum(padded, window, 2), window, 3).div_(window * window)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        half = ctx.window // 2
        gradient = F.pad(gradients[0] / ctx.window**2, [2 * half] * 4)
        for axis in (3, 2):
            spread = running_sum(gradient, ctx.window, axis)
            size = spread.shape[axis] - 2 * half
            gradient = spread.narrow(axis, half, size)
            # what fell on the reflected border belongs to the pixels it was copied from
            gradient.narrow(axis, 1, half).add_(spread.narrow(axis, 0, half).flip(axis))
            gradient.narrow(axis, size - 1 - half, half).add_(spread.narrow(axis, size + half, half).flip(axis))
        return gradient, None


class _SsimError(torch.autograd.Function):
    """(1 - n1 n2 / (d1 d2)) / 2, clamped, of the window means; in few passes over memory."""

    @staticmethod
    def forward(ctx: Any, *inputs: Any) -> Tensor:
        mean_a, mean_b, square_a, square_b, mean_ab, c1, c2 = inputs
        n1 = mean_a * mean_b
        n2 = (mean_ab - n1).mul_(2).add_(c2)
        n1.mul_(2).add_(c1)
        d1 = (mean_a * mean_a).addcmul_(mean_b, mean_b)
        d2 = (square_a + square_b).sub_(d1).add_(c2)
        d1.add_(c1)
        ratio = (n1 * n2).div_(d1 * d2)
        ctx.save_for_backward(mean_a, mean_b, n1, n2, d1, d2, ratio)
        return (0.5 - ratio / 2).clamp_(0, 1)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        mean_a, mean_b, n1, n2, d1, d2, ratio = ctx.saved_tensors
        common = torch.where(ratio.abs() <= 1, gradients[0], 0).mul_(-0.5)
        by_square = (common * ratio).div_(d2).neg_()
        common.div_(d1).div_(d2)
        by_product = common * n1  # of mean_ab, half of it
        by_means = (n2 - n1).mul_(common)  # times 2 mean_b for mean_a and the other way round
        by_norm = by_square + common * n1 * n2 / d1  # both denominators hold the squared means
        grad_a = 2 * (mean_b * by_means - mean_a * by_norm) if ctx.needs_input_grad[0] else None
        grad_b = 2 * (mean_a * by_means - mean_b * by_norm) if ctx.needs_input_grad[1] else None
        return grad_a, grad_b, by_square, by_square, by_product.mul_(2), None, None


def window_mean(x: Tensor, window: int) -> Tensor:
    """Average ``x`` B x C x H x W over ``window`` x ``window`` pixels (odd), reflected at the border."""
    return _WindowMean.apply(x, window)


def window_statistics(image: Tensor, window: int = 7) -> WindowStatistics:
    """Precompute what ``ssim_error`` needs of ``image`` B x C x H x W."""
    return WindowStatistics(window_mean(image, window), window_mean(image.square(), window))


def ssim_error(
    a: Tensor,
    b: Tensor,
    window: int = 7,
    c1: float = 0.01**2,
    c2: float = 0.03**2,
    a_statistics: WindowStatistics | None = None,
) -> Tensor:
    """Return (1 - SSIM) / 2 clamped to [0, 1], B x C x H x W, with a uniform window and biased variances.

    Defaults: SC-Depth (spec sc_depth 5.1); Monodepth2 has ``window=3``. ``a_statistics`` must be of the same window.
    """
    mean_a, square_a = a_statistics or window_statistics(a, window)
    mean_b, square_b = window_statistics(b, window)
    return _SsimError.apply(mean_a, mean_b, square_a, square_b, window_mean(a * b, window), c1, c2)


def l1_error(a: Tensor, b: Tensor) -> Tensor:
    """Return the mean over channels of |a - b|, B x 1 x H x W."""
    return (a - b).abs().mean(1, keepdim=True)
