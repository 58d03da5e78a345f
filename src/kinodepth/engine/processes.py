"""Devices, processes and number formats: everything that ``accelerate`` does for the loop."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from accelerate import Accelerator
from accelerate.utils import DistributedDataParallelKwargs, convert_outputs_to_fp32
from torch import Tensor, nn

from kinodepth.types import InputError


def start_processes(device: str, accumulate: int) -> Accelerator:
    """The device and processes to work on. Raises ``InputError`` for a device that is not there."""
    if device == "cuda" and not torch.cuda.is_available():
        raise InputError("there is no usable CUDA device; expected one for --device cuda; use --device auto or cpu")
    torch.backends.cudnn.benchmark = True
    return Accelerator(
        cpu=device == "cpu" or not torch.accelerator.is_available(),  # else processors would not find each other
        mixed_precision="no",  # accelerate would run the losses in low precision too; see networks_in
        gradient_accumulation_steps=accumulate,
        kwargs_handlers=[DistributedDataParallelKwargs(find_unused_parameters=True)],
    )


def choose_precision(asked: str, device: torch.device) -> str:
    """``asked``, or for "auto" bf16 where ``device`` computes faster in it."""
    if asked != "auto":
        return asked
    capable = torch.cuda.is_bf16_supported() if device.type == "cuda" else torch.cpu.get_capabilities().get("amx_bf16")
    return "bf16" if capable else "fp32"


@contextmanager
def networks_in(precision: str, model: nn.Module, device: torch.device) -> Iterator[None]:
    """Run every part of ``model`` in ``precision`` (fp32 or bf16) inside the block; their outputs are float32.

    Only the networks: geometry and losses need the digits of float32. So do depthwise convolutions on a processor:
    the library's bf16 gradients of them take 3 to 13 times as long as those of float32.
    """
    if precision == "fp32":
        yield
        return
    parts = list(model.children())
    slow = [module for module in model.modules() if _is_depthwise(module)] if device.type == "cpu" else []
    for part in parts:
        part.forward = convert_outputs_to_fp32(torch.autocast(device.type, torch.bfloat16)(part.forward))
    for conv in slow:
        conv.forward = _in_float32(conv.forward)
    try:
        yield
    finally:
        for module in (*parts, *slow):
            del module.forward


def _is_depthwise(module: nn.Module) -> bool:
    return isinstance(module, nn.Conv2d) and 1 < module.groups == module.in_channels


def _in_float32(forward: Callable[[Tensor], Tensor]) -> Callable[[Tensor], Tensor]:
    def apply(x: Tensor) -> Tensor:
        with torch.autocast(x.device.type, enabled=False):
            return forward(x.float()).to(x.dtype)

    return apply


def gather(accelerator: Accelerator, values: Mapping[str, Tensor]) -> dict[str, Any]:
    """``values`` (scalars named "group/name" or "name") as nested dicts of numbers, means over the processes."""
    # A method may make scalars on the processor, such as how far a ramp has come.
    together = torch.stack([value.float().to(accelerator.device) for value in values.values()])
    means = accelerator.reduce(together, "mean").tolist()
    nested: dict[str, Any] = {"loss": {}}
    for name, mean in zip(values, means):
        group, _, inner = name.rpartition("/")
        (nested.setdefault(group, {}) if group else nested)[inner] = mean
    return nested
