"""Averages over the pixels that count."""

from __future__ import annotations

import torch
from torch import Tensor, distributed


def masked_mean(values: Tensor, mask: Tensor, more_than: int = 0) -> Tensor:
    """Average ``values`` where ``mask`` (bool or 0/1, broadcast to them) is set; a scalar.

    With no more than ``more_than`` such values (SC-Depth: 100) the result is 0 with zero gradient.

    While gradients are recorded in a ``torch.distributed`` group of n processes, the count is summed over the group and
    the result multiplied by n: the average of gradients (DDP) is then exactly the gradient of the joint batch. So
    every process has to make the same calls; under ``no_grad`` the mean is the process's own.
    """
    mask = mask.bool().expand_as(values)
    count = mask.sum()
    share = 1
    if distributed.is_available() and distributed.is_initialized() and torch.is_grad_enabled():
        share = distributed.get_world_size()
        if share > 1:
            distributed.all_reduce(count)
    total = torch.where(mask, values, 0).sum()
    return torch.where(count > more_than, total * share / count.clamp(min=1), 0)


def process_mean(values: Tensor) -> Tensor:
    """Average ``values``, which need no gradient, over the processes of a group as ``masked_mean`` does its count."""
    if not (distributed.is_available() and distributed.is_initialized() and torch.is_grad_enabled()):
        return values
    total = values.clone()
    distributed.all_reduce(total)
    return total / distributed.get_world_size()
