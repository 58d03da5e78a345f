"""SC-Depth V3: what another network's depth of the target teaches where moving things mislead the comparison of views:
the order of depths, normals, and how normals change across edges (spec sc_depth 5.3, 8).

Shapes: B windows. The prior B x 1 x H x W is larger where farther, in any unit; 0 or not finite = unknown.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from kinodepth.geometry.normals import normals_from_depth
from kinodepth.losses.normals import normal_matching_loss, relative_normal_loss
from kinodepth.losses.ranking import order_labels, ranking_loss
from kinodepth.losses.smoothness import edge_aware_smoothness_loss
from kinodepth.methods.base import Objective, Stage
from kinodepth.methods.sc_depth import pairs
from kinodepth.methods.sc_depth.config import ScDepthV3Config
from kinodepth.methods.sc_depth.model import ScDepth
from kinodepth.methods.sc_depth.objective import PairMaps, explain, pair_losses, summary, views
from kinodepth.types import Clip, InputError

NOTHING = 1e-8  # prior depth up to which two pixels have no order


def dynamic_weight(maps: PairMaps) -> Tensor:
    """How well each target pixel fits a still world, B x 1 x H x W: 1 - inconsistency with the references where it can
    be told, else 1, averaged over the references (spec 5.3)."""
    geometry, valid = maps.geometry[:, ::2].detach(), maps.valid[:, ::2]
    return torch.where(valid, 1 - geometry, 1).mean(1, keepdim=True)


def mask_ranking_loss(depth: Tensor, prior: Tensor, confident: Tensor, everywhere: Tensor) -> Tensor:
    """Return the ranking loss of both sets of pairs together: ``confident`` 2 x B x n pixels, ``everywhere`` 2 x n the
    same in every picture (spec 8.2)."""
    z, q = depth.flatten(1), prior.flatten(1)
    a, b = torch.cat([confident, everywhere[:, None].expand(-1, len(z), -1)], 2)
    q_a, q_b = q.gather(1, a), q.gather(1, b)
    count = confident.shape[2]
    labels = order_labels(q_a[:, :count], q_b[:, :count], is_inclusive=True)
    labels_everywhere = order_labels(q_a[:, count:], q_b[:, count:])
    nothing = (q_a[:, count:] <= NOTHING) & (q_b[:, count:] <= NOTHING)
    labels = torch.cat([labels, labels_everywhere.masked_fill(nothing, 0)], 1)
    return ranking_loss(z.gather(1, a), z.gather(1, b), labels)


def draw_normal_pairs(
    image: Tensor, prior: Tensor, prior_normals: Tensor, generator: torch.Generator, per_batch: bool
) -> Tensor:
    """Pairs of pixels across edges of the image and of the prior's normals, 2 x P flat indices (spec 8.3)."""
    steps = pairs.depth_steps(prior, per_batch)
    drawn = []
    for found, border in ((pairs.image_edges(image), 0), (pairs.normal_edges(prior_normals), pairs.BORDER)):
        anchors = pairs.draw_anchors(pairs.is_edge(found, steps, border), generator)
        distances = pairs.draw_distances(len(anchors), generator).to(anchors.device)
        drawn.append(pairs.pairs_across(found, anchors, distances))
    return torch.cat(drawn, 1)


def prior_terms(
    depth: Tensor,
    image: Tensor,
    prior: Tensor,
    intrinsics: Tensor,
    weight: Tensor,
    config: ScDepthV3Config,
    generator: torch.Generator,
) -> dict[str, Tensor]:
    """The three terms of the prior for target ``depth`` B x 1 x H x W, ``image`` normalised, ``weight`` as above.

    Unknown prior depth, and every normal it takes part in, teaches nothing; ``published`` takes 0 for a depth.
    """
    with torch.no_grad():
        published = config.convention == "published"
        usable = prior.isfinite() & ((prior >= 0) if published else (prior > 0))
        prior = torch.where(usable, prior, torch.nan)  # NaN is passed on to everything that is computed from it
        prior_normals = normals_from_depth(prior, intrinsics)
        across = draw_normal_pairs(image, prior, prior_normals, generator, per_batch=published)
        known = prior_normals.isfinite().all(1, keepdim=True)
        prior_normals = torch.where(known, prior_normals, 0)
        confident = pairs.confident_pairs(pairs.unreliable_mask(weight), generator)
        everywhere = pairs.global_pairs(prior[0].numel(), generator, config.global_pairs).to(prior.device)
    normals = normals_from_depth(depth, intrinsics)
    return {
        "normal_matching": normal_matching_loss(normals, prior_normals, known),
        "mask_ranking": mask_ranking_loss(depth, prior, confident, everywhere),
        "normal_ranking": relative_normal_loss(normals, prior_normals, across, known),
    }


def objective(model: nn.Module, clip: Clip, stage: Stage, generator: torch.Generator) -> Objective:
    """The terms of V3 for one batch (spec 9)."""
    assert isinstance(model, ScDepth)
    images, config = views(clip), model.config
    assert isinstance(config, ScDepthV3Config)
    if clip.prior_depth is None:
        raise InputError("the clip has no prior depth, which sc_depth_v3 learns from; add it with `kinodepth prior`")
    found = explain(model, images, clip.intrinsics)
    depth, prior = found.depths[:, 0], clip.prior_depth[:, clip.target]
    with torch.autocast(images.device.type, enabled=False):
        terms = pair_losses(found.maps, config)
        weight = dynamic_weight(found.maps)
        terms |= prior_terms(depth, images[:, 0], prior, clip.intrinsics, weight, config, generator)
        if config.smooth_weight:
            terms["smooth"] = edge_aware_smoothness_loss(depth, images[:, 0])
    return summary(clip, found, terms, config, dynamic_weight=weight.mean())
