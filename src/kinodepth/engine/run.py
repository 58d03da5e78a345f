"""The folder of a run: who may write into it and what run.json says about it."""

from __future__ import annotations

import hashlib
import json
import platform
import sys
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from torch import nn

from kinodepth.data.files import atomic
from kinodepth.types import InputError, Sequence

SAME = ("method", "config", "data_fingerprint", "seed", "batch", "accumulate", "precision", "clip_norm")
PACKAGES = ("torchvision", "timm", "numpy", "accelerate", "safetensors")


def check_free(run: Path, resume: bool) -> None:
    """Raise ``InputError`` if there is nothing to resume in ``run``, or, not resumed, anything but prepared data."""
    if resume and not (run / "run.json").is_file():
        raise InputError(
            f"{run} holds no run to resume; expected a folder with run.json; leave out --resume to start one"
        )
    if not resume and run.exists() and (not run.is_dir() or any(item.name != "data" for item in run.iterdir())):
        raise InputError(
            f"{run} is not empty; expected a new folder, so that nothing is overwritten; add --resume to continue the "
            "run in it or give another --out"
        )


def claim(run: Path, description: Mapping[str, Any], resume: bool) -> None:
    """Make the folder and write run.json, or check that ``description`` is that of the run to resume."""
    check_free(run, resume)
    if resume:
        stored = json.loads((run / "run.json").read_text(encoding="utf-8"))
        wanted = json.loads(json.dumps(description))
        for key in SAME:
            if stored.get(key) != wanted[key]:
                found, now = _difference(key, stored.get(key), wanted[key])
                raise InputError(
                    f"{run} was started with {found}, this command has {now}; expected the same run; use the command "
                    "stored in its run.json with --resume, or another --out"
                )
    run.mkdir(parents=True, exist_ok=True)
    write_json(run / "run.json", description)


def write_json(path: Path, value: Mapping[str, Any]) -> None:
    with atomic(path) as temporary:
        temporary.write_text(json.dumps(value, indent=1) + "\n", encoding="utf-8")


def fingerprint(sequences: list[Sequence]) -> str:
    """A hash of what the recordings are called and hold: names, order, cameras, poses, fields; not of their pixels."""
    digest = hashlib.sha256()
    for sequence in sequences:
        digest.update(repr((sequence.name, len(sequence), sorted(sequence.provides))).encode())
        for record in sequence.records:
            pose = None if record.cam_to_world is None else record.cam_to_world.flatten().tolist()
            digest.update(repr((record.name, record.timestamp, record.camera, pose)).encode())
    return digest.hexdigest()[:16]


def versions() -> dict[str, str]:
    """The software that computes the numbers."""
    known = {"python": sys.version.split()[0], "platform": platform.platform(), "torch": torch.__version__}
    return known | {name: version(name) for name in PACKAGES}


def parameter_counts(model: nn.Module) -> dict[str, int]:
    """Parameters of each part."""
    return {name: sum(p.numel() for p in child.parameters()) for name, child in model.named_children()}


def _difference(key: str, stored: Any, wanted: Any) -> tuple[str, str]:
    """The two values of ``key`` in words; of configurations only the first setting that differs."""
    if isinstance(stored, Mapping) and isinstance(wanted, Mapping):
        inner = next(k for k in {**stored, **wanted} if stored.get(k) != wanted.get(k))
        return _difference(inner, stored.get(inner), wanted.get(inner))
    return f"{key} {stored}", f"{key} {wanted}"
