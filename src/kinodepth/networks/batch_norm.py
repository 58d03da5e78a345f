"""BatchNorm that keeps the statistics of several network calls apart, and can join those of several processes.

Published training code calls a network once per image of a window, and each call normalises with its own batch. Here
the G calls are one forward: sample b of call g is batch item b * G + g, so that a contiguous B*G x C x H x W batch is
also B x G*C x H x W and one kernel does all groups.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, distributed, nn
from torch.nn import functional as F


class BatchNorm2d(nn.BatchNorm2d):
    """``nn.BatchNorm2d`` for a training batch of ``groups`` calls (set through ``batch_groups``).

    Each group is normalised by its own statistics and the running statistics take the groups one after the other, so
    that the outputs, gradients and buffers are those of separate calls. With ``is_joint`` and several processes in
    ``torch.distributed``, the statistics are those of the batch of all processes (of equal size), on any device.
    """

    running_mean: Tensor
    running_var: Tensor
    num_batches_tracked: Tensor
    momentum: float
    groups = 1
    is_joint = False

    def forward(self, x: Tensor) -> Tensor:
        processes = distributed.get_world_size() if self.is_joint and distributed.is_initialized() else 1
        if not self.training or (self.groups == 1 and processes == 1):
            return super().forward(x)
        x_grouped = x.contiguous().view(-1, self.groups * x.shape[1], *x.shape[2:])
        scale, shift = self.weight.repeat(self.groups), self.bias.repeat(self.groups)
        if processes == 1:
            mean, variance = torch.zeros_like(scale), torch.zeros_like(scale)  # filled, as momentum is 1
            y = F.batch_norm(x_grouped, mean, variance, scale, shift, True, 1.0, self.eps)
        else:
            y, mean, variance = _joint_batch_norm(x_grouped, scale, shift, self.eps, processes)
        self._track(mean.view(self.groups, -1), variance.view(self.groups, -1))
        return y.view_as(x)

    @torch.no_grad()
    def _track(self, means: Tensor, variances: Tensor) -> None:
        for mean, variance in zip(means, variances):
            self.running_mean.mul_(1 - self.momentum).add_(mean, alpha=self.momentum)
            self.running_var.mul_(1 - self.momentum).add_(variance, alpha=self.momentum)
        self.num_batches_tracked.add_(self.groups)


class _Average(torch.autograd.Function):
    """The average over processes; so is the gradient's sum, which each process has a share in."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, processes: int) -> Tensor:
        ctx.processes = processes
        total = x.clone()
        distributed.all_reduce(total)
        return total / processes

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        total = gradient.clone()
        distributed.all_reduce(total)
        return total / ctx.processes, None


def _joint_batch_norm(
    x: Tensor, scale: Tensor, shift: Tensor, eps: float, processes: int
) -> tuple[Tensor, Tensor, Tensor]:
    """Normalised ``x`` with the mean and unbiased variance per channel of all processes' ``x`` together."""
    dtype, x = x.dtype, x.to(torch.promote_types(x.dtype, torch.float32))
    variance, mean = torch.var_mean(x, (0, 2, 3), correction=0)
    joint_mean = _Average.apply(mean, processes)
    joint_variance = _Average.apply(variance + (mean - joint_mean).square(), processes)
    gain = scale * (joint_variance + eps).rsqrt()
    y = x * gain[:, None, None] + (shift - joint_mean * gain)[:, None, None]
    count = x.numel() // x.shape[1] * processes
    return y.to(dtype), joint_mean.detach(), joint_variance.detach() * count / (count - 1)


@contextmanager
def batch_groups(network: nn.Module, groups: int) -> Iterator[None]:
    """Let every ``BatchNorm2d`` of ``network`` see ``groups`` calls in the batch, inside the block."""
    layers = [module for module in network.modules() if isinstance(module, BatchNorm2d)]
    for layer in layers:
        layer.groups = groups
    try:
        yield
    finally:
        for layer in layers:
            layer.groups = 1


def join_processes(network: nn.Module, is_joint: bool = True) -> None:
    """Let every ``BatchNorm2d`` of ``network`` use the joint batch of all processes (or its own again)."""
    for module in network.modules():
        if isinstance(module, BatchNorm2d):
            module.is_joint = is_joint
