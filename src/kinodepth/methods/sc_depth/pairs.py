"""Which pixels SC-Depth V3 compares (spec sc_depth 8.2, 8.3). All draws come from a generator; the losses themselves
take the pairs, however they were made. Pixels of a picture are numbered row by row.
"""

from __future__ import annotations

from typing import Literal, NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

UNRELIABLE = 0.2  # share of the pixels with the lowest dynamic weight
EVERYWHERE = 0.1  # share of the pixels that get a partner from anywhere
EDGE = 0.1  # of the strongest gradient of a picture: an edge
NEAREST, FARTHEST = 3, 19  # pixels from an edge to the points compared across it
BORDER = 5  # pixels at the rim where normals are not trusted


def unreliable_mask(weight: Tensor) -> Tensor:
    """Mark, in each picture, the fifth of the pixels with the lowest dynamic ``weight``, B x 1 x H x W."""
    flat = weight.flatten(1)
    lowest = flat.topk(int(UNRELIABLE * flat.shape[1]), largest=False, sorted=False).indices
    return torch.zeros_like(flat, dtype=torch.bool).scatter_(1, lowest, True).view_as(weight)


def confident_pairs(unreliable: Tensor, generator: torch.Generator) -> Tensor:
    """Each unreliable pixel (mask B x 1 x H x W, as many in each picture) with a reliable one: 2 x B x n pixels."""
    mask = unreliable.flatten(1)
    doubtful = mask.nonzero()[:, 1].view(len(mask), -1)
    sound = (~mask).nonzero()[:, 1].view(len(mask), -1)
    drawn = torch.randint(sound.shape[1], doubtful.shape, generator=generator).to(mask.device)
    return torch.stack([doubtful, sound.gather(1, drawn)])


def global_pairs(count: int, generator: torch.Generator, kind: Literal["row", "random"] = "row") -> Tensor:
    """A tenth of ``count`` pixels with a partner from anywhere, 2 x n; see ``ScDepthV3Config.global_pairs``."""
    chosen = torch.rand(count, generator=generator) >= 1 - EVERYWHERE
    if kind == "random":
        first = chosen.nonzero()[:, 0]
        return torch.stack([first, torch.randint(count, first.shape, generator=generator)])
    shuffled = chosen[torch.randperm(count, generator=generator)]
    return torch.stack([chosen.nonzero()[:, 0], shuffled.nonzero()[:, 0]])


class Edges(NamedTuple):
    """Gradient ``x`` (right) and ``y`` (up) and its ``magnitude``, B x 1 x H x W."""

    x: Tensor
    y: Tensor
    magnitude: Tensor


def sobel(maps: Tensor) -> tuple[Tensor, Tensor]:
    """Sums of 3 x 3 Sobel weights, to the right and upwards, of B x C x H x W; 0 on the outermost pixels."""
    down = maps[..., :-2, :] + 2 * maps[..., 1:-1, :] + maps[..., 2:, :]
    across = maps[..., :-2] + 2 * maps[..., 1:-1] + maps[..., 2:]
    return (
        F.pad(down[..., 2:] - down[..., :-2], (1, 1, 1, 1)),
        F.pad(across[..., :-2, :] - across[..., 2:, :], (1, 1, 1, 1)),
    )


def edges(x: Tensor, y: Tensor) -> Edges:
    """Edges of gradients B x 1 x H x W; what is not a number is no edge."""
    x, y = (part.nan_to_num(0, 0, 0) for part in (x, y))
    return Edges(x, y, torch.hypot(x, y))


def image_edges(image: Tensor) -> Edges:
    """Edges of the red channel of ``image`` B x 3 x H x W (the published choice)."""
    return edges(*sobel(image[:, :1]))


def normal_edges(normals: Tensor) -> Edges:
    """Edges of ``normals`` B x 3 x H x W: absolute gradients, averaged over the three components."""
    return edges(*(part.abs().mean(1, keepdim=True) for part in sobel(normals)))


def depth_steps(depth: Tensor, per_batch: bool) -> Tensor:
    """Mark where ``depth`` B x 1 x H x W jumps, one pixel wider; the strongest jump is that of the picture or of the
    whole batch."""
    magnitude = edges(*sobel(depth)).magnitude
    strongest = magnitude.amax((0, 2, 3) if per_batch else (2, 3), keepdim=True)
    jumps = (magnitude >= EDGE * strongest).to(depth.dtype)
    return F.max_pool2d(jumps, 3, stride=1, padding=1) > 0


def is_edge(found: Edges, excluded: Tensor, border: int = 0) -> Tensor:
    """Mark edges B x 1 x H x W outside ``excluded`` and ``border``; everything in a picture without any gradient."""
    kept = found.magnitude.masked_fill(excluded, 0)
    if border:
        inner = kept[..., border:-border, border:-border]
        kept = F.pad(inner, (border,) * 4)
    return kept >= EDGE * kept.amax((2, 3), keepdim=True)


def draw_anchors(mask: Tensor, generator: torch.Generator) -> Tensor:
    """As many pixels as ``mask`` B x 1 x H x W has, drawn from them in each picture: N flat indices into B x H x W."""
    where = mask.flatten().nonzero()[:, 0]
    counts = mask.flatten(1).sum(1)
    first, count = (values.repeat_interleave(counts) for values in (counts.cumsum(0) - counts, counts))
    share = torch.rand(len(where), dtype=torch.float64, generator=generator).to(mask.device)
    return where[first + (share * count).long()]


def draw_distances(count: int, generator: torch.Generator) -> Tensor:
    """Pixels from an anchor to its four points, 4 x ``count``: two behind it, two ahead."""
    distances = torch.randint(NEAREST, FARTHEST + 1, (4, count), generator=generator)
    return torch.cat([-distances[:2], distances[2:]])


def pairs_across(found: Edges, anchors: Tensor, distances: Tensor) -> Tensor:
    """Neighbouring points of the four at ``distances`` 4 x N along the gradient at ``anchors``: 2 x 3N flat indices.

    Directions are taken into the first quadrant, right and down, as published. Points outside move to the border.
    """
    height, width = found.magnitude.shape[-2:]
    image, pixel = anchors // (height * width), anchors % (height * width)
    x, y = (part.flatten()[anchors].double().abs() for part in (found.x, found.y))
    length = torch.hypot(x, y)
    flat = length == 0
    cosine, sine = torch.where(flat, 1, x / length), torch.where(flat, 0, y / length)
    columns = (pixel % width + (distances * cosine).round()).clamp(0, width - 1)
    rows = (pixel // width + (distances * sine).round()).clamp(0, height - 1)
    points = ((image * height + rows) * width + columns).long()
    return torch.stack([points[:-1].flatten(), points[1:].flatten()])
