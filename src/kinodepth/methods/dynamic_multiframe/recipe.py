"""How Dynamic-multiframe-depth is trained: one stage, the published settings of both backbones (spec 10)."""

from __future__ import annotations

from functools import partial
from typing import Any

import torch

from kinodepth.methods.base import Stage
from kinodepth.methods.dynamic_multiframe.config import DynamicMultiframeConfig
from kinodepth.types import Sequence

RESNET, B5 = "resnet18.tv_in1k", "tf_efficientnet_b5.ap_in1k"
NETWORKS = ("mono_net", "fusion", "depth_net")
# Repeats the released training: geometry, batch-norm statistics, sampling of triples, ends of recordings.
PUBLISHED = {"convention": "published", "freeze_statistics": False, "triples": "published", "margin": 5}
PRESETS: dict[str, dict[str, Any]] = {
    "published": PUBLISHED,
    "published_b5": {**PUBLISHED, "backbone": B5, "freeze_encoder": False},
    "kitti": {"margin": 5},
    "kitti_b5": {"margin": 5, "backbone": B5, "freeze_encoder": False},
    # Ours, for a processor without accelerator. A random encoder has to learn.
    "small": {
        "height": 96,
        "width": 192,
        "batch_size": 4,
        "steps": 2000,
        "pretrained": False,
        "freeze_encoder": False,
        "learning_rate": 3e-4,
    },
}


def stages(config: DynamicMultiframeConfig) -> list[Stage]:
    """The one stage: everything but a frozen image encoder."""
    from kinodepth.methods.dynamic_multiframe import augmentation

    return [
        Stage(
            name="joint",
            steps=config.steps,
            batch_size=config.batch_size,
            clips=partial(windows, config=config),
            augment=partial(augmentation.augment, config=config),
            prepare=partial(augmentation.prepare, config=config),
            optimizer=partial(torch.optim.Adam, lr=config.learning_rate, amsgrad=True),
            schedule=partial(decay, part=config.decay_at),
            fields=frozenset({"depth"}),
            parts=NETWORKS if config.freeze_encoder else ("image_encoder", *NETWORKS),
        )
    ]


def decay(optimizer: torch.optim.Optimizer, steps: int, part: float) -> torch.optim.lr_scheduler.LRScheduler:
    """A tenth of the learning rate after this part of all ``steps``."""
    return torch.optim.lr_scheduler.MultiStepLR(optimizer, [round(part * steps)], 0.1)


def windows(sequence: Sequence, config: DynamicMultiframeConfig) -> list[tuple[int, ...]]:
    """Frame indices (keyframe, neighbours) of every training window of a recording; all frames have a pose.

    ``published``: keyframes start and end at whichever is farther in, the margin or the neighbours' reach.
    """
    count, offsets = len(sequence), config.offsets
    first, last = max(config.margin, -min(offsets), 0), max(config.margin, max(offsets), 0)
    posed = [r.cam_to_world is not None and bool(r.cam_to_world.isfinite().all()) for r in sequence.records]
    found = [(i, *(i + offset for offset in offsets)) for i in range(first, count - last)]
    return [window for window in found if all(posed[i] for i in window)]
