"""DeepVideoMVS (Duzceker et al., CVPR 2021): metric depth online from a posed video, by matching and by memory."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from pathlib import Path

import torch
from torch import Tensor, nn

from kinodepth.methods.base import Conversion, Method, Objective, Predictor, Requires, Stage
from kinodepth.methods.deep_video_mvs.config import FusionConfig, PairConfig
from kinodepth.methods.deep_video_mvs.recipe import FUSION_PRESETS, PAIR_PRESETS, stages
from kinodepth.types import Clip

# The networks and losses are imported when they are used: listing the methods stays cheap.


def _build(config: PairConfig) -> nn.Module:
    from kinodepth.methods.deep_video_mvs.model import build

    return build(config)


def _objective(model: nn.Module, clip: Clip, stage: Stage, generator: torch.Generator) -> Objective:
    from kinodepth.methods.deep_video_mvs.objective import objective

    return objective(model, clip, stage, generator)


def _validate(model: nn.Module, clip: Clip) -> Tensor:
    from kinodepth.methods.deep_video_mvs.objective import validate

    return validate(model, clip)


def _predictor(model: nn.Module) -> Predictor:
    from kinodepth.methods.deep_video_mvs.predictor import DeepVideoMvsPredictor

    return DeepVideoMvsPredictor(model)


def _convert(path: Path, config: type[PairConfig]) -> Conversion:
    from kinodepth.methods.deep_video_mvs.convert import convert

    return convert(path, config)


PAIR = Method(
    name="deep_video_mvs_pair",
    summary="Metric depth from a posed video: keyframes are matched with earlier ones (Duzceker et al. 2021).",
    config=PairConfig,
    presets=PAIR_PRESETS,
    requires=Requires(
        training=frozenset({"camera", "cam_to_world", "depth"}),
        inference=frozenset({"camera", "cam_to_world"}),
        gaps=frozenset({"cam_to_world"}),  # where tracking was lost
    ),
    build=_build,
    stages=stages,
    objective=_objective,
    predictor=_predictor,
    convert=partial(_convert, config=PairConfig),
    card=Path(__file__).with_name("CARD.md"),
    validate=_validate,
)
FUSION = replace(
    PAIR,
    name="deep_video_mvs",
    summary="Metric depth from a posed video: matching and a memory that follows the camera (Duzceker et al. 2021).",
    config=FusionConfig,
    presets=FUSION_PRESETS,
    convert=partial(_convert, config=FusionConfig),
)
METHODS = {method.name: method for method in (PAIR, FUSION)}
