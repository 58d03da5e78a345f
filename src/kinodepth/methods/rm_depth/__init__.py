"""RM-Depth (Hui, CVPR 2022): light recurrent depth, ego-motion and 3-D object motion from monocular video."""

from __future__ import annotations

from pathlib import Path

from kinodepth.methods.base import Method, Requires, later
from kinodepth.methods.rm_depth.config import RmDepthConfig
from kinodepth.methods.rm_depth.recipe import PRESETS, stages

CAMERA = frozenset({"camera"})
METHODS = {
    "rm_depth": Method(
        name="rm_depth",
        summary="Light recurrent depth with 3-D motion of objects and optical flow from plain video (Hui, CVPR 2022).",
        config=RmDepthConfig,
        presets=PRESETS,
        requires=Requires(training=CAMERA),
        build=later(f"{__name__}.model", "RmDepth"),
        stages=stages,
        objective=later(f"{__name__}.objective", "objective"),
        predictor=later(f"{__name__}.predictor", "RmDepthPredictor"),
        convert=later(f"{__name__}.convert", "convert"),
        card=Path(__file__).with_name("CARD.md"),
        validate=later(f"{__name__}.objective", "validate"),
        outputs=dict.fromkeys(("flow", "motion", "mask", "poses"), CAMERA),
    )
}
