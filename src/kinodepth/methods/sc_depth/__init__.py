"""SC-Depth (Bian et al.): self-supervised depth and pose from monocular video. Here: V1, IJCV 2021."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor, nn

from kinodepth.methods.base import Conversion, Method, Objective, Predictor, Requires, Stage
from kinodepth.methods.sc_depth.config import ScDepthConfig
from kinodepth.methods.sc_depth.recipe import PRESETS, stages
from kinodepth.types import Clip

# The networks and losses are imported when they are used: listing the methods stays cheap.


def _build(config: ScDepthConfig) -> nn.Module:
    from kinodepth.methods.sc_depth.model import ScDepth

    return ScDepth(config)


def _objective(model: nn.Module, clip: Clip, stage: Stage, generator: torch.Generator) -> Objective:
    from kinodepth.methods.sc_depth.objective import objective

    return objective(model, clip, stage, generator)


def _validate(model: nn.Module, clip: Clip) -> Tensor:
    from kinodepth.methods.sc_depth.objective import validate

    return validate(model, clip)


def _predictor(model: nn.Module) -> Predictor:
    from kinodepth.methods.sc_depth.predictor import ScDepthPredictor

    return ScDepthPredictor(model)


def _convert(path: Path) -> Conversion:
    from kinodepth.methods.sc_depth.convert import convert

    return convert(path)


METHODS = {
    "sc_depth_v1": Method(
        name="sc_depth_v1",
        summary="Self-supervised depth and pose from plain video; geometry consistency (Bian et al., IJCV 2021).",
        config=ScDepthConfig,
        presets=PRESETS,
        requires=Requires(training=frozenset({"camera"})),
        build=_build,
        stages=stages,
        objective=_objective,
        predictor=_predictor,
        convert=_convert,
        card=Path(__file__).with_name("CARD.md"),
        validate=_validate,
    )
}
