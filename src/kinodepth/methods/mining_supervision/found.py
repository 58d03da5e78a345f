"""The stages that find masks: slots of motion, ground, and a detector trained on its own last answers (spec
mining_supervision 7)."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping
from dataclasses import replace
from fractions import Fraction
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from kinodepth.geometry.sampling import resize
from kinodepth.methods.base import Objective, Stage, later
from kinodepth.methods.mining_supervision import augmentation, detections, ground, slot_losses, windows
from kinodepth.methods.mining_supervision.artefacts import OBJECT_FIELDS, Scene
from kinodepth.methods.mining_supervision.config import MiningSupervisionConfig
from kinodepth.methods.mining_supervision.model import MiningSupervision
from kinodepth.methods.mining_supervision.objects import area_shares, moving_region, split_ids, stack_ids
from kinodepth.methods.mining_supervision.recipe import HOME, halved
from kinodepth.types import Clip, Sequence

SLOTS = 5
SLOT_THRESHOLD = 0.25  # of a slot's share of a pixel
DEPTH, MOTION, SLOT, ROAD = "extra:scene_depth", "extra:motion", "mask:slots", "mask:road"
FOUND = "mask:found"  # ids of what the detector learns next
SCORES = (0.5, 0.55, 0.55, 0.6, 0.6, 0.65, 0.65, 0.7, 0.7)  # least score of an answer after round 1, 2, ...
CLEANED = (2, 4, 7, 9)  # rounds (the first is 0) whose answers are cleaned
LEAST = 0.001  # of the picture: smallest object of the detector
DECAY = 0.98  # of the detector's rate per round


def with_found_masks(plan: list[Stage], config: MiningSupervisionConfig) -> list[Stage]:
    """The stages of given masks with those that find them in place."""
    depth, motion, together, *rest = plan
    beside = windows.neighbour_fields(config)
    together = replace(together, produces={DEPTH: "depth", MOTION: "half"}, make=later(f"{HOME}.found", "make_motion"))
    slots = replace(
        depth,
        name="slots",
        steps=config.slot_steps,
        batch_size=config.found_batch,
        augment=partial(augmentation.augment, config=replace(config, jitter=False)),
        optimizer=partial(torch.optim.Adam, lr=4e-4),
        schedule=warming,
        fields=beside | {DEPTH, MOTION},
        parts=("slot_net",),
        clips=partial(targets, config=config),
        produces={SLOT: "bits"},
        make=later(f"{HOME}.found", "make_slots"),
    )
    level = replace(
        slots,
        name="ground",
        steps=config.ground_steps,
        augment=partial(augmentation.augment, config=config),
        optimizer=partial(torch.optim.Adam, lr=1e-3),
        schedule=partial(halved, at=(Fraction(1, 4), Fraction(3, 4))),
        fields=beside | {DEPTH},
        parts=("ground_net",),
        produces={ROAD: "bits", FOUND: "ids"},
        make=later(f"{HOME}.found", "make_ground"),
    )
    rounds = [_round(level, number, config, beside) for number in range(config.detector_rounds)]
    return [depth, motion, together, slots, level, *rounds, *rest]


def _round(level: Stage, number: int, config: MiningSupervisionConfig, beside: frozenset[str]) -> Stage:
    """One training of the detector; the last leaves what the stages of given masks leave."""
    last = number == config.detector_rounds - 1
    return replace(
        level,
        name=f"detector_{number}",
        steps=config.detector_steps,
        augment=partial(augmentation.augment, config=replace(config, jitter=False)),
        optimizer=partial(torch.optim.SGD, lr=0.005 * DECAY**number, momentum=0.9, weight_decay=5e-4),
        schedule=None,
        fields=beside | {DEPTH, ROAD, FOUND},
        parts=("detector",),
        clips=partial(detected_windows, config=config),
        produces=OBJECT_FIELDS if last else {FOUND: "ids"},
        make=partial(later(f"{HOME}.found", "make_objects" if last else "make_found"), number=number),
    )


def targets(sequence: Sequence, config: MiningSupervisionConfig) -> list[tuple[int, ...]]:
    """The target of every triplet alone."""
    found = windows.scene_windows(sequence, config)
    return [window[:1] for window in found] if MOTION in sequence.provides or DEPTH in sequence.provides else found


def detected_windows(sequence: Sequence, config: MiningSupervisionConfig) -> list[tuple[int, ...]]:
    """Targets in which there is something to detect; all while nothing is known."""
    found = targets(sequence, config)
    if FOUND not in sequence.provides:
        return found
    return [w for w in found if bool(sequence.records[w[0]].load[FOUND]().any())] or found


def warming(optimizer: torch.optim.Optimizer, steps: int) -> torch.optim.lr_scheduler.LRScheduler:
    """A linear rise over 2 % of the steps and half the rate every 20 %."""

    def factor(step: int) -> float:
        return min(1.0, (step + 1) / max(1, 0.02 * steps)) * 0.5 ** (step / max(1, 0.2 * steps))

    return torch.optim.lr_scheduler.LambdaLR(optimizer, factor)


def found_objective(model: MiningSupervision, clip: Clip, stage: Stage, generator: torch.Generator) -> Objective:
    """The terms of slots, ground or detector."""
    if stage.name == "slots":
        terms = slot_objective(model, clip, stage, generator)
    elif stage.name == "ground":
        terms = ground_objective(model, clip, stage)
    else:
        masks = [split_ids(ids) for ids in clip.masks["found"][:, 0]]
        pictures = detector_pictures(clip.images[:, 0], clip.extra["scene_depth"][:, 0], clip.masks["road"][:, 0])
        terms = model.detector.losses(pictures, masks)
    return Objective(terms, dict.fromkeys(terms, 1.0), {}, {"image": clip.images[:1, 0]})


def slot_objective(model: MiningSupervision, clip: Clip, stage: Stage, generator: torch.Generator) -> dict[str, Tensor]:
    """Both motions of a frame, previous and next, are pictures of their own."""
    flow, depth = (clip.extra[name][:, 0] for name in ("motion", "scene_depth"))
    flow, depth = torch.cat(flow.split(2, 1)), torch.cat([depth, depth])
    size = (model.config.slot_size,) * 2
    pictures = resize(slot_losses.motion_pictures(flow, depth), size)
    moves = resize(slot_losses.moving(flow).float(), size, "nearest")
    found = model.slot_net(pictures, _noise(len(pictures), generator).to(pictures.device))
    total = model.config.slot_steps
    step = stage.done * 174_320 // max(1, total)  # the schedule is that of the published number of steps
    start, late = 20_000, stage.done >= total // 8  # epoch 5 of 40
    terms = slot_losses.slot_terms(found, pictures, moves, step >= start, late, model.config.convention)
    weight = slot_losses.emptiness_weight(step)
    empty = terms.pop("empty")
    return {**terms, "empty": weight * empty} if weight else {**terms, "empty": 0 * empty}


def ground_objective(model: MiningSupervision, clip: Clip, stage: Stage) -> dict[str, Tensor]:
    """Late in training the network's answers to enlarged parts count as well."""
    image, depth = clip.images[:, 0], clip.extra["scene_depth"][:, 0]
    features = ground.ground_features(image, depth)
    guess = ground.ground_mask(depth, clip.intrinsics).float()
    step = stage.done * 87_160 // max(1, model.config.ground_steps)
    terms = ground.ground_terms(model.ground_net, features, guess)
    terms["guess"] = ground.trust(step) * terms["guess"]
    if weight := ground.self_trust(step):
        own, _ = ground.self_terms(model.ground_net, features, guess)
        terms |= {name: term * (1 if name == "part_smooth" else weight) for name, term in own.items()}
    return terms


