"""Mining Supervision (Nguyen et al., CVPR 2024): depth of moving objects learnt from labels that the video itself
gives, in stages: scene, objects, their scale, scene again."""

from __future__ import annotations

from pathlib import Path

from kinodepth.methods.base import Method, Requires, later
from kinodepth.methods.mining_supervision.config import MiningSupervisionConfig
from kinodepth.methods.mining_supervision.recipe import PRESETS, stages

METHODS = {
    "mining_supervision": Method(
        name="mining_supervision",
        summary="Depth of moving objects from labels that plain video gives, in stages (Nguyen et al., CVPR 2024).",
        config=MiningSupervisionConfig,
        presets=PRESETS,
        requires=Requires(training=frozenset({"camera"})),
        build=later(f"{__name__}.model", "build"),
        stages=stages,
        objective=later(f"{__name__}.objective", "objective"),
        predictor=later(f"{__name__}.predictor", "MiningSupervisionPredictor"),
        convert=later(f"{__name__}.convert", "convert"),
        card=Path(__file__).with_name("CARD.md"),
        validate=later(f"{__name__}.objective", "validate"),
    )
}
