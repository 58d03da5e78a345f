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
    for needed in (sure, same) if len(masks) else ():
        flat = masks.flatten(1).float()
        area = flat.sum(1)
        overlap = flat @ flat.T / area[:, None].clamp(min=1)
        partners = overlap >= same
        others = overlap.masked_fill(torch.eye(len(masks), dtype=torch.bool, device=masks.device), 0)
        gives_way = (others >= needed).any(1)
        size = torch.where(partners, area, -1).flip(1)
        largest = size.shape[1] - 1 - size.argmax(1)  # of equal ones the last
        masks = torch.where(gives_way[:, None, None], masks[largest], masks)
    return masks.unique(dim=0) if len(masks) else masks


def cleaned(masks: Tensor, road: Tensor, least: float = 0.001) -> Tensor:
    """Single, distinct objects without ``road`` H x W that cover at least ``least`` of the picture."""
    masks = distinct(single(masks)) & ~road
    return masks[area_shares(masks) >= least]


Window = tuple[tuple[slice, slice], ...]


def closer_views(height: int, width: int) -> list[Window]:
    """Four parts of a picture: its lower left and lower right, and the same of its central half once enlarged. Each is
    a chain of (rows, columns), the next inside the former enlarged to ``height`` x ``width``."""
    rows, columns = slice(height - int(ZOOM * height), height), int(ZOOM * width)
    corners = [(rows, slice(0, columns)), (rows, slice(width - columns, width))]
    middle = slice(height // 4, height - height // 4), slice(width // 4, width - width // 4)
    return [(corner,) for corner in corners] + [(middle, corner) for corner in corners]


def zoom(maps: Tensor, window: Window) -> Tensor:
    """The part ``window`` of maps B x C x H x W at their size."""
    for rows, columns in window:
        maps = resize(maps[..., rows, columns], maps.shape[-2:])
    return maps


def unzoom(maps: Tensor, window: Window) -> Tensor:
    """Maps of a closer view where they belong in the picture; 0 around."""
    place = []
    for axis, size in enumerate(maps.shape[-2:]):
        first, last = 0.0, float(size)
        for part in window:
            first, last = (first + (last - first) * edge / size for edge in (part[axis].start, part[axis].stop))
        place.append(slice(round(first), round(last)))
    rows, columns = place
    whole = torch.zeros_like(maps)
    whole[..., rows, columns] = resize(maps, (rows.stop - rows.start, columns.stop - columns.start))
    return whole
