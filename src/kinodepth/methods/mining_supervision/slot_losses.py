"""Motion as pictures for the slots, and what the slots learn from (spec mining_supervision 7.1)."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F
from torchvision.utils import flow_to_image

from kinodepth.methods.mining_supervision.slots import COLOURS, Slots
from kinodepth.types import Convention

MOVES = 1.0  # pixels (|x| + |y|)
DEPTH_WEIGHT, MASK_WEIGHT, BACK_DEPTH_WEIGHT, EMPTY = 0.2, 0.005, 0.1, 0.01


def moving(flow: Tensor) -> Tensor:
    """Pixels B x 1 x H x W bool that move."""
    return flow.abs().sum(1, keepdim=True) >= MOVES


def bounded_depth(depth: Tensor, moves: Tensor) -> Tensor:
    """Depth B x 1 x H x W of what moves mapped to [0, 1], growing faster far away; 1 elsewhere."""
    grown = (depth / depth.amax((2, 3), keepdim=True)).exp() - 1
    grown = torch.where(moves, grown, grown.amax((2, 3), keepdim=True))
    return grown / grown.amax((2, 3), keepdim=True)


def motion_colours(flow: Tensor) -> Tensor:
    """Flow B x 2 x H x W of what moves as colours of the Middlebury wheel, uint8; rest is white."""
    return torch.stack([flow_to_image(each) for each in flow * moving(flow)])


def motion_pictures(flow: Tensor, depth: Tensor) -> Tensor:
    """What the slots see: colours in [-1, 1] and depth, B x 4 x H x W."""
    colours = motion_colours(flow).to(depth.dtype) / 255 * 2 - 1
    return torch.cat([colours, bounded_depth(depth, moving(flow))], 1)


def emptiness_weight(step: int, start: int = 20_000, end: int = 120_000, highest: float = 0.002) -> float:
    """The weight of the term that wants slots empty."""
    return highest * min(max((step - start) / (end - start), 0), 1)


def slot_terms(
    found: Slots, pictures: Tensor, moves: Tensor, presence: bool, background: bool, convention: Convention = "exact"
) -> dict[str, Tensor]:
    """Weighted terms of pictures B x 4 x H x W and their mask ``moves`` B x 1 x H x W (0/1).

    With ``presence`` the masks are those without empty slots; ``background`` adds the terms of the first slot.
    Published: the logistic loss of its mask takes probabilities for logits, and counts twice with ``presence``.
    """
    used = found.without_empty() if presence else found
    wanted, made = pictures, used.combined
    terms = {
        "flow": F.mse_loss(made[:, :COLOURS], wanted[:, :COLOURS]),
        "depth": DEPTH_WEIGHT * F.mse_loss(made[:, COLOURS:], wanted[:, COLOURS:]),
    }
    if background:
        still = 1 - moves
        terms["back_mask"] = MASK_WEIGHT * _mask_loss(used.masks[:, 0], still, convention)
        if presence and convention == "published":
            terms["back_mask_again"] = terms["back_mask"]
        back = found.pictures[:, 0]
        terms["back_flow"] = F.mse_loss(back[:, :COLOURS], torch.ones_like(back[:, :COLOURS]))
        one = torch.ones_like(back[:, COLOURS:])
        terms["back_depth"] = DEPTH_WEIGHT * BACK_DEPTH_WEIGHT * F.mse_loss(back[:, COLOURS:], one)
    terms["empty"] = (found.presence - EMPTY).abs().mean()
    return terms


def _mask_loss(mask: Tensor, wanted: Tensor, convention: Convention) -> Tensor:
    if convention == "published":
        return F.binary_cross_entropy_with_logits(mask, wanted)
    return F.binary_cross_entropy(mask.float().clamp(1e-6, 1 - 1e-6), wanted)
