"""The stages of Mining Supervision, published lengths and rates (spec mining_supervision 1, 6 to 11)."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction
from functools import partial
from typing import Any

import torch

from kinodepth.methods.base import Stage, later
from kinodepth.methods.mining_supervision.config import MiningSupervisionConfig

HOME = "kinodepth.methods.mining_supervision"
SMALL = {
    "height": 128,
    "width": 256,
    "flow_net": "small",
    "batch_size": 4,
    "pretrained": False,
    "depth_steps": 400,
    "motion_steps": 100,
    "joint_steps": 500,
    "object_steps": 200,
    "alignment_steps": 200,
    "final_steps": 200,
    "alignment_batch": 8,
}
PRESETS: dict[str, dict[str, Any]] = {
    "cityscapes": {"neighbours": "stored"},  # triplets made before
    "kitti": {"height": 192, "width": 640, "stride": 1},
    "small": SMALL,  # ours, for a processor without accelerator
    "small_found": {
        **SMALL,
        "masks": "found",
        "slot_size": 64,
        "slot_steps": 200,
        "ground_steps": 100,
        "detector_rounds": 2,
        "detector_steps": 30,
        "detector_side": 128,
        "found_batch": 4,
    },
}


def stages(config: MiningSupervisionConfig) -> list[Stage]:
    """All stages in order: scene, (masks,) objects, scale, scene with labels."""
    from kinodepth.methods.mining_supervision import augmentation, windows
    from kinodepth.methods.mining_supervision.artefacts import LABEL_FIELDS, SCENE_FIELDS

    beside = windows.neighbour_fields(config)
    depth = Stage(
        name="depth",
        steps=config.depth_steps,
        batch_size=config.batch_size,
        clips=partial(windows.scene_windows, config=config),
        augment=partial(augmentation.augment, config=config),
        prepare=partial(augmentation.prepare, config=config),
        optimizer=partial(torch.optim.Adam, lr=config.learning_rate),
        fields=beside,
        parts=("depth_net", "pose_net"),
    )
    motion = replace(depth, name="motion", steps=config.motion_steps, parts=("flow_net",))
    together = replace(
        depth,
        name="joint",
        steps=config.joint_steps,
        parts=("depth_net", "pose_net", "flow_net"),
        schedule=partial(halved, at=(Fraction(8, 13),)),
        produces=SCENE_FIELDS,
        make=later(f"{HOME}.artefacts", "make_scene"),
    )
    objects = replace(
        depth,
        name="objects",
        steps=config.object_steps,
        clips=partial(windows.object_windows, config=config),
        augment=partial(augmentation.augment_object, config=config),
        fields=beside | {"mask:objects", "mask:objects_previous", "mask:objects_next"},
        parts=("object_depth_net", "object_pose_net"),
        start=later(f"{HOME}.model", "start_objects"),
    )
    alignment = replace(
        objects,
        name="alignment",
        steps=config.alignment_steps,
        batch_size=config.alignment_batch,
        clips=partial(windows.static_windows, config=config),
        augment=partial(augmentation.augment_static_object, config=config),
        optimizer=partial(torch.optim.Adam, lr=config.alignment_rate),
        schedule=partial(halved, at=(Fraction(3, 20), Fraction(1, 2))),
        fields=beside | {"extra:scene_depth", "mask:objects", "mask:moving_objects", "mask:road"},
        parts=("scale_net",),
        start=None,
        produces=LABEL_FIELDS,
        make=later(f"{HOME}.artefacts", "make_labels"),
    )
    final = replace(
        together,
        name="final",
        steps=config.final_steps,
        optimizer=partial(torch.optim.Adam, lr=config.final_rate),
        schedule=None,
        fields=beside | {"extra:scene_depth", "extra:label"},
        produces={},
        make=None,
    )
    plan = [depth, motion, together, objects, alignment, final]
    if config.masks == "found":
        from kinodepth.methods.mining_supervision.found import with_found_masks

        plan = with_found_masks(plan, config)
    used = {"joint": frozenset({"mask:instances"} if config.masks == "given" else ())}
    return [replace(stage, consumes=stage.fields - beside | used.get(stage.name, frozenset())) for stage in plan]


def halved(
    optimizer: torch.optim.Optimizer, steps: int, at: tuple[Fraction, ...]
) -> torch.optim.lr_scheduler.LRScheduler:
    """Half the learning rate after each of the parts ``at`` of all ``steps``."""
    places = [int(part * steps) for part in at]
    return torch.optim.lr_scheduler.MultiStepLR(optimizer, [step for step in places if step > 0], 0.5)
