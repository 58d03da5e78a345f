"""How RM-Depth is trained: one stage with a burn-in of object motion (spec rm_depth 6).

The original's optimiser settings, epochs, stages and loss weights are not known: see the tags in config.py.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import torch

from kinodepth.methods.base import Stage
from kinodepth.methods.rm_depth.config import RmDepthConfig
from kinodepth.types import Sequence

PRESETS: dict[str, dict[str, Any]] = {
    "kitti": {},
    "cityscapes": {"steps": 116_220},  # 20 epochs of 69,731 windows
    # From the weights of `cityscapes` to KITTI [paper: CS+K; details: our choice].
    "kitti_from_cityscapes": {"learning_rate": 5e-5, "burn_in": 0.0, "pretrained": False},
    # From the weights at 640 x 192, five epochs [our choice].
    "high_resolution": {
        "height": 320,
        "width": 1024,
        "steps": 16_590,
        "learning_rate": 5e-5,
        "decay_at": 1.0,
        "burn_in": 0.0,
        "pretrained": False,
    },
    # The same parameters spent elsewhere [our choice]: in the decoder; on larger kernels of narrower units.
    "wide_decoder": {"encoder": "resnet18_short", "widths": (128, 64, 60), "kernel_mod": 3, "kernel_gate": 3},
    "large_kernels": {"widths": (36, 28, 20), "kernel_mod": 3, "kernel_gate": 3},
    # Ours, for a processor without accelerator: a wide street camera.
    "small": {
        "height": 128,
        "width": 416,
        "batch_size": 4,
        "steps": 2000,
        "pretrained": False,
        "learning_rate": 2e-4,
        "burn_in": 0.5,
        "jitter": False,
    },
}


def stages(config: RmDepthConfig) -> list[Stage]:
    """The one stage, with a tenth of the learning rate for its last part."""
    from kinodepth.methods.rm_depth import augmentation

    return [
        Stage(
            name="joint",
            steps=config.steps,
            batch_size=config.batch_size,
            clips=partial(windows, config=config),
            augment=partial(augmentation.augment, config=config),
            prepare=partial(augmentation.prepare, config=config),
            optimizer=partial(torch.optim.Adam, lr=config.learning_rate),
            schedule=partial(decay, part=config.decay_at) if 0 < config.decay_at < 1 else None,
            parts=("depth_net", "motion_net"),
        )
    ]


def decay(optimizer: torch.optim.Optimizer, steps: int, part: float) -> torch.optim.lr_scheduler.LRScheduler:
    """A tenth of the learning rate after each such part of all ``steps``."""
    return torch.optim.lr_scheduler.StepLR(optimizer, max(1, round(part * steps)))


EARLIER = (True, False)  # which of a window's sources were taken before the target


def windows(sequence: Sequence, config: RmDepthConfig) -> list[tuple[int, ...]]:
    """Frame indices (target, before, after) of every training window of a recording."""
    stride = config.stride
    return [(i, i - stride, i + stride) for i in range(stride, len(sequence) - stride)]
