"""What the stages leave for each other: depth and objects of every frame, labels of moving objects (spec
mining_supervision 6, 8, 9). Everything is computed at network size."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import torch
from torch import Tensor, nn

from kinodepth.geometry.sampling import resize
from kinodepth.methods.mining_supervision import joint
from kinodepth.methods.mining_supervision.alignment import nearest, prepare
from kinodepth.methods.mining_supervision.ground import ground_mask
from kinodepth.methods.mining_supervision.model import MiningSupervision, moves
from kinodepth.methods.mining_supervision.objective import label_boxes
from kinodepth.methods.mining_supervision.objects import (
    are_dynamic,
    area_shares,
    in_neighbours,
    moving_region,
    split_ids,
    stack_ids,
)
from kinodepth.methods.mining_supervision.windows import batches
from kinodepth.types import Clip, Sequence

Maps = Mapping[str, Tensor]
LARGEST = 0.5  # of the picture: what is larger is no object
OBJECT_FIELDS = {
    "mask:objects": "ids",
    "mask:objects_previous": "ids",
    "mask:objects_next": "ids",
    "mask:moving_objects": "bits",
    "mask:road": "bits",
}
SCENE_FIELDS = {"extra:scene_depth": "depth", **OBJECT_FIELDS}
LABEL_FIELDS = {"extra:label": "depth"}


def make_scene(model: nn.Module, sequence: Sequence) -> Iterator[tuple[str, Maps]]:
    """Depth and objects of all frames of a recording with ``mask:instances`` (and ``mask:movable`` and ``mask:road``,
    if it has them; without road, what of the depth lies level is taken for it)."""
    assert isinstance(model, MiningSupervision)
    known = frozenset({"mask:instances", "mask:movable", "mask:road"}) & sequence.provides
    for names, clip in batches(sequence, model.config, known):
        scene = Scene(model, clip)
        size = scene.depth.shape[-2:]
        ids = resize(clip.masks["instances"][:, 0].float(), size, "nearest").int()
        if "movable" in clip.masks:
            ids = ids * (resize(clip.masks["movable"][:, 0].float(), size, "nearest") > 0.5).int()
        road = ground_mask(scene.depth, scene.intrinsics)
        if "road" in clip.masks:
            road = resize(clip.masks["road"][:, 0].float(), size) > 0.5
        for index, name in enumerate(names):
            maps = scene.objects(index, ids[index], road[index].cpu())
            yield name, {"extra:scene_depth": scene.depth[index].cpu(), **maps}


class Scene:
    """What the networks of the scene say about the triplets of ``clip`` (images B x 3 x 3 x H x W)."""

    def __init__(self, model: MiningSupervision, clip: Clip) -> None:
        self.config = config = model.config
        device = next(model.parameters()).device
        self.images = images = clip.images.to(device)
        target, neighbours = images[:, 0], torch.cat([images[:, 1], images[:, 2]])
        self.intrinsics = clip.intrinsics.to(device)
        self.depth = model.depth(target)
        self.moves = joint.neighbours_from_target(*moves(model.pose_net, images).chunk(2))
        twice = self.intrinsics.repeat(2, 1, 1)
        seen = joint.seen_by_neighbours(target, self.depth, self.moves, twice, config.convention)
        flow = model.flow_net(seen.image, neighbours)
        self.motion = joint.residual_motion(flow, seen.depth, self.moves, twice, "large", config.convention)
        self.shift = joint.motion_to_store(self.depth, self.moves, twice, self.motion, config.convention)

    def pair(self, both: Tensor, index: int) -> Tensor:
        """What belongs to target ``index`` of something stacked for both neighbours, 2 x ..."""
        return both[index :: len(self.depth)]

    def objects(self, index: int, ids: Tensor, road: Tensor) -> dict[str, Tensor]:
        """The object fields of target ``index`` from raw ``ids`` and ``road``, both 1 x H x W."""
        config = self.config
        masks = split_ids(ids.cpu())
        share = area_shares(masks)
        order = ((share > config.least_object) & (share < LARGEST)).nonzero()[:255, 0]
        masks = masks[order]
        back, ahead = self.pair(self.shift, index).cpu()
        moving = moving_region(back, ahead, config.moving_pixels)
        dynamic = are_dynamic(masks, moving, config.moving_share, config.middle_parts)
        masks = masks & ~road
        there = torch.zeros(2, *masks.shape, dtype=torch.bool)
        if len(masks):
            there = in_neighbours(
                masks.to(self.depth.device),
                self.depth[index, None],
                self.pair(self.moves, index),
                self.intrinsics[index, None],
                self.pair(self.motion, index),
                config.convention,
            ).cpu()
        seen = torch.stack([area_shares(m) for m in (masks, *there)]).amin(0) > config.least_object
        new = torch.arange(1, len(masks) + 1)
        return {
            "mask:objects": stack_ids(masks, new),
            "mask:objects_previous": stack_ids(there[0][seen], new[seen]),
            "mask:objects_next": stack_ids(there[1][seen], new[seen]),
            "mask:moving_objects": masks[dynamic].any(0, keepdim=True),
            "mask:road": road,
        }


def make_labels(model: nn.Module, sequence: Sequence) -> Iterator[tuple[str, Maps]]:
    """Labels of the moving objects of a recording, 0 elsewhere."""
    assert isinstance(model, MiningSupervision)
    device = next(model.parameters()).device
    fields = frozenset({"extra:scene_depth", "mask:objects", "mask:moving_objects", "mask:road"})
    for names, clip in batches(sequence, model.config, fields):
        for index, name in enumerate(names):
            ids = clip.masks["objects"][index, 0] * clip.masks["moving_objects"][index, 0]
            masks = split_ids(ids)
            depth, road = (x[index, 0].to(device) for x in (clip.extra["scene_depth"], clip.masks["road"].float()))
            label = torch.zeros_like(depth)
            if len(masks):
                label = _label(model, clip.images[index, 0].to(device), masks.to(device), depth, road)
            yield name, {"extra:label": label.cpu()}


def _label(model: MiningSupervision, image: Tensor, masks: Tensor, depth: Tensor, road: Tensor) -> Tensor:
    """The nearest of the aligned objects ``masks`` N x H x W, 1 x H x W; 0 where there is none."""
    inside = masks[:, None].float()
    pictures = image.expand(len(masks), *image.shape)
    own = model.object_depth(pictures * inside)
    box = label_boxes(masks)[:, None].float()
    found = prepare(depth.expand_as(inside), own, inside, box, road.expand_as(inside))
    scale = model.scale_net(pictures, *found)
    return nearest((scale[..., None, None] * found.relative).clamp(min=0))