def detector_pictures(image: Tensor, depth: Tensor, road: Tensor) -> Tensor:
    """B x 5 x H x W: colours, inverse depth over its largest value, road."""
    return torch.cat([ground.ground_features(image, depth), road.to(image.dtype)], 1)


def make_motion(model: nn.Module, sequence: Sequence) -> Iterator[tuple[str, Mapping[str, Tensor]]]:
    """Depth of all frames and their motion beyond that of the camera, previous and next, 4 x H x W pixels."""
    assert isinstance(model, MiningSupervision)
    for names, clip in windows.batches(sequence, model.config, frozenset()):
        scene = Scene(model, clip)
        for index, name in enumerate(names):
            maps = {DEPTH: scene.depth[index], MOTION: scene.pair(scene.shift, index).flatten(0, 1)}
            yield name, {key: value.cpu() for key, value in maps.items()}


def make_slots(model: nn.Module, sequence: Sequence) -> Iterator[tuple[str, Mapping[str, Tensor]]]:
    """The slots of the motion to the previous frame, 5 x H x W (published: of that alone)."""
    assert isinstance(model, MiningSupervision)
    for name, clip in _frames(model, sequence, frozenset({DEPTH, MOTION})):
        flow, depth = clip.extra["motion"][:, 0, :2], clip.extra["scene_depth"][:, 0]
        size = (model.config.slot_size,) * 2
        noise = _noise(1, torch.Generator().manual_seed(0)).to(flow.device)
        found = model.slot_net(resize(slot_losses.motion_pictures(flow, depth), size), noise)
        masks = resize(found.masks[0].transpose(0, 1), flow.shape[-2:], "nearest")[0]
        yield name, {SLOT: (masks > SLOT_THRESHOLD).cpu()}


