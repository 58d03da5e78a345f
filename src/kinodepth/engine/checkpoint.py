"""Checkpoints of a run: ``last`` and ``best`` weights for use, and one state file to resume from.

The state file alone holds weights, optimiser, schedule and step, so that a kill at any moment leaves one consistent
step; the weights files are copies for prediction. All are replaced atomically, none contains anything but plain tensors
and numbers.
"""

from __future__ import annotations

import io
import pickle
from pathlib import Path
from typing import Any

import torch
from torch import nn

from kinodepth.data.files import atomic
from kinodepth.methods.weights import save_weights
from kinodepth.types import InputError

State = dict[str, Any]


def folder(run: Path) -> Path:
    return run / "checkpoints"


def save(run: Path, method: str, model: nn.Module, state: State) -> None:
    """Write ``state`` (plus the weights of ``model``) to resume from, then the ``last`` weights.

    Serialised in memory first: a full disk then shows as the OSError of one plain write, with the old file intact.
    """
    buffer = io.BytesIO()
    torch.save({**state, "model": model.state_dict()}, buffer)
    path = folder(run) / "last.state"
    path.parent.mkdir(parents=True, exist_ok=True)
    with atomic(path) as temporary:
        temporary.write_bytes(buffer.getbuffer())
    save_weights_of(run, "last", method, model, state["step"])


def save_weights_of(run: Path, name: str, method: str, model: nn.Module, step: int) -> None:
    """Write the weights of ``model`` as ``name`` ("last" or "best")."""
    path = folder(run) / f"{name}.safetensors"
    path.parent.mkdir(parents=True, exist_ok=True)
    save_weights(path, model, method, {"step": step})


def read(run: Path) -> State | None:
    """The state to resume from, on the CPU; None when the run was stopped before its first checkpoint."""
    path = folder(run) / "last.state"
    if not path.exists():
        return None
    try:
        state: State = torch.load(path, map_location="cpu", weights_only=True)
    except (RuntimeError, EOFError, pickle.UnpicklingError) as error:
        raise InputError(
            f"{path} cannot be read ({str(error).splitlines()[0][:80]}); expected the state of a run; start "
            f"again in another folder, with --weights {path.with_suffix('.safetensors')} to keep what was learnt"
        ) from error
    return state
