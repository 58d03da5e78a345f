"""What Dynamic-multiframe-depth minimises (spec dynamic_multiframe 9, 10.2), from a batch of windows to named terms."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import torch
from torch import Tensor, nn

from kinodepth.geometry.depth import invert_depth
from kinodepth.losses.reduction import masked_mean
from kinodepth.methods.base import Objective, Stage
from kinodepth.methods.dynamic_multiframe.config import DynamicMultiframeConfig
from kinodepth.methods.dynamic_multiframe.losses import (
    Triples,
    draw_published_triples,
    draw_triples,
    full_size,
    scale_invariant_loss,
    true_triples,
    virtual_normal_loss,
)
from kinodepth.methods.dynamic_multiframe.model import DynamicMultiframe, Outputs
from kinodepth.networks.batch_norm import batch_groups
from kinodepth.types import Clip

NEAREST = 0.01  # metres: nearer ground truth counts as this
CELL = 8  # pixels of a side of what volume dropout blanks at once


def depth_terms(
    outputs: Outputs, depth: Tensor, config: DynamicMultiframeConfig, triples: Callable[[], Triples]
) -> dict[str, Tensor]:
    """The terms of all four sizes of both branches against measured ``depth`` B x 1 x H x W (metres, 0 = none).

    ``triples`` gives those of the next virtual-normal term; they are asked for in published order.
    """
    known = depth > 0
    truth = invert_depth(torch.where(known, depth.clamp(min=NEAREST), 0))
    terms = {}
    for i, pair in enumerate(zip(outputs.final, outputs.mono, strict=True)):
        for branch, values in zip(("", "mono_"), pair):
            prediction = full_size(values, truth.shape[-2:]).float()
            terms[f"sdl_{branch}{i}"] = scale_invariant_loss(prediction, truth, known)
            if config.loss == "virtual_normal":
                terms[f"vnl_{branch}{i}"] = virtual_normal_loss(1 / prediction, triples())
    return terms


def term_weights(terms: dict[str, Tensor], config: DynamicMultiframeConfig) -> dict[str, float]:
    return {name: 8 * config.alpha if name.startswith("sdl") else 1.0 for name in terms}


def triples_for(
    clip_depth: Tensor, intrinsics: Tensor, config: DynamicMultiframeConfig, generator: torch.Generator
) -> Iterator[Triples]:
    """Triples for one term after the other: drawn anew for each under ``published``, else the same for all."""
    count = int(config.triple_share * clip_depth[0].numel())
    known = clip_depth > 0
    depth = torch.where(known, clip_depth.clamp(min=NEAREST), 0)
    if config.triples == "valid":
        triples = true_triples(depth, draw_triples(known, count, generator), intrinsics, config.convention)
        while True:
            yield triples
    while True:
        yield true_triples(depth, draw_published_triples(known, count, generator), intrinsics, config.convention)


def predict(
    model: DynamicMultiframe, clip: Clip, mirrored: Tensor | None = None, keeps: Tensor | None = None
) -> Outputs:
    """Outputs for the target of windows. Those samples that ``mirrored`` (B, bool) names pass the networks as mirror
    images; the matching before and what comes out do not (spec 10.2)."""
    assert clip.cam_to_world is not None
    images, poses, t = clip.images, clip.cam_to_world, clip.target
    others = list(clip.sources)
    volume = model.volume(images[:, t], images[:, others], poses[:, t], poses[:, others], clip.intrinsics)

    def turned(values: Tensor) -> Tensor:
        if mirrored is None or not bool(mirrored.any()):
            return values
        return torch.where(mirrored.to(values.device)[:, None, None, None], values.flip(-1), values)

    with batch_groups(model, model.config.statistics_groups if model.training else 1):
        outputs = model(turned(images[:, t]), turned(volume), keeps)
    return Outputs([turned(x) for x in outputs.final], [turned(x) for x in outputs.mono], turned(outputs.plane))


def objective(model: nn.Module, clip: Clip, stage: Stage, generator: torch.Generator) -> Objective:
    """Scale-invariant and virtual-normal terms of both branches at four sizes (spec 9.1)."""
    assert isinstance(model, DynamicMultiframe)
    assert clip.depth is not None
    config = model.config
    if not config.freeze_statistics:  # published: an encoder that does not train sees batch statistics all the same
        model.image_encoder.train(model.training)
    mirrored = torch.rand(len(clip.images), generator=generator) < (0.5 if config.flip else 0.0)
    outputs = predict(model, clip, mirrored, volume_mask(clip, config, generator))
    depth = clip.depth[:, clip.target]
    if config.loss == "photometric":
        from kinodepth.methods.dynamic_multiframe.photometric import photometric_terms

        terms, weights = photometric_terms(outputs, clip, config)
    else:
        triples = triples_for(depth, clip.intrinsics, config, generator)
        terms = depth_terms(outputs, depth, config, lambda: next(triples))
        weights = term_weights(terms, config)
    with torch.no_grad():
        scalars = errors(outputs, depth)
    images = {
        "image": clip.images[:1, clip.target],
        "depth": 1 / outputs.final[0][:1].detach(),
        "mono_depth": 1 / outputs.mono[0][:1].detach(),
        "truth": depth[:1],
    }
    return Objective(terms, weights, scalars, images)


def volume_mask(clip: Clip, config: DynamicMultiframeConfig, generator: torch.Generator) -> Tensor | None:
    """Where the fused volume stays, B x 1 x H x W of 0 and 1; None where everything does (spec 8, step 6)."""
    if not config.volume_dropout:
        return None
    height, width = clip.images.shape[-2:]
    size = (height // CELL, width // CELL) if config.volume_dropout_cells else (1, 1)
    blank = torch.rand(len(clip.images), 1, *size, generator=generator) < config.volume_dropout
    keeps = full_size((~blank).float(), torch.Size((height, width)))
    return keeps.to(clip.images.device)


def errors(outputs: Outputs, depth: Tensor) -> dict[str, Tensor]:
    """Mean relative errors of both branches where depth is measured; 0 without any."""
    known = depth > 0
    safe = torch.where(known, depth, 1)
    found = {"abs_rel": outputs.final[0], "abs_rel_mono": outputs.mono[0]}
    return {name: masked_mean((1 / inverse - safe).abs() / safe, known) for name, inverse in found.items()}


@torch.no_grad()
def validate(model: nn.Module, clip: Clip) -> Tensor:
    """The scale-invariant term at full size; NaN without ground truth."""
    assert isinstance(model, DynamicMultiframe)
    if clip.depth is None or clip.cam_to_world is None:
        return torch.tensor(torch.nan)
    depth = clip.depth[:, clip.target]
    known = depth > 0
    found = scale_invariant_loss(predict(model, clip).final[0], invert_depth(depth), known)
    return torch.where(known.sum() > 1, found, torch.nan)
