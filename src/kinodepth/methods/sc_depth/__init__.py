"""SC-Depth (Bian et al.): self-supervised depth and pose from monocular video, in its three published versions."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from pathlib import Path

from kinodepth.methods.base import Method, Requires, later
from kinodepth.methods.sc_depth.config import ScDepthConfig, ScDepthV2Config, ScDepthV3Config
from kinodepth.methods.sc_depth.recipe import PRESETS, PRESETS_V2, stages

CONVERT = later(f"{__name__}.convert", "convert")
V1 = Method(
    name="sc_depth_v1",
    summary="Self-supervised depth and pose from plain video; geometry consistency (Bian et al., IJCV 2021).",
    config=ScDepthConfig,
    presets=PRESETS,
    requires=Requires(training=frozenset({"camera"})),
    build=later(f"{__name__}.model", "build"),
    stages=stages,
    objective=later(f"{__name__}.objective", "objective"),
    predictor=later(f"{__name__}.predictor", "ScDepthPredictor"),
    convert=partial(CONVERT, config_type=ScDepthConfig),
    card=Path(__file__).with_name("CARD.md"),
    validate=later(f"{__name__}.objective", "validate"),
    outputs={"poses": frozenset()},
)
V2 = replace(
    V1,
    name="sc_depth_v2",
    summary="SC-Depth for hand-held video: a network undoes the rotation between frames (Bian et al., TPAMI 2022).",
    config=ScDepthV2Config,
    presets=PRESETS_V2,
    stages=partial(stages, parts=("depth_net", "pose_net", "rectify_net")),
    objective=later(f"{__name__}.rectification", "objective"),
    convert=partial(CONVERT, config_type=ScDepthV2Config),
    card=Path(__file__).with_name("CARD_V2.md"),
    validate=later(f"{__name__}.rectification", "validate"),
    outputs={},  # its pose net sees frames without their rotation
)
V3 = replace(
    V1,
    name="sc_depth_v3",
    summary="SC-Depth for moving scenes: guided by another network's depth of each frame (Sun et al., TPAMI 2023).",
    config=ScDepthV3Config,
    requires=Requires(training=frozenset({"camera", "prior_depth"})),
    stages=partial(stages, fields=frozenset({"prior_depth"})),
    objective=later(f"{__name__}.prior_guidance", "objective"),
    convert=partial(CONVERT, config_type=ScDepthV3Config),
    card=Path(__file__).with_name("CARD_V3.md"),
)
METHODS = {method.name: method for method in (V1, V2, V3)}
