"""The training losses of DeepVideoMVS (spec deep_video_mvs 6).

Shapes: B windows of T frames, S predictions per window (pair net: both frames from each other; fusion net: every frame
but the first, from the one before). Their B S samples go through encoder and decoder in one forward.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from kinodepth.geometry.sampling import resize
from kinodepth.losses.reduction import masked_mean
from kinodepth.methods.base import Objective, Stage
from kinodepth.methods.deep_video_mvs.model import FusionNet, Memory, PairNet, match, normalize
from kinodepth.methods.deep_video_mvs.networks import PYRAMID
from kinodepth.types import Clip

SIZES = ("full", "half", "quarter", "one_eight", "one_sixteen")
LAST_STAGE = "cell"  # trains on the depth it will have in use: its own


def depth_losses(prediction: Tensor, truth: Tensor) -> dict[str, Tensor]:
    """Mean over the pixels with ground truth of four differences, in metres and 1 / metres; 0 if there are none.

    ``prediction`` B x 1 x h x w, ``truth`` B x 1 x H x W, which is resized to it by picking pixels.
    """
    truth = resize(truth, prediction.shape[-2:], "nearest_floor")
    valid = truth > 0
    known = torch.where(valid, truth, 1)
    difference = (known - prediction).abs()
    maps = {
        "l1": difference,
        "huber": F.smooth_l1_loss(prediction, known, reduction="none"),
        "inverse": (1 / known - 1 / prediction).abs(),
        "relative": difference / known,
    }
    return {name: masked_mean(values, valid) for name, values in maps.items()}


def matching_loss(volume: Tensor, truth: Tensor, near: float, far: float) -> Tensor:
    """Cross entropy, in nats, of matching scores ``volume`` B x 64 x h x w as logits with the planes that hold the
    ``truth`` B x 1 x H x W; 0 where nothing counts.

    The share of a plane falls linearly with its distance in inverse depth. Scores are means over 32 channels; the
    logits are their sums over the root of 32. Pixels without truth in range, or that the other view does not see at
    their true depth (score 0), do not count. Ours, not of the paper.
    """
    planes = volume.shape[1]
    depth = resize(truth, volume.shape[-2:], "nearest_floor")
    known = (depth >= near) & (depth <= far)
    place = (1 / torch.where(known, depth, far) - 1 / far) / (1 / near - 1 / far) * (planes - 1)
    low = place.floor().clamp(0, planes - 2).long()
    share = place - low
    ends = volume.gather(1, low), volume.gather(1, low + 1)
    logs = (volume * PYRAMID**0.5).log_softmax(1)
    losses = (share - 1) * logs.gather(1, low) - share * logs.gather(1, low + 1)
    return masked_mean(losses, known & (ends[0] != 0) & (ends[1] != 0))


class Predicted(NamedTuple):
    """``depths`` of a window's S predictions, five sizes of B x S x 1 x h x w, and the ``truth`` B x S x 1 x H x W;
    the matching scores ``volume`` B S x 64 x H/2 x W/2 with the truth ``matched`` B S x 1 x H x W that they are for."""

    depths: list[Tensor]
    truth: Tensor
    volume: Tensor
    matched: Tensor


def predict_pairs(model: PairNet, clip: Clip, mirrored: Tensor) -> Predicted:
    """Depths of both frames of two-frame windows from each other.

    ``mirrored`` 2 says which are mirrored behind the matching: features, volume, image and ground truth (spec 6).
    """
    assert clip.cam_to_world is not None
    assert clip.depth is not None
    images, poses, views = normalize(clip.images), clip.cam_to_world, clip.images.shape[1]
    pyramid = model.pyramid(images.flatten(0, 1), views)
    half = pyramid[0].unflatten(0, images.shape[:2])
    volume = match(
        model.config,
        pyramid[0],
        half.flip(1).flatten(0, 1)[:, None],
        poses.flatten(0, 1),
        poses.flip(1).flatten(0, 1)[:, None],
        clip.intrinsics.repeat_interleave(views, 0),
    )
    turned = mirrored.to(images.device).repeat(len(images))[:, None, None, None]

    def mirror(values: Tensor) -> Tensor:
        return torch.where(turned, values.flip(-1), values) if bool(mirrored.any()) else values

    flat = mirror(images.flatten(0, 1))
    with model.batched(views):
        *skips, bottom = model.encoder([mirror(level) for level in pyramid], mirror(volume))
        depths = model.depths(model.decoder(flat, skips, bottom))
    matched = clip.depth.flatten(0, 1)
    truth = mirror(matched).unflatten(0, images.shape[:2])
    return Predicted([depth.unflatten(0, images.shape[:2]) for depth in depths], truth, volume, matched)


def predict_windows(model: FusionNet, clip: Clip, own_depth: bool) -> Predicted:
    """Depths of all frames but the first, each matched with the one before.

    The hidden state follows the camera by ground truth, with ``own_depth`` by the previous prediction (spec 2.7).
    """
    assert clip.cam_to_world is not None
    assert clip.depth is not None
    images, poses, intrinsics = normalize(clip.images), clip.cam_to_world, clip.intrinsics
    batch, steps = len(images), images.shape[1] - 1
    levels = [level.unflatten(0, images.shape[:2]) for level in model.pyramid(images.flatten(0, 1), steps + 1)]
    volume = match(
        model.config,
        levels[0][:, 1:].flatten(0, 1),
        levels[0][:, :-1].flatten(0, 1)[:, None],
        poses[:, 1:].flatten(0, 1),
        poses[:, :-1].flatten(0, 1)[:, None],
        intrinsics.repeat_interleave(steps, 0),
    )
    with model.batched(steps):
        *flat_skips, bottom = model.encoder([level[:, 1:].flatten(0, 1) for level in levels], volume)
    skips = [skip.unflatten(0, (batch, steps)) for skip in flat_skips]
    bottoms, truth = bottom.unflatten(0, (batch, steps)), clip.depth[:, 1:]
    matched = truth.flatten(0, 1)
    memory: Memory | None = None
    hiddens, found = [], []
    for step in range(steps):
        pose = poses[:, step + 1]
        estimate = None if own_depth else truth[:, step, :, ::32, ::32]
        hidden, cell = model.recall(bottoms[:, step], memory, pose, intrinsics, estimate)
        depth = truth[:, step]
        if own_depth:
            found.append(model.depths(model.decoder(images[:, step + 1], [skip[:, step] for skip in skips], hidden)))
            depth = found[-1][0].detach()
        memory = Memory(hidden, cell, depth, pose)
        hiddens.append(hidden)
    if own_depth:
        return Predicted([torch.stack(maps, 1) for maps in zip(*found)], truth, volume, matched)
    with model.batched(steps):
        flat = model.decoder(images[:, 1:].flatten(0, 1), flat_skips, torch.stack(hiddens, 1).flatten(0, 1))
    depths = [depth.unflatten(0, (batch, steps)) for depth in model.depths(flat)]
    return Predicted(depths, truth, volume, matched)


def objective(model: nn.Module, clip: Clip, stage: Stage, generator: torch.Generator) -> Objective:
    """One term per size: the sum over the predictions of a window of their mean differences (spec 6)."""
    assert isinstance(model, PairNet)
    config = model.config
    if not config.freeze_statistics:  # published: parts that do not train see batch statistics all the same
        for child in model.children():
            child.train(model.training)
    if isinstance(model, FusionNet):
        found = predict_windows(model, clip, own_depth=stage.name == LAST_STAGE)
    else:
        draws = torch.rand(clip.images.shape[1], generator=generator)
        found = predict_pairs(model, clip, draws < (0.5 if config.flip else 0.0))
    depths, truth, *_ = found
    terms = {
        size: torch.stack([depth_losses(depth[:, s], truth[:, s])[config.loss] for s in range(truth.shape[1])]).sum()
        for size, depth in zip(SIZES, depths, strict=True)
    }
    weights = dict.fromkeys(terms, 1.0)
    if config.matching_weight:
        terms["matching"] = matching_loss(found.volume, found.matched, config.near, config.far)
        weights["matching"] = config.matching_weight
    with torch.no_grad():
        scalars = depth_losses(depths[0].flatten(0, 1), truth.flatten(0, 1))
    images = {"image": clip.images[:1, clip.target], "depth": depths[0][:1, -1].detach(), "truth": truth[:1, -1]}
    return Objective(terms, weights, scalars, images)


@torch.no_grad()
def validate(model: nn.Module, clip: Clip) -> Tensor:
    """The mean difference of inverse depth, 1 / m, at full size; NaN without ground truth."""
    assert isinstance(model, PairNet)
    if clip.depth is None or clip.cam_to_world is None:
        return torch.tensor(torch.nan)
    if isinstance(model, FusionNet):
        depths, truth, *_ = predict_windows(model, clip, own_depth=True)
    else:
        depths, truth, *_ = predict_pairs(model, clip, torch.zeros(clip.images.shape[1], dtype=torch.bool))
    found = depth_losses(depths[0].flatten(0, 1), truth.flatten(0, 1))["inverse"]
    return torch.where((truth > 0).any(), found, torch.nan)
