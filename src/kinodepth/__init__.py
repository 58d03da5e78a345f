"""Depth from moving pictures of a moving world.

>>> import kinodepth as kd
>>> model = kd.load("sc_depth_v1", "run")
>>> for prediction in model.predict(kd.open_sequence("drive.mp4")):
...     print(prediction.name, prediction.depth.shape, prediction.scale, prediction.unit)

The names below are imported when first used, so that ``import kinodepth`` costs nothing.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from kinodepth._version import __version__

if TYPE_CHECKING:
    from kinodepth import methods
    from kinodepth.data import open_sequence
    from kinodepth.evaluation import evaluate
    from kinodepth.inference.model import load
    from kinodepth.types import Camera, Clip, Frame, InputError, Prediction

__all__ = [
    "Camera",
    "Clip",
    "Frame",
    "InputError",
    "Prediction",
    "__version__",
    "evaluate",
    "load",
    "methods",
    "open_sequence",
]

_HOMES = {
    "Camera": "types",
    "Clip": "types",
    "Frame": "types",
    "InputError": "types",
    "Prediction": "types",
    "evaluate": "evaluation",
    "load": "inference.model",
    "open_sequence": "data",
}


def __getattr__(name: str) -> Any:
    if name == "methods":
        return importlib.import_module("kinodepth.methods")
    if name not in _HOMES:
        raise AttributeError(f"module 'kinodepth' has no attribute {name!r}")
    return getattr(importlib.import_module(f"kinodepth.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return sorted(__all__)