def make_ground(model: nn.Module, sequence: Sequence) -> Iterator[tuple[str, Mapping[str, Tensor]]]:
    """Road, and the first objects above it. Warns of a recording without any: later stages have nothing to go by."""
    assert isinstance(model, MiningSupervision)
    count = 0
    for name, clip in _frames(model, sequence, frozenset({DEPTH, MOTION, SLOT})):
        features = ground.ground_features(clip.images[:, 0], clip.extra["scene_depth"][:, 0])
        road = model.ground_net(features)[0] > 0
        back, ahead = clip.extra["motion"][0, 0].split(2)
        moving = moving_region(back, ahead, model.config.moving_pixels)
        objects = detections.first_objects(clip.masks["slots"][0, 0], moving, road[0], LEAST)
        count += len(objects)
        yield name, {ROAD: road.cpu(), FOUND: stack_ids(objects.cpu())}
    if not count:
        warnings.warn(
            f"{sequence.name}: no object was found that moves by itself; expected some that move "
            f"{model.config.moving_pixels:g} pixels or more beyond the camera's motion; train stage joint longer "
            "(--set joint_steps), or give masks (kinodepth masks)",
            stacklevel=2,
        )


def make_found(model: nn.Module, sequence: Sequence, number: int) -> Iterator[tuple[str, Mapping[str, Tensor]]]:
    """What the detector finds after round ``number``."""
    for name, clip in _frames(model, sequence, frozenset({DEPTH, ROAD})):
        yield name, {FOUND: stack_ids(_answer(model, clip, number))}


def make_objects(model: nn.Module, sequence: Sequence, number: int) -> Iterator[tuple[str, Mapping[str, Tensor]]]:
    """What the detector finds after its last round, prepared as given masks are."""
    assert isinstance(model, MiningSupervision)
    fields = frozenset({DEPTH, ROAD})
    for names, clip in windows.batches(sequence, model.config, fields):
        scene = Scene(model, clip)
        for index, name in enumerate(names):
            one = replace(
                clip, images=clip.images[index, None], extra=_of(clip.extra, index), masks=_of(clip.masks, index)
            )
            road = one.masks["road"][0, 0]
            yield name, scene.objects(index, stack_ids(_answer(model, one, number, views=True)), road)


def _answer(model: Any, clip: Clip, number: int, views: bool = False) -> Tensor:
    """Masks in the picture of ``clip`` (B = 1), and with ``views`` in enlarged parts of it."""
    device = next(model.parameters()).device
    image, road = clip.images[:, 0].to(device), clip.masks["road"][:, 0].to(device).float()
    depth = clip.extra["scene_depth"][:, 0].to(device)
    score = SCORES[min(number, len(SCORES) - 1)]
    found = [model.detector.masks(detector_pictures(image, depth, road)[0], score)]
    for window in detections.closer_views(*image.shape[-2:]) if views else ():
        part = detections.zoom(image, window)
        answer = model.detector.masks(
            detector_pictures(part, model.depth(part), detections.zoom(road, window))[0], score
        )
        found.append(detections.unzoom(answer[None].float(), window)[0] > 0.5 if len(answer) else answer)
    masks = torch.cat(found)
    masks = masks[area_shares(masks) >= LEAST]
    if views or number in CLEANED:
        masks = detections.cleaned(masks, road[0, 0] > 0.5, LEAST)
    return masks.cpu()


def _frames(model: Any, sequence: Sequence, fields: frozenset[str]) -> Iterator[tuple[str, Clip]]:
    """The targets of a recording one by one, on the device of ``model``."""
    device = next(model.parameters()).device
    for names, clip in windows.batches(sequence, replace(model.config, batch_size=1), fields):
        yield names[0], clip.to(device)


def _of(maps: Mapping[str, Tensor], index: int) -> dict[str, Tensor]:
    return {name: values[index, None] for name, values in maps.items()}


def _noise(count: int, generator: torch.Generator) -> Tensor:
    from kinodepth.methods.mining_supervision.slots import SIZE

    return torch.randn(count, SLOTS, SIZE, generator=generator)
