"""What each stage learns from (spec mining_supervision 6 to 10). Names of stages are those of ``recipe``."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn

from kinodepth.methods.base import Objective, Stage
from kinodepth.methods.mining_supervision import joint
from kinodepth.methods.mining_supervision.alignment import alignment_loss, prepare
from kinodepth.methods.mining_supervision.augmentation import OBJECT, pyramid
from kinodepth.methods.mining_supervision.config import MiningSupervisionConfig
from kinodepth.methods.mining_supervision.model import MiningSupervision, moves
from kinodepth.methods.mining_supervision.objects import boxes, dilate
from kinodepth.types import Clip

DILATIONS = 2  # of the boxes of objects in labels, by 5 x 5 pixels


def objective(model: nn.Module, clip: Clip, stage: Stage, generator: torch.Generator) -> Objective:
    """The terms of one batch of ``stage``."""
    assert isinstance(model, MiningSupervision)
    if stage.name == "objects":
        return object_objective(model, clip)
    if stage.name == "alignment":
        return alignment_objective(model, clip)
    if stage.name in ("depth", "motion", "joint", "final"):
        return scene_objective(model, clip, stage.name, automask=automasks(stage, model.config))
    from kinodepth.methods.mining_supervision.found import found_objective

    return found_objective(model, clip, stage, generator)


def automasks(stage: Stage, config: MiningSupervisionConfig) -> bool:
    """Whether pixels do not count that the unmoved neighbours explain better.

    Those are most pixels to nets that know nothing yet, and to leave them out can teach that everything is far away.
    """
    waits = stage.name == "depth" and config.convention == "exact"
    return not waits or stage.done >= config.automask_after * stage.steps


def scene_objective(model: MiningSupervision, clip: Clip, stage: str, automask: bool = True) -> Objective:
    """Depth, pose and motion of B triplets (target, previous, next); ``automask`` as in ``joint_terms``."""
    config = model.config
    if stage == "motion" and config.convention == "published":
        model.depth_net.train(), model.pose_net.train()  # their running statistics still move
    images, target = clip.images, clip.images[:, 0]
    depths = model.depths(target)
    answers = moves(model.pose_net, images)
    neighbours = torch.cat([images[:, 1], images[:, 2]])
    with torch.autocast(target.device.type, enabled=False):
        transforms = joint.neighbours_from_target(*answers.chunk(2))
        intrinsics = clip.intrinsics.repeat(2, 1, 1)
        seen = joint.seen_by_neighbours(target, depths[0], transforms, intrinsics, config.convention)
    motion = None
    if stage != "depth":
        flow = model.flow_net(seen.image, neighbours)
        gate: Literal["known", "large"] = "known" if stage == "motion" else "large"
        with torch.autocast(target.device.type, enabled=False):
            motion = joint.residual_motion(flow, seen.depth, transforms, intrinsics, gate, config.convention)
    with torch.autocast(target.device.type, enabled=False):
        found = joint.joint_terms(
            pyramid(target), neighbours, depths, transforms, intrinsics, motion, config.convention, automask
        )
        terms = means(found.terms)
        if stage == "final":
            label = clip.extra["label"][:, 0]
            known = label > 0
            filled = torch.where(known, label, clip.extra["scene_depth"][:, 0])
            filled = filled * known.flatten(1).any(1)[:, None, None, None]
            terms |= means(joint.label_terms(depths, filled, known.float(), config.convention))
    if stage in ("depth", "motion"):
        terms.pop("sparsity", None)
    weights = {"photo": 1.0, "smooth": config.smooth_weight}
    weights |= {"sparsity": config.sparsity_weight, "label": config.label_weight}
    pictures = {"image": target[:1], "depth": depths[0][:1].detach(), "counted": found.counted[:1].float()}
    if motion is not None:
        pictures["motion"] = motion[:1].detach().norm(dim=1, keepdim=True)
    with torch.no_grad():
        scalars = {"depth_mean": depths[0].mean(), "translation": answers[:, 3:].norm(dim=1).mean()}
        scalars["counted_share"] = found.counted.float().mean()
        scalars |= {"moving_share": (motion.abs().sum(1) > 0).float().mean()} if motion is not None else {}
    return Objective(terms, {name: weights[name] for name in terms}, scalars, pictures)


def means(terms: dict[str, Tensor]) -> dict[str, Tensor]:
    """Terms ``name_s`` of several scales as their mean ``name``."""
    names = dict.fromkeys(name.rpartition("_")[0] or name for name in terms)
    return {
        n: torch.stack([t for name, t in terms.items() if (name.rpartition("_")[0] or name) == n]).mean() for n in names
    }


def object_objective(model: MiningSupervision, clip: Clip) -> Objective:
    """Depth of one object per triplet and how it moves towards the camera: everything else is black."""
    config = model.config
    images = clip.images * clip.masks[OBJECT]
    depth = model.object_depth(images[:, 0])
    answers = moves(model.object_pose_net, images)
    with torch.autocast(images.device.type, enabled=False):
        found = joint.object_terms(
            images[:, 0],
            torch.cat([images[:, 1], images[:, 2]]),
            clip.masks[OBJECT][:, 0].float(),
            depth,
            joint.neighbours_from_target(*answers.chunk(2)),
            clip.intrinsics.repeat(2, 1, 1),
            config.convention,
        )
    weights = {"photo": 1.0, "smooth": config.object_smooth_weight}
    pictures = {"image": images[:1, 0], "depth": depth[:1].detach()}
    return Objective(found.terms, weights, {"counted_share": found.counted.float().mean()}, pictures)


def alignment_objective(model: MiningSupervision, clip: Clip) -> Objective:
    """The scale of one standing object per picture, whose depth in the scene is known."""
    image, mask = clip.images[:, 0], clip.masks[OBJECT][:, 0].float()
    depth, road = clip.extra["scene_depth"][:, 0], clip.masks["road"][:, 0].float()
    with torch.no_grad():
        own = model.object_depth(image * mask)
    found = prepare(depth, own, mask, boxes(mask[:, 0] > 0.5)[:, None].float(), road)
    scale = model.scale_net(image, *found)
    scaled = scale[..., None, None] * found.relative
    with torch.autocast(image.device.type, enabled=False):
        loss = alignment_loss(scaled, depth, found.mask, model.config.convention)
    truth = (depth * found.mask).sum((1, 2, 3)) / found.mask.sum((1, 2, 3)).clamp(min=1)
    off = ((scale[:, 0] - truth).abs() / truth.clamp(min=1e-3)).mean().detach()
    return Objective({"scale": loss}, {"scale": 1.0}, {"relative_error": off}, {"image": image[:1] * mask[:1]})


def label_boxes(masks: Tensor) -> Tensor:
    """Boxes N x H x W around objects whose depth is to be aligned, a little larger than they are."""
    return dilate(boxes(masks), DILATIONS)


@torch.no_grad()
def validate(model: nn.Module, clip: Clip) -> Tensor:
    """The photometric term of the finest scale with object motion, in eval mode; needs no ground truth."""
    assert isinstance(model, MiningSupervision)
    return scene_objective(model, clip, "joint").terms["photo"]
