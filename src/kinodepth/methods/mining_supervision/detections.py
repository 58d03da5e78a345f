"""Masks that are found, not given: from slots to first objects, and the clean-up between rounds of the detector
(spec mining_supervision 7.3). Masks are N x H x W bool."""

from __future__ import annotations

import torch
from torch import Tensor

from kinodepth.geometry.sampling import resize
from kinodepth.methods.mining_supervision.objects import area_shares, boxes, dilate, erode

LARGEST_BOX = 0.5  # of the picture: a larger box is background
FILLED = 0.5  # of its box: an object fills more
SAME, SURE = 0.25, 0.5  # shares of a mask in another from which both may be, and are, the same object
LOOSE = 0.1  # of a mask: a box that is larger by that much holds several things
ZOOM = 0.8  # of the picture's sides: what the closer views show


def first_objects(slots: Tensor, moving: Tensor, ground: Tensor, least: float = 0.001) -> Tensor:
    """Objects for the first round, ascending in area: boxes around what of the ``slots`` moves above the ``ground``.

    ``slots`` K x H x W of which the largest is the background, ``moving`` and ``ground`` H x W.
    """
    order = slots.flatten(1).sum(1).argsort()
    upright = slots[order[:-1]] & ~ground & moving
    box = boxes(dilate(erode(upright, 5), 5))
    size = box.flatten(1).sum(1)
    kept = (size > 0) & (area_shares(box) < LARGEST_BOX) & (box & ground).flatten(1).any(1)
    kept &= upright.flatten(1).sum(1) / size.clamp(min=1) > FILLED
    found = box[kept] & ~ground & moving
    found = found[area_shares(found) > least]
    return erode(dilate(found, 1), 1) & ~ground & moving


def single(masks: Tensor, loose: float = LOOSE) -> Tensor:
    """Those masks whose bounding box is hardly larger than they are: nothing that is two objects."""
    area = masks.flatten(1).sum(1)
    return masks[boxes(masks).flatten(1).sum(1) - area < loose * area]


def distinct(masks: Tensor, same: float = SAME, sure: float = SURE) -> Tensor:
    """Masks without duplicates, in the order of their pixels: overlapping ones give way to the largest of them."""
    for needed in (sure, same):
        flat = masks.flatten(1).float()
        area = flat.sum(1)
        overlap = flat @ flat.T / area[:, None].clamp(min=1)
        partners = overlap >= same
        others = overlap.masked_fill(torch.eye(len(masks), dtype=torch.bool, device=masks.device), 0)
        gives_way = (others >= needed).any(1)
        size = torch.where(partners, area, -1).flip(1)
        largest = size.shape[1] - 1 - size.argmax(1)  # of equal ones the last
        masks = torch.where(gives_way[:, None, None], masks[largest], masks)
    return masks.unique(dim=0)


def cleaned(masks: Tensor, road: Tensor, least: float = 0.001) -> Tensor:
    """Single, distinct objects without ``road`` H x W that cover at least ``least`` of the picture."""
    masks = distinct(single(masks)) if len(masks) else masks
    masks = masks & ~road
    return masks[area_shares(masks) >= least]


def closer_views(height: int, width: int) -> list[tuple[slice, slice]]:
    """Rows and columns of four parts of a picture: its lower left and lower right, the same of its central half."""
    windows = []
    for top, left, tall, wide in ((0, 0, height, width), (height // 4, width // 4, height // 2, width // 2)):
        rows, columns = int(ZOOM * tall), int(ZOOM * wide)
        for first in (left, left + wide - columns):
            windows.append((slice(top + tall - rows, top + tall), slice(first, first + columns)))
    return windows


def zoom(maps: Tensor, window: tuple[slice, slice]) -> Tensor:
    """The part ``window`` of maps B x C x H x W at their size."""
    return resize(maps[..., window[0], window[1]], maps.shape[-2:])


def unzoom(maps: Tensor, window: tuple[slice, slice]) -> Tensor:
    """Maps of a closer view where they belong in the picture; 0 around."""
    rows, columns = window
    whole = torch.zeros_like(maps)
    whole[..., rows, columns] = resize(maps, (rows.stop - rows.start, columns.stop - columns.start))
    return whole
