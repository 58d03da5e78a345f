"""RM-Depth (Hui, CVPR 2022): light recurrent depth, ego-motion and 3-D object motion from monocular video."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor, nn

from kinodepth.methods.base import Conversion, Method, Objective, Predictor, Requires, Stage
from kinodepth.methods.rm_depth.config import RmDepthConfig
from kinodepth.methods.rm_depth.recipe import PRESETS, stages
from kinodepth.types import Clip

# The networks and losses are imported when they are used: listing the methods stays cheap.


def _build(config: RmDepthConfig) -> nn.Module:
    from kinodepth.methods.rm_depth.model import RmDepth

    return RmDepth(config)


def _objective(model: nn.Module, clip: Clip, stage: Stage, generator: torch.Generator) -> Objective:
    from kinodepth.methods.rm_depth.objective import objective

    return objective(model, clip, stage, generator)


def _validate(model: nn.Module, clip: Clip) -> Tensor:
    from kinodepth.methods.rm_depth.objective import validate

    return validate(model, clip)


def _predictor(model: nn.Module, outputs: frozenset[str] = frozenset()) -> Predictor:
    from kinodepth.methods.rm_depth.predictor import RmDepthPredictor

    return RmDepthPredictor(model, outputs)


def _convert(path: Path) -> Conversion:
    from kinodepth.methods.rm_depth.convert import convert

    return convert(path)


CAMERA = frozenset({"camera"})
METHODS = {
    "rm_depth": Method(
        name="rm_depth",
        summary="Light recurrent depth with 3-D motion of objects and optical flow from plain video (Hui, CVPR 2022).",
        config=RmDepthConfig,
        presets=PRESETS,
        requires=Requires(training=CAMERA),
        build=_build,
        stages=stages,
        objective=_objective,
        predictor=_predictor,
        convert=_convert,
        card=Path(__file__).with_name("CARD.md"),
        validate=_validate,
        outputs=dict.fromkeys(("flow", "motion", "mask", "poses"), CAMERA),
    )
}
