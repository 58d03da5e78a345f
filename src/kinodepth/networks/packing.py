"""Convolutions with weights laid out once for the processor, their (leaky) ReLU done on the way out.

The library's own convolution reorders its weights (and under autocast converts them) at every call: for maps of few
pixels and many channels that costs more than the convolution.
"""

from __future__ import annotations

from typing import TypeVar

import torch
from torch import Tensor, nn

Network = TypeVar("Network", bound=nn.Module)


class PackedConv2d(nn.Module):
    """``conv`` for prediction on a processor, in the type of its input or of autocast; ``after`` follows it."""

    def __init__(self, conv: nn.Conv2d, after: nn.ReLU | nn.LeakyReLU | None) -> None:
        super().__init__()
        self.conv, self.after = conv, after
        self.how: tuple[str, list[float]] = ("none", []) if after is None else ("relu", [])
        if isinstance(after, nn.LeakyReLU):
            self.how = "leaky_relu", [after.negative_slope]
        self.packed: dict[torch.dtype, tuple[Tensor, Tensor | None]] = {}

    def forward(self, x: Tensor) -> Tensor:
        conv = self.conv
        dtype = torch.get_autocast_dtype("cpu") if torch.is_autocast_enabled("cpu") else x.dtype
        if not _packs(dtype):
            return conv(x) if self.after is None else self.after(conv(x))
        where = (conv.padding, conv.stride, conv.dilation, conv.groups)
        if dtype not in self.packed:
            weight = conv.weight.detach().to(dtype)
            bias = None if conv.bias is None else conv.bias.detach().to(dtype)
            self.packed[dtype] = torch.ops.mkldnn._reorder_convolution_weight(weight, *where, x.shape), bias
        return torch.ops.mkldnn._convolution_pointwise(x.to(dtype), *self.packed[dtype], *where, *self.how, "")


def pack_convolutions(network: Network) -> Network:
    """``network``, changed: its convolutions packed if it is on a processor whose library can do that.

    A ReLU, plain or leaky, that follows a convolution in an ``nn.Sequential`` (identities in between do not count) is
    done with it.
    """
    at_home = all(parameter.device.type == "cpu" for parameter in network.parameters())
    if not (at_home and torch.backends.mkldnn.is_available()):
        return network
    for module in list(network.modules()):
        for name, child in list(module._modules.items()):
            if type(child) is not nn.Conv2d or isinstance(child.padding, str) or child.padding_mode != "zeros":
                continue
            after = _following(module, name) if isinstance(module, nn.Sequential) else None
            if after is None:
                setattr(module, name, PackedConv2d(child, None))
                continue
            setattr(module, name, PackedConv2d(child, getattr(module, after)))
            setattr(module, after, nn.Identity())
    return network


def _packs(dtype: torch.dtype) -> bool:
    """Whether this processor has packed convolutions of ``dtype``."""
    if dtype == torch.bfloat16:
        return bool(torch.ops.mkldnn._is_mkldnn_bf16_supported())
    return dtype == torch.float32


def _following(sequence: nn.Sequential, name: str) -> str | None:
    """The name of the (leaky) ReLU that is next after ``name``, None if it is something else."""
    names = list(sequence._modules)
    for other in names[names.index(name) + 1 :]:
        if not isinstance(sequence._modules[other], nn.Identity):
            return other if isinstance(sequence._modules[other], nn.ReLU | nn.LeakyReLU) else None
    return None
