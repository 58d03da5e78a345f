"""Mining Supervision (Nguyen et al., CVPR 2024): depth of moving objects learnt from labels that the video itself
gives, in stages: scene, objects, their scale, scene again."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from kinodepth.methods.base import Method, Requires, later
from kinodepth.methods.mining_supervision.config import FoundMasksConfig, MiningSupervisionConfig
from kinodepth.methods.mining_supervision.recipe import PRESETS, PRESETS_FOUND, stages

GIVEN = Method(
    name="mining_supervision",
    summary="Depth of moving objects from plain video and instance masks, in stages (Nguyen et al., CVPR 2024).",
    config=MiningSupervisionConfig,
    presets=PRESETS,
    requires=Requires(training=frozenset({"camera", "mask:instances"})),
    build=later(f"{__name__}.model", "build"),
    stages=stages,
    objective=later(f"{__name__}.objective", "objective"),
    predictor=later(f"{__name__}.predictor", "MiningSupervisionPredictor"),
    convert=later(f"{__name__}.convert", "convert"),
    card=Path(__file__).with_name("CARD.md"),
    validate=later(f"{__name__}.objective", "validate"),
)
FOUND = replace(
    GIVEN,
    name="mining_supervision_found",
    summary="Mining Supervision that finds its instance masks itself, in more stages (Nguyen et al., CVPR 2024).",
    config=FoundMasksConfig,
    presets=PRESETS_FOUND,
    requires=Requires(training=frozenset({"camera"})),
)
METHODS = {method.name: method for method in (GIVEN, FOUND)}
