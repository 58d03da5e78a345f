"""A second device for machines that have none: its tensors lie in the processor's memory, and whoever mixes them with
others is told, as a graphics card would.

It has no drawing of random numbers and no fast kernels, and cannot tell how a real device rounds. Registering it is for
the whole process and cannot be taken back: use it in a process of its own, inside ``with PretendDevice():``. It stands
on what PyTorch offers for devices that are written in Python, which is experimental there.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_map
from torch.utils.backend_registration import _setup_privateuseone_for_python_backend

NAME = "pretend"
_setup_privateuseone_for_python_backend(NAME)
getattr(torch, NAME).get_amp_supported_dtype = lambda: [torch.bfloat16]  # asked for even where autocast is turned off
DEVICE = torch.device(NAME, 0)


class Elsewhere(Tensor):
    """A tensor of the pretended device; ``here`` is where its values lie."""

    here: Tensor

    @staticmethod
    def __new__(cls, here: Tensor) -> Elsewhere:
        found = Tensor._make_wrapper_subclass(
            cls, here.shape, here.stride(), here.storage_offset(), dtype=here.dtype, device=DEVICE
        )
        found.here = here
        return found

    @classmethod
    def __torch_dispatch__(cls, operation: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return run(operation, args, kwargs or {})

    def tolist(self) -> Any:
        return self.here.tolist()

    def new_tensor(self, data: Any, **options: Any) -> Tensor:
        return Tensor.new_tensor(self.here, data, **options).to(self.device)

    def __getitem__(self, place: Any) -> Tensor:  # lists become tensors on the device before anybody sees them
        places = place if isinstance(place, tuple) else (place,)
        return Tensor.__getitem__(self, tuple(PLAIN["tensor"](p) if isinstance(p, list) else p for p in places))


class PretendDevice(TorchDispatchMode):
    """Makes ``DEVICE`` known to every function that takes a device."""

    def __enter__(self) -> Any:
        for name in PLAIN:
            setattr(torch, name, _made_here_first(PLAIN[name]))
        torch._VF.gru_cell = _gru_cell
        torch.inference_mode = _no_grad
        return super().__enter__()

    def __torch_dispatch__(self, operation: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return run(operation, args, kwargs or {})


def run(operation: Any, args: Any, kwargs: dict[str, Any]) -> Any:
    """``operation`` on the processor; raises ``RuntimeError`` where a real device would not take the arguments."""
    name = operation.name()
    tensors = [leaf for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, Tensor)]
    there = [tensor for tensor in tensors if isinstance(tensor, Elsewhere)]
    target = kwargs.get("device")
    goes_there = target is not None and torch.device(target).type == NAME
    copies = name in ("aten::copy_", "aten::_to_copy")
    if there and not copies:
        strangers = [tensor for tensor in tensors if not isinstance(tensor, Elsewhere)]
        if name not in ("aten::stack", "aten::cat"):  # single numbers are welcome elsewhere, and places to look up
            strangers = [t for t in strangers if t.ndim and not ("index" in name and not t.is_floating_point())]
        if strangers:
            raise RuntimeError(f"{name} mixes devices: {[tuple(tensor.shape) for tensor in strangers]} are elsewhere")
    if (there or goes_there) and kwargs.get("generator") is not None:
        raise RuntimeError(f"{name} draws on the device with a generator of the processor")
    plain = {key: torch.device("cpu") if key == "device" and goes_there else value for key, value in kwargs.items()}
    args, plain = tree_map(lambda leaf: leaf.here if isinstance(leaf, Elsewhere) else leaf, (args, plain))
    found = operation(*args, **plain)
    if name == "aten::copy_":
        return tensors[0]
    if goes_there or (there and target is None):
        same = {id(tensor.here): tensor for tensor in there}  # of operations in place
        return tree_map(lambda leaf: same.get(id(leaf), Elsewhere(leaf)) if isinstance(leaf, Tensor) else leaf, found)
    return found


def _made_here_first(function: Callable[..., Tensor]) -> Callable[..., Tensor]:
    """torch.tensor and its like reach the device without being dispatched."""

    def make(data: Any, *args: Any, device: Any = None, **options: Any) -> Tensor:
        made = function(data, *args, **options)
        return made if device is None else made.to(device)

    return make


PLAIN: dict[str, Callable[..., Tensor]] = {name: getattr(torch, name) for name in ("tensor", "as_tensor")}


class _no_grad(torch.no_grad):  # noqa: N801 - stands for inference_mode, which tensors made in Python do not know
    def __init__(self, mode: bool = True) -> None:
        super().__init__()


def _gru_cell(x: Tensor, hidden: Tensor, wi: Tensor, wh: Tensor, bi: Tensor, bh: Tensor) -> Tensor:
    """The cell in single operations, for it has a fused kernel on devices alone."""
    given, kept = F.linear(x, wi, bi).chunk(3, 1), F.linear(hidden, wh, bh).chunk(3, 1)
    reset, update = (given[0] + kept[0]).sigmoid(), (given[1] + kept[1]).sigmoid()
    new = (given[2] + reset * kept[2]).tanh()
    return new + update * (hidden - new)
