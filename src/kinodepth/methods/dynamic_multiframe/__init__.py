"""Dynamic-multiframe-depth (Li et al., CVPR 2023): metric depth from posed frames whose moving parts do not match."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor, nn

from kinodepth.methods.base import Conversion, Method, Objective, Predictor, Requires, Stage
from kinodepth.methods.dynamic_multiframe.config import DynamicMultiframeConfig
from kinodepth.methods.dynamic_multiframe.recipe import PRESETS, stages
from kinodepth.types import Clip, Sequence

# The networks and losses are imported when they are used: listing the methods stays cheap.


def _build(config: DynamicMultiframeConfig) -> nn.Module:
    from kinodepth.methods.dynamic_multiframe.model import build

    return build(config)


def _objective(model: nn.Module, clip: Clip, stage: Stage, generator: torch.Generator) -> Objective:
    from kinodepth.methods.dynamic_multiframe.objective import objective

    return objective(model, clip, stage, generator)


def _validate(model: nn.Module, clip: Clip) -> Tensor:
    from kinodepth.methods.dynamic_multiframe.objective import validate

    return validate(model, clip)


def _predictor(model: nn.Module) -> Predictor:
    from kinodepth.methods.dynamic_multiframe.predictor import DynamicMultiframePredictor

    return DynamicMultiframePredictor(model)


def _adapt(config: DynamicMultiframeConfig, sequences: list[Sequence]) -> tuple[DynamicMultiframeConfig, list[str]]:
    from kinodepth.methods.dynamic_multiframe.planes import adapt

    return adapt(config, sequences)


def _convert(path: Path) -> Conversion:
    from kinodepth.methods.dynamic_multiframe.convert import convert

    return convert(path)


DYNAMIC_MULTIFRAME = Method(
    name="dynamic_multiframe",
    summary="Metric depth from posed video of a moving world: matching and single image fused (Li et al. 2023).",
    config=DynamicMultiframeConfig,
    presets=PRESETS,
    requires=Requires(
        training=frozenset({"camera", "cam_to_world", "depth"}), inference=frozenset({"camera", "cam_to_world"})
    ),
    build=_build,
    stages=stages,
    objective=_objective,
    predictor=_predictor,
    convert=_convert,
    card=Path(__file__).with_name("CARD.md"),
    validate=_validate,
    adapt=_adapt,
)
METHODS = {DYNAMIC_MULTIFRAME.name: DYNAMIC_MULTIFRAME}
