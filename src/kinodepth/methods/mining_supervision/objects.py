"""Objects as masks: which of them move, what of them is ground, and where they are in the neighbouring frames
(spec mining_supervision 7.3, 8). Masks are N x H x W bool unless said otherwise.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from kinodepth.geometry.camera import inverse_intrinsics
from kinodepth.geometry.pose import invert
from kinodepth.methods.mining_supervision.motion import forward_warp
from kinodepth.types import Convention


def moving_region(flow_previous: Tensor, flow_next: Tensor, threshold: float = 1.0) -> Tensor:
    """Pixels H x W whose two motions 2 x H x W have a mean |x| + |y| of at least ``threshold`` pixels."""
    return (flow_previous.abs().sum(0) + flow_next.abs().sum(0)) / 2 >= threshold


def area_shares(masks: Tensor) -> Tensor:
    """The share of the picture that each mask covers, N."""
    return masks.flatten(1).float().mean(1)


def moving_shares(masks: Tensor, moving: Tensor) -> Tensor:
    """The share of each mask that lies in the ``moving`` region H x W."""
    return (masks & moving).flatten(1).sum(1) / (masks.flatten(1).sum(1) + 1e-5)


def touch_middle(masks: Tensor, parts: int = 20) -> Tensor:
    """Whether each mask touches the central 1 / ``parts`` of the columns: what drives ahead shows little motion."""
    width = masks.shape[-1]
    first, last = int(width * (parts - 1) / (2 * parts)), int(width * (parts + 1) / (2 * parts))
    return masks[..., first:last].flatten(1).any(1)


def are_dynamic(masks: Tensor, moving: Tensor, share: float = 0.5, parts: int = 20) -> Tensor:
    """Which objects count as moving, N: those that move by at least ``share``, and those in the middle."""
    return (moving_shares(masks, moving) >= share) | touch_middle(masks, parts)


def boxes(masks: Tensor) -> Tensor:
    """The bounding boxes of the masks, filled; nothing for an empty mask."""
    down, across = masks.any(-1), masks.any(-2)

    def between(line: Tensor) -> Tensor:
        return (line.cumsum(-1) > 0) & (line.flip(-1).cumsum(-1) > 0).flip(-1)

    return between(down)[..., None] & between(across)[..., None, :]


def dilate(masks: Tensor, times: int, size: int = 5) -> Tensor:
    """Masks that grow by ``size`` // 2 pixels on all sides, ``times`` times."""
    reach = times * (size - 1) + 1
    return F.max_pool2d(masks[:, None].float(), reach, 1, reach // 2)[:, 0] > 0.5


def erode(masks: Tensor, times: int, size: int = 5) -> Tensor:
    """Masks that shrink likewise; what lies beyond the picture does not count."""
    return ~dilate(~masks, times, size)


def stack_ids(masks: Tensor, numbers: Tensor | None = None) -> Tensor:
    """Masks as one map 1 x H x W uint8 of ids: ``numbers`` N (1 to 255), or 1..N, of which those after 255 are left
    out. Where masks overlap, the smaller one is in front."""
    numbers = torch.arange(1, len(masks) + 1) if numbers is None else numbers
    ids = torch.zeros(1, *masks.shape[-2:], dtype=torch.uint8)
    for index in masks.flatten(1).sum(1).argsort(descending=True, stable=True).tolist():
        if int(numbers[index]) < 256:
            ids[0][masks[index]] = int(numbers[index])
    return ids


def split_ids(ids: Tensor) -> Tensor:
    """The masks N x H x W of an id map 1 x H x W, ascending in id; 0 is no object."""
    known = ids.unique()
    return ids == known[known > 0][:, None, None]


def in_neighbours(
    masks: Tensor,
    depth: Tensor,
    neighbour_from_target: Tensor,
    intrinsics: Tensor,
    motion: Tensor,
    convention: Convention,
) -> Tensor:
    """Where the objects are in the previous and the next frame, 2 x N x H x W, by depth, ego-motion and own motion.

    ``depth`` 1 x 1 x H x W, ``neighbour_from_target`` 2 x 4 x 4, ``intrinsics`` 1 x 3 x 3, ``motion`` 2 x 2 x H x W.
    """
    camera = intrinsics.expand(2, 3, 3)
    there = torch.einsum("bij,bjhw->bihw", inverse_intrinsics(camera), F.pad(motion, (0, 0, 0, 0, 0, 1)))
    turn_back = invert(neighbour_from_target)[:, :3, :3]
    back = -torch.einsum("bij,bjhw->bihw", turn_back, there)
    carried, _ = forward_warp(
        masks.float().expand(2, *masks.shape),
        depth.expand(2, -1, -1, -1),
        neighbour_from_target,
        camera,
        there,
        back,
        convention,
    )
    return carried > 0.5
