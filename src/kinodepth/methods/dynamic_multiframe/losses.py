"""The losses of Dynamic-multiframe-depth (spec dynamic_multiframe 9.1): scale-invariant log, virtual normals."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from kinodepth.geometry.sampling import resize
from kinodepth.types import Convention

SPREAD, MEAN_WEIGHT = 10.0, 0.15  # of the scale-invariant term
PARALLEL = 0.867  # cosine from which two sides of a triple count as parallel
THIN = 0.005  # metres: least extent of a triple along at least one axis
DROPPED = 0.25  # share of the triples, the best ones, that do not count


def scale_invariant_loss(prediction: Tensor, truth: Tensor, known: Tensor) -> Tensor:
    """Return 10 sqrt(Var g + 0.15 mean(g)^2) of g = ln(prediction / truth) over all ``known`` pixels of the batch.

    Depth or inverse depth, it is the same. 0 without gradient with fewer than two such pixels and at a perfect
    prediction, where the released code gives NaN and an infinite gradient.
    """
    count = known.sum()
    log = torch.where(known, prediction, 1).log() - torch.where(known, truth, 1).log()
    mean = log.sum() / count.clamp(min=1)
    variance = torch.where(known, log - mean, 0).square().sum() / (count - 1).clamp(min=1)
    inside = variance + MEAN_WEIGHT * mean.square()
    usable = (count > 1) & (inside > 0)
    return SPREAD * torch.where(usable, torch.where(usable, inside, 1).sqrt(), 0)


class Triples(NamedTuple):
    """Triples of pixels and what is true of them: flat ``indices`` B x 3 x M, their pixels' ``rays`` B x 3 x M x 3,
    unit ``normals`` B x M x 3, and which triples are ``kept`` B x M."""

    indices: Tensor
    rays: Tensor
    normals: Tensor
    kept: Tensor


def draw_triples(known: Tensor, count: int, generator: torch.Generator) -> Tensor:
    """Draw ``count`` triples of pixels of each image among those ``known`` B x 1 x H x W: flat indices B x 3 x count.

    Images without known pixels get pixels of any kind.
    """
    flat = known.flatten(1)
    order = torch.argsort(flat.logical_not(), dim=1, stable=True)
    total = flat.sum(1)
    total = torch.where(total > 0, total, flat.shape[1])[:, None]
    draws = torch.rand(len(flat), 3 * count, generator=generator, dtype=torch.float64).to(known.device)
    ranks = (draws * total).long().minimum(total - 1)
    return order.gather(1, ranks).unflatten(1, (3, count))


def draw_published_triples(known: Tensor, count: int, generator: torch.Generator) -> Tensor:
    """As ``draw_triples`` among all pixels, the same for every image."""
    pixels = known[0].numel()
    indices = torch.randint(pixels, (3, count), generator=generator).to(known.device)
    return indices.expand(len(known), -1, -1)


def true_triples(depth: Tensor, indices: Tensor, intrinsics: Tensor, convention: Convention = "exact") -> Triples:
    """What measured ``depth`` B x 1 x H x W (metres, 0 = none) says about the triples ``indices`` B x 3 x M.

    A triple is kept if all its points are measured and it is neither thin nor flat: of the nine cosines between its
    sides at most three are large, and along some axis all three sides have an extent. ``intrinsics`` B x 3 x 3;
    ``published`` takes the focal lengths of the first image for all, and the middle of the picture for principal point.
    """
    height, width = depth.shape[-2:]
    x, y = indices % width, indices // width
    fx, fy, cx, cy = (intrinsics[:, i, j, None, None] for i, j in ((0, 0), (1, 1), (0, 2), (1, 2)))
    if convention == "published":
        fx, fy, cx, cy = fx[:1], fy[:1], torch.full_like(cx, width // 2), torch.full_like(cy, height // 2)
    rays = torch.stack(((x - cx) / fx, (y - cy) / fy, torch.ones_like(x, dtype=fx.dtype)), -1)
    z = _gathered(depth, indices)
    points = rays * z[..., None]
    sides = points[:, [1, 2, 2]] - points[:, [0, 0, 1]]  # B x 3 x M x 3
    lengths = sides.norm(dim=-1)
    cosines = torch.einsum("bimc,bjmc->bmij", sides, sides)
    cosines = cosines / (torch.einsum("bim,bjm->bmij", lengths, lengths) + 1e-8)
    flat = (cosines.abs() > PARALLEL).flatten(2).sum(-1) > 3
    thin = (sides.abs() < THIN).any(1).all(-1)
    kept = (z > 1e-4).all(1) & ~flat & ~thin
    return Triples(indices, rays, _normals(points), kept)


def virtual_normal_loss(prediction: Tensor, triples: Triples, dropped: float = DROPPED) -> Tensor:
    """Return the mean absolute difference of the normals of ``prediction`` B x 1 x H x W (metres) and the true ones.

    The kept triples of the whole batch count, but for the share ``dropped`` of them that differ least. 0 with zero
    gradient without any, where the released code gives NaN.
    """
    points = triples.rays * _gathered(prediction, triples.indices)[..., None]
    differences = (triples.normals - _normals(points)).abs().sum(-1)[triples.kept]
    if not len(differences):
        return prediction.sum() * 0
    ordered = differences.sort().values
    return ordered[int(dropped * len(ordered)) :].mean()


def _gathered(depth: Tensor, indices: Tensor) -> Tensor:
    """Depth B x 3 x M at flat pixel indices."""
    return depth.flatten(1).gather(1, indices.flatten(1)).view(indices.shape)


def _normals(points: Tensor) -> Tensor:
    """Unit normals B x M x 3 of triples of points B x 3 x M x 3."""
    first, second, third = points.unbind(1)
    normal = torch.linalg.cross(second - first, third - first)
    length = normal.norm(dim=-1, keepdim=True)
    return normal / torch.where(length == 0, 0.01, length)


def full_size(prediction: Tensor, size: torch.Size) -> Tensor:
    """``prediction`` at ``size`` (h, w) by picking pixels: all sizes are compared with the whole ground truth."""
    return prediction if prediction.shape[-2:] == size else resize(prediction, size, "nearest_floor")
