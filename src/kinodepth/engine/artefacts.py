"""What a stage leaves for the next ones: made once, named by a hash of all that went in, made again only when that has
changed.

``artefacts/<stage>/`` in the run folder holds one shard per recording and, written last, ``manifest.json``.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import nn

from kinodepth.data.shards import joined, read_note, write_shard
from kinodepth.engine.run import write_json
from kinodepth.methods.base import Stage
from kinodepth.types import InputError, Sequence


def weights_key(model: nn.Module) -> str:
    """A hash of the weights and buffers of ``model``."""
    digest = hashlib.sha256()
    for name, value in model.state_dict().items():
        digest.update(name.encode())
        digest.update(value.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()[:16]


def made(folder: Path) -> dict[str, Any] | None:
    """The manifest of a stage's ``folder``; None while it is not complete."""
    path = folder / "manifest.json"
    return dict(json.loads(path.read_text(encoding="utf-8"))) if path.is_file() else None


def make(stage: Stage, model: nn.Module, sequences: list[Sequence], folder: Path, inputs: str) -> str:
    """Leave the artefacts of ``stage`` for all ``sequences`` in ``folder``; their key, which follows from ``inputs``,
    the key of what the stage was given, and from the weights. What is there with that key stays."""
    assert stage.make is not None
    key = hashlib.sha256(f"{stage.name} {inputs} {weights_key(model)}".encode()).hexdigest()[:16]
    known = made(folder)
    if known is not None and known["key"] == key:
        return key
    modes = {module: module.training for module in model.modules()}
    model.eval()
    table: dict[str, Any] = {}
    with torch.no_grad():
        for number, sequence in enumerate(sequences):
            path, start = shard(folder, number), time.monotonic()
            if read_note(path) != {"key": key}:
                write_shard(path, stage.make(model, sequence), stage.produces, {"key": key})
            table[f"{number}"] = {
                "name": sequence.name,
                "bytes": path.stat().st_size,
                "seconds": round(time.monotonic() - start, 1),
            }
    for module, training in modes.items():
        module.training = training
    write_json(folder / "manifest.json", {"key": key, "inputs": inputs, "fields": stage.produces, "shards": table})
    return key


def shard(folder: Path, number: int) -> Path:
    return folder / f"{number:06d}.shard"


def given(sequences: list[Sequence], folder: Path) -> list[Sequence]:
    """``sequences`` with the fields that the artefacts in ``folder`` add."""
    return [joined(sequence, shard(folder, number)) for number, sequence in enumerate(sequences)]


def after(
    stage: Stage,
    model: nn.Module,
    sequences: list[Sequence],
    run: Path,
    inputs: str,
    is_current: bool,
    is_maker: bool = True,
    wait: Callable[[], Any] = lambda: None,
) -> tuple[list[Sequence], str]:
    """``sequences`` as the stages after ``stage`` see them, and the key of what these are given.

    ``is_current``: the weights are those that the stage ended with, so that its artefacts can be made: by the process
    that ``is_maker``, for which the others ``wait``. Raises ``InputError`` when they are missing later.
    """
    if stage.make is None:
        return sequences, inputs
    folder = run / "artefacts" / stage.name
    if is_current and is_maker:
        make(stage, model, sequences, folder, inputs)
    if is_current:
        wait()
    known = made(folder)
    if known is None or known["inputs"] != inputs:
        raise InputError(
            f"{folder} does not hold what stage {stage.name} left for this data; expected it untouched; start the run "
            "again in another folder, with --weights to keep what was learnt"
        )
    return given(sequences, folder), str(known["key"])
