"""A recording in memory: grey blobs whose depth is a function of their colour, so that a toy net can learn it."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from kinodepth import methods
from kinodepth.engine.settings import resolve
from kinodepth.engine.train import Options, Progress, train
from kinodepth.methods.base import Method
from kinodepth.types import Camera, Record, Sequence
from toy_method import METHODS, ToyConfig

DEFAULTS = ToyConfig()
TOY = METHODS["toy"]


def image_of(seed: int, height: int, width: int) -> Tensor:
    draws = torch.Generator().manual_seed(seed)
    coarse = torch.rand(1, 3, height // 4, width // 4, generator=draws)
    return torch.nn.functional.interpolate(coarse, (height, width), mode="bilinear")[0]


def depth_of(seed: int, height: int, width: int) -> Tensor:
    return 1 + 4 * image_of(seed, height, width)[:1]


def sequence(name: str = "tiny", frames: int = 12, height: int = 16, width: int = 24, first: int = 0) -> Sequence:
    camera = Camera(20.0, 20.0, (width - 1) / 2, (height - 1) / 2, width, height)
    records = []
    for index in range(frames):
        size = (first + index, height, width)
        load = {"image": partial(image_of, *size), "depth": partial(depth_of, *size)}
        records.append(Record(f"{index:03d}", load, index / 10, camera, torch.eye(4, dtype=torch.float64)))
    return Sequence(name, records)


def train_toy(out: Path, method: Method = TOY, config: ToyConfig = DEFAULTS, **settings: Any) -> Progress:
    """Train the toy method on two recordings, validate on a third; every step is logged."""
    given = {
        "device": "cpu",
        "precision": "fp32",
        "workers": 0,
        "steps": 40,
        "log_every": 1,
        "validate_every": 1000,
        **settings,
    }
    recordings = [sequence(), sequence("second", 5, first=40)]
    return train(method, config, recordings, [sequence("held out", 2, first=90)], out, Options(**given))


def train_sc_depth(out: Path, **settings: Any) -> Progress:
    """Train a small SC-Depth V1 from random weights."""
    method = methods.load("sc_depth_v1")
    config = resolve(method, "small", ["height=64", "width=96", "learning_rate=1e-4"])
    given = {
        "device": "cpu",
        "precision": "fp32",
        "workers": 0,
        "steps": 4,
        "batch": 2,
        "log_every": 1,
        "validate_frames": 2,
        **settings,
    }
    recordings = [sequence(height=80, width=120)]
    return train(method, config, recordings, [sequence("held out", 5, 80, 120, 90)], out, Options(**given))


def state_of(out: Path) -> dict[str, Any]:
    state: dict[str, Any] = torch.load(out / "checkpoints" / "last.state", weights_only=True)
    return state


def assert_same(a: Any, b: Any) -> None:
    """Every tensor and number of two states is equal to the last bit."""
    if isinstance(a, Tensor):
        assert torch.equal(a, b)
    elif isinstance(a, dict):
        assert a.keys() == b.keys()
        for key in a:
            assert_same(a[key], b[key])
    elif isinstance(a, (list, tuple)):
        for x, y in zip(a, b, strict=True):
            assert_same(x, y)
    else:
        assert a == b
