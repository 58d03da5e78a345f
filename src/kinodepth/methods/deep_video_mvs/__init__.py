"""DeepVideoMVS (Duzceker et al., CVPR 2021): metric depth online from a posed video, by matching and by memory."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from pathlib import Path

from kinodepth.methods.base import Method, Requires, later
from kinodepth.methods.deep_video_mvs.config import FusionConfig, PairConfig
from kinodepth.methods.deep_video_mvs.recipe import FUSION_PRESETS, PAIR_PRESETS, stages

CONVERT = later(f"{__name__}.convert", "convert")
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
    build=later(f"{__name__}.model", "build"),
    stages=stages,
    objective=later(f"{__name__}.objective", "objective"),
    predictor=later(f"{__name__}.predictor", "DeepVideoMvsPredictor"),
    convert=partial(CONVERT, config_type=PairConfig),
    card=Path(__file__).with_name("CARD.md"),
    validate=later(f"{__name__}.objective", "validate"),
    shipped=Path(__file__).with_name("weights") / "pair.safetensors",  # by examples/deep_video_mvs_weights.py
)
FUSION = replace(
    PAIR,
    name="deep_video_mvs",
    summary="Metric depth from a posed video: matching and a memory that follows the camera (Duzceker et al. 2021).",
    config=FusionConfig,
    presets=FUSION_PRESETS,
    convert=partial(CONVERT, config_type=FusionConfig),
    shipped=Path(__file__).with_name("weights") / "fusion.safetensors",
)
METHODS = {method.name: method for method in (PAIR, FUSION)}
