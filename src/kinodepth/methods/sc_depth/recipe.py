"""How SC-Depth is trained: one stage, constant learning rate, and the published settings per dataset (spec 10)."""

from __future__ import annotations

from functools import partial
from typing import Any

import torch

from kinodepth.methods.base import Stage
from kinodepth.methods.sc_depth.config import ScDepthConfig
from kinodepth.types import Sequence

PRESETS: dict[str, dict[str, Any]] = {
    "kitti": {"height": 256, "width": 832, "batch_size": 4, "stride": 1},
    "ddad": {"height": 384, "width": 640, "batch_size": 4, "stride": 1},
    "nyu": {"height": 256, "width": 320, "batch_size": 8, "stride": 1},
    "bonn": {"height": 256, "width": 320, "batch_size": 8, "stride": 10},
    "tum": {"height": 256, "width": 320, "batch_size": 8, "stride": 10},
    # Ours, for a processor without accelerator: a wide street camera and a 4:3 camera.
    "small": {"height": 128, "width": 416, "batch_size": 4, "steps": 1000, "pretrained": False},
    "small_indoor": {"height": 128, "width": 160, "batch_size": 8, "steps": 1000, "pretrained": False},
    # What `make demo` shows in two minutes.
    "demo": {
        "height": 64,
        "width": 192,
        "batch_size": 4,
        "steps": 130,
        "pretrained": False,
        "zoom": 1.0,
        "learning_rate": 2e-4,
    },
}

INDOOR = ("nyu", "bonn", "tum", "small_indoor")
# V2 is published for hand-held video; its BONN setting takes frames chosen by `kinodepth prepare --select published`.
PRESETS_V2 = {name: PRESETS[name] for name in INDOOR} | {"bonn": {**PRESETS["bonn"], "stride": 1}}


def stages(
    config: ScDepthConfig,
    parts: tuple[str, ...] = ("depth_net", "pose_net"),
    fields: frozenset[str] = frozenset(),
) -> list[Stage]:
    """The one stage; ``parts`` of the model train, ``fields`` are read besides the images."""
    from kinodepth.methods.sc_depth import augmentation

    return [
        Stage(
            name="joint",
            steps=config.steps,
            batch_size=config.batch_size,
            clips=partial(windows, config=config),
            augment=partial(augmentation.augment, config=config),
            prepare=partial(augmentation.prepare, config=config),
            optimizer=partial(torch.optim.Adam, lr=config.learning_rate),
            fields=fields,
            parts=parts,
        )
    ]


def windows(sequence: Sequence, config: ScDepthConfig) -> list[tuple[int, ...]]:
    """Frame indices (target, references) of every training window of a recording (spec 11.3)."""
    from kinodepth.data.clips import triplets

    return triplets(len(sequence), config.stride, config.sequence_length)
