"""Where the ground is: a noisy guess from the slope of depth, and what a network makes of many such guesses (spec
mining_supervision 7.2). Maps are B x 1 x H x W."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional as F

from kinodepth.geometry.camera import back_project
from kinodepth.geometry.sampling import resize
from kinodepth.losses.smoothness import damped_steps
from kinodepth.methods.mining_supervision.networks import GroundNet

REACH = 11  # pixels to the neighbours that span the surface
STEEPEST = 10.0  # degrees
SMOOTHNESS = 2.0


def broad_normals(depth: Tensor, intrinsics: Tensor, reach: int = REACH) -> Tensor:
    """Unit normals B x 3 x H x W from neighbours ``reach`` pixels away; near the border those of the mirrored pixel."""
    points = back_project(depth, intrinsics)
    height, width = depth.shape[-2:]
    center = points[..., reach:-reach, reach:-reach]

    def side(right: int, down: int) -> Tensor:
        rows = slice(reach * (1 + down), height - reach * (1 - down))
        columns = slice(reach * (1 + right), width - reach * (1 - right))
        return points[..., rows, columns] - center

    pairs = (((-1, 0), (0, -1)), ((1, 0), (0, 1)), ((-1, -1), (-1, 1)), ((1, -1), (1, 1)))
    crosses = [F.normalize(torch.linalg.cross(side(*a), side(*b), dim=1), dim=1) for a, b in pairs]
    normals = F.normalize(torch.stack(crosses).mean(0), dim=1)
    return F.pad(normals, (reach,) * 4, mode="reflect")


def ground_mask(depth: Tensor, intrinsics: Tensor) -> Tensor:
    """Pixels (bool) whose surface lies nearly level."""
    cosine = broad_normals(depth, intrinsics)[:, 1:2]
    height = back_project(depth, intrinsics)[:, 1:2]
    return (cosine.abs() > math.cos(math.radians(STEEPEST))) & (height.abs() > 1e-5)


def ground_features(image: Tensor, depth: Tensor) -> Tensor:
    """What the ground network sees, B x 4 x H x W: colours and inverse depth over its largest value."""
    inverse = 1 / depth
    return torch.cat([image, inverse / inverse.amax((2, 3), keepdim=True)], 1)


def trust(step: int, start: int = 45_000, end: int = 50_000, lowest: float = 0.25) -> float:
    """The weight of the noisy guess, which falls late in training."""
    return 1 - (1 - lowest) * min(max((step - start) / (end - start), 0), 1)


def self_trust(step: int, start: int = 17_500, end: int = 22_500, highest: float = 0.5) -> float:
    """The weight of the network's own answers to enlarged parts, which rises."""
    return highest * min(max((step - start) / (end - start), 0), 1)


def ground_terms(net: GroundNet, features: Tensor, guess: Tensor) -> dict[str, Tensor]:
    """The terms ``guess`` and ``smooth`` of whole pictures B x 4 x H x W; ``guess`` 0/1."""
    answer = net(features)
    return {
        "guess": F.binary_cross_entropy_with_logits(answer, guess),
        "smooth": SMOOTHNESS * damped_steps(answer.sigmoid(), features),
    }


def self_terms(net: GroundNet, features: Tensor, guess: Tensor) -> tuple[dict[str, Tensor], Tensor]:
    """The terms of enlarged parts: ``part`` and ``part_smooth`` of the bottom third against its guess, and ``self``:
    the lower two thirds of the whole against what both enlarged thirds say, which is returned too, B x 1 x 2H/3 x W."""
    size = features.shape[-2:]
    third = size[0] // 3
    bottom = _enlarged(features[..., 2 * third :, :], size)
    answer = net(bottom)
    with torch.no_grad():
        middle = net(_enlarged(features[..., third : 2 * third, :], size)).sigmoid()
        both = torch.cat([middle, answer.sigmoid()], 2)
        target = (resize(both, (size[0] - third, size[1])) > 0.5).to(features.dtype)
    below = net(features)[..., third:, :]
    terms = {
        "part": F.binary_cross_entropy_with_logits(answer, resize(guess[..., 2 * third :, :], size)),
        "part_smooth": SMOOTHNESS * damped_steps(answer.sigmoid(), bottom),
        "self": F.binary_cross_entropy_with_logits(below, target),
    }
    return terms, target


def _enlarged(part: Tensor, size: torch.Size) -> Tensor:
    """A part of the features at full ``size``; inverse depth over the largest value of the part."""
    part = torch.cat([part[:, :3], part[:, 3:] / part[:, 3:].amax((2, 3), keepdim=True)], 1)
    return resize(part, size)
