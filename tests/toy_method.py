"""A sixth method in one file: a tiny convolutional depth net supervised by ``clip.depth``.

It has no BatchNorm, so a joint batch and the same batch split over processes give the same gradients. Tests of the
engine, the command line and the plug-in point share it; ``registered()`` puts it into the registry for a while.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from kinodepth import methods
from kinodepth.methods.base import Conversion, Method, Objective, Requires, Stage
from kinodepth.types import Clip, Frame, InputError, Prediction, Sequence


@dataclass(frozen=True)
class ToyConfig:
    width: int = 8  # channels of the only hidden layer
    steps: int = 20  # optimiser steps of the main stage
    warm_up_steps: int = 0  # > 0 puts a stage before it that trains the head alone
    batch_size: int = 2
    learning_rate: float = 1e-2


class ToyNet(nn.Module):
    def __init__(self, config: ToyConfig) -> None:
        super().__init__()
        self.config = config
        self.body = nn.Conv2d(3, config.width, 5, padding=2)
        self.head = nn.Conv2d(config.width, 1, 3, padding=1)

    def forward(self, images: Tensor) -> Tensor:
        return F.softplus(self.head(torch.tanh(self.body(images)))) + 0.01


class ToyPredictor:
    def __init__(self, model: ToyNet) -> None:
        self.model = model.eval()

    def init(self) -> None:
        return None

    @torch.no_grad()
    def step(self, frame: Frame, state: None) -> tuple[Prediction, None]:
        depth = self.model(frame.image[None])[0]
        return Prediction(frame.name, depth, "metric", "m", frame.camera, frame.cam_to_world, frame.timestamp), state


def augment(clip: Clip, generator: torch.Generator) -> Clip:
    if torch.rand((), generator=generator) < 0.5:
        return clip
    return replace(clip.map_tensors(lambda t: t.flip(-1)), cameras=tuple(c.flip() for c in clip.cameras))


def as_it_is(clip: Clip) -> Clip:
    return clip


def every_frame(sequence: Sequence) -> list[tuple[int, ...]]:
    return [(i,) for i in range(len(sequence))]


def stages(config: ToyConfig) -> list[Stage]:
    main = Stage(
        name="main",
        steps=config.steps,
        batch_size=config.batch_size,
        clips=every_frame,
        augment=augment,
        prepare=as_it_is,
        optimizer=partial(torch.optim.Adam, lr=config.learning_rate),
        fields=frozenset({"depth"}),
        parts=("body", "head"),
    )
    warm_up = replace(main, name="warm_up", steps=config.warm_up_steps, parts=("head",))
    return [warm_up, main] if config.warm_up_steps else [main]


def log_depth_error(model: nn.Module, clip: Clip) -> Tensor:
    depth, truth = model(clip.images[:, clip.target]), clip.depth[:, clip.target]
    error = torch.where(truth > 0, (depth.log() - truth.clamp_min(1e-6).log()).abs(), 0.0)
    return error.mean()  # not divided by the number of measurements: a mean over samples, however they are split


def objective(model: nn.Module, clip: Clip, stage: Stage, generator: torch.Generator) -> Objective:
    return Objective({"log_depth": log_depth_error(model, clip)}, {"log_depth": 1.0})


def convert(path: Path) -> Conversion:
    raise InputError(f"{path}: the toy method was never published; expected nothing to convert")


METHODS = {
    "toy": Method(
        name="toy",
        summary="Tiny supervised depth net for tests.",
        config=ToyConfig,
        presets={"short": {"steps": 4}, "default": {}},
        requires=Requires(training=frozenset({"depth"})),
        build=ToyNet,
        stages=stages,
        objective=objective,
        predictor=ToyPredictor,
        convert=convert,
        card=Path(__file__).parent / "toy_method.py",
        validate=log_depth_error,
    )
}


@contextmanager
def registered(**changes: object) -> Iterator[Method]:
    """Add the toy to the registry inside the block, with ``changes`` of its fields."""
    registry = methods._registry()
    before = dict(registry)
    registry["toy"] = replace(METHODS["toy"], **changes)
    try:
        yield registry["toy"]
    finally:
        registry.clear()
        registry.update(before)
