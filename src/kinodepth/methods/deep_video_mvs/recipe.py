"""How DeepVideoMVS is trained: the stages of pair net and fusion net (spec deep_video_mvs 6)."""

from __future__ import annotations

from functools import partial
from typing import Any

import torch
from torch.optim.lr_scheduler import CosineAnnealingLR

from kinodepth.methods.base import Stage
from kinodepth.methods.deep_video_mvs.config import FusionConfig, PairConfig
from kinodepth.types import InputError, Sequence

ALL = ("feature_extractor", "feature_pyramid", "encoder", "decoder")
PAIR_STAGES = {"matching": ("feature_pyramid", "encoder", "decoder"), "all": ALL}
FUSION_STAGES = {
    "memory": ("lstm", "decoder"),
    "matching": ("feature_pyramid", "encoder", "lstm", "decoder"),
    "all": (*ALL, "lstm"),
    "cell": ("lstm",),
}
# Repeats the released training: geometry, batch-norm statistics, augmentation.
PUBLISHED = {"convention": "published", "freeze_statistics": False, "joint_statistics": False}
# Ours, for a processor without accelerator, from random weights: nothing is worth freezing at first, MnasNet would
# hardly learn to match, and rooms of all sizes keep the networks from learning metres by heart.
SMALL = {"height": 128, "width": 160, "train_height": 128, "train_width": 160, "pretrained": False, "anneal": True,
         "backbone": "resnet10t", "matching_weight": 1.0, "largest_scale": 2.5}  # fmt: skip
PAIR_PRESETS: dict[str, dict[str, Any]] = {
    "published": PUBLISHED,
    "small": {**SMALL, "batch_size": 4, "steps": (0, 3000), "learning_rate": 1e-3},
}
FUSION_PRESETS: dict[str, dict[str, Any]] = {
    "published": PUBLISHED,
    "small": {
        **SMALL,
        "batch_size": 12,  # with few windows a step the overall scale wobbles from checkpoint to checkpoint
        "window": 4,
        "start_decoder": True,
        "steps": (40, 0, 240, 20),
        "learning_rate": 4e-4,
    },
}


def stages(config: PairConfig) -> list[Stage]:
    """The stages of the pair net, or of the fusion net. A step count of 0 leaves a stage out."""
    from kinodepth.methods.deep_video_mvs import augmentation

    fusion = isinstance(config, FusionConfig)
    parts = FUSION_STAGES if fusion else PAIR_STAGES
    if len(parts) != len(config.steps) or not any(config.steps):
        raise InputError(
            f"steps {config.steps} do not fit the stages {', '.join(parts)}; expected one number per stage, not all 0"
        )
    found = []
    for (name, trained), steps in zip(parts.items(), config.steps, strict=True):
        rate = config.cell_learning_rate if isinstance(config, FusionConfig) and name == "cell" else None
        stage = Stage(
            name=name,
            steps=steps,
            batch_size=config.batch_size,
            clips=partial(windows, config=config),
            augment=partial(augmentation.augment, config=config),
            prepare=partial(augmentation.prepare, config=config),
            optimizer=partial(torch.optim.Adam, lr=rate or config.learning_rate),
            schedule=CosineAnnealingLR if config.anneal else None,
            target=config.window - 1 if fusion else 0,
            fields=frozenset({"depth"}),
            parts=trained,
        )
        found.append(stage)
    return [stage for stage in found if stage.steps]


def windows(sequence: Sequence, config: PairConfig) -> list[tuple[int, ...]]:
    """Frame indices of every training window of a recording."""
    from kinodepth.methods.deep_video_mvs import samples

    return samples.windows(sequence, config.window, samples.MARGIN if config.convention == "published" else 0)
