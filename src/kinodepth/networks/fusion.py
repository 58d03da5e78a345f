"""Fold BatchNorm into the convolution before it: the same numbers to rounding, less to compute in prediction."""

from __future__ import annotations

import copy
from itertools import pairwise
from typing import TypeVar

from torch import nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

Network = TypeVar("Network", bound=nn.Module)


def fuse_batch_norm(network: Network) -> Network:
    """A copy of ``network``, in eval mode, without those BatchNorms that follow a convolution.

    Pairs are recognised by timm's names (``conv1``, ``bn1``, ..) and by being neighbours in an ``nn.Sequential``.
    """
    fused = copy.deepcopy(network).eval()
    for module in list(fused.modules()):
        names = list(module._modules)
        pairs = [(f"conv{i}", f"bn{i}") for i in (1, 2, 3)]
        if isinstance(module, nn.Sequential):
            pairs += list(pairwise(names))
        for first, second in pairs:
            conv, norm = module._modules.get(first), module._modules.get(second)
            if isinstance(conv, nn.Conv2d) and isinstance(norm, nn.BatchNorm2d):
                setattr(module, first, fuse_conv_bn_eval(conv, norm))
                setattr(module, second, nn.Identity())
    return fused
