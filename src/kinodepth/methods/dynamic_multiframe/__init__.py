"""Dynamic-multiframe-depth (Li et al., CVPR 2023): metric depth from posed frames whose moving parts do not match."""

from __future__ import annotations

from pathlib import Path

from kinodepth.methods.base import Method, Requires, later
from kinodepth.methods.dynamic_multiframe.config import DynamicMultiframeConfig
from kinodepth.methods.dynamic_multiframe.recipe import PRESETS, stages

DYNAMIC_MULTIFRAME = Method(
    name="dynamic_multiframe",
    summary="Metric depth from posed video of a moving world: matching and single image fused (Li et al. 2023).",
    config=DynamicMultiframeConfig,
    presets=PRESETS,
    requires=Requires(
        training=frozenset({"camera", "cam_to_world", "depth"}), inference=frozenset({"camera", "cam_to_world"})
    ),
    build=later(f"{__name__}.model", "build"),
    stages=stages,
    objective=later(f"{__name__}.objective", "objective"),
    predictor=later(f"{__name__}.predictor", "DynamicMultiframePredictor"),
    convert=later(f"{__name__}.convert", "convert"),
    card=Path(__file__).with_name("CARD.md"),
    validate=later(f"{__name__}.objective", "validate"),
    adapt=later(f"{__name__}.planes", "adapt"),
    one_picture=True,
)
METHODS = {DYNAMIC_MULTIFRAME.name: DYNAMIC_MULTIFRAME}
