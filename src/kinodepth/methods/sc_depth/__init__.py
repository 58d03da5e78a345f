"""SC-Depth (Bian et al.): self-supervised depth and pose from monocular video, in its three published versions."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from pathlib import Path

import torch
from torch import Tensor, nn

from kinodepth.methods.base import Conversion, Method, Objective, Predictor, Requires, Stage
from kinodepth.methods.sc_depth.config import ScDepthConfig, ScDepthV2Config, ScDepthV3Config
from kinodepth.methods.sc_depth.recipe import PRESETS, PRESETS_V2, stages
from kinodepth.types import Clip

# The networks and losses are imported when they are used: listing the methods stays cheap.


def _build(config: ScDepthConfig) -> nn.Module:
    from kinodepth.methods.sc_depth.model import build

    return build(config)


def _objective_v1(model: nn.Module, clip: Clip, stage: Stage, generator: torch.Generator) -> Objective:
    from kinodepth.methods.sc_depth.objective import objective

    return objective(model, clip, stage, generator)


def _objective_v2(model: nn.Module, clip: Clip, stage: Stage, generator: torch.Generator) -> Objective:
    from kinodepth.methods.sc_depth.rectification import objective

    return objective(model, clip, stage, generator)


def _objective_v3(model: nn.Module, clip: Clip, stage: Stage, generator: torch.Generator) -> Objective:
    from kinodepth.methods.sc_depth.prior_guidance import objective

    return objective(model, clip, stage, generator)


def _validate(model: nn.Module, clip: Clip) -> Tensor:
    from kinodepth.methods.sc_depth.objective import validate

    return validate(model, clip)


def _validate_v2(model: nn.Module, clip: Clip) -> Tensor:
    from kinodepth.methods.sc_depth.rectification import validate

    return validate(model, clip)


def _predictor(model: nn.Module) -> Predictor:
    from kinodepth.methods.sc_depth.predictor import ScDepthPredictor

    return ScDepthPredictor(model)


def _convert(path: Path, config: type[ScDepthConfig]) -> Conversion:
    from kinodepth.methods.sc_depth.convert import convert

    return convert(path, config)


V1 = Method(
    name="sc_depth_v1",
    summary="Self-supervised depth and pose from plain video; geometry consistency (Bian et al., IJCV 2021).",
    config=ScDepthConfig,
    presets=PRESETS,
    requires=Requires(training=frozenset({"camera"})),
    build=_build,
    stages=stages,
    objective=_objective_v1,
    predictor=_predictor,
    convert=partial(_convert, config=ScDepthConfig),
    card=Path(__file__).with_name("CARD.md"),
    validate=_validate,
)
V2 = replace(
    V1,
    name="sc_depth_v2",
    summary="SC-Depth for hand-held video: a network undoes the rotation between frames (Bian et al., TPAMI 2022).",
    config=ScDepthV2Config,
    presets=PRESETS_V2,
    stages=partial(stages, parts=("depth_net", "pose_net", "rectify_net")),
    objective=_objective_v2,
    convert=partial(_convert, config=ScDepthV2Config),
    card=Path(__file__).with_name("CARD_V2.md"),
    validate=_validate_v2,
)
V3 = replace(
    V1,
    name="sc_depth_v3",
    summary="SC-Depth for moving scenes: guided by another network's depth of each frame (Sun et al., TPAMI 2023).",
    config=ScDepthV3Config,
    requires=Requires(training=frozenset({"camera", "prior_depth"})),
    stages=partial(stages, fields=frozenset({"prior_depth"})),
    objective=_objective_v3,
    convert=partial(_convert, config=ScDepthV3Config),
    card=Path(__file__).with_name("CARD_V3.md"),
)
METHODS = {method.name: method for method in (V1, V2, V3)}
