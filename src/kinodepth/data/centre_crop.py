"""The middle of a picture in another shape, and sparse depth at another size (spec dynamic_multiframe 11.3)."""

from __future__ import annotations

import torch
from torch import Tensor

from kinodepth.types import Camera, Convention

Box = tuple[int, int, int, int]  # left, top, right, bottom in pixels, half-open


def centre_crop(camera: Camera, width: int, height: int, convention: Convention = "exact") -> tuple[Box, Camera]:
    """The largest window in the middle of a picture shaped like ``width`` x ``height``, and its camera at this size.

    ``exact``: a window of whole pixels and its true camera. ``published``: the window may be a pixel wider than the
    camera believes, and its principal point scales without the half-pixel shift.
    """
    wide, tall = camera.width, camera.height
    ours, theirs = tall / wide, height / width
    inner = (wide, theirs * wide) if ours >= theirs else (tall / theirs, tall)
    margins = (wide - inner[0]) / 2, (tall - inner[1]) / 2
    left, top = (int(margin // 1) for margin in margins)
    box = (left, top, wide - left, tall - top)
    if convention == "exact":
        cropped = camera.crop(left, top, wide - 2 * left, tall - 2 * top)
        return box, cropped.resize(width, height)
    scale = width / wide if ours >= theirs else height / tall
    cx, cy = (camera.cx - margins[0]) / inner[0] * width, (camera.cy - margins[1]) / inner[1] * height
    return box, Camera(camera.fx * scale, camera.fy * scale, cx, cy, width, height)


def sparse_resize(depth: Tensor, height: int, width: int, convention: Convention = "exact") -> Tensor:
    """Measured ``depth`` N x 1 x h x w (0 = none) at ``height`` x ``width``: each goes to the pixel it lies in.

    Of several the nearest stays. ``published``: places are rounded, half a pixel off towards the lower right, and the
    last one in raster order stays. Measurements are kept where a resize that picks pixels would lose most of them.
    """
    tall, wide = depth.shape[-2:]
    if (tall, wide) == (height, width):
        return depth

    def places(old: int, new: int) -> Tensor:
        index = torch.arange(old, dtype=torch.float64, device=depth.device)
        if convention == "exact":
            return ((index + 0.5) / old * new).long().clamp(max=new - 1)
        return (index / old * new).clamp(0, new - 1).round().long()

    cell = (places(tall, height)[:, None] * width + places(wide, width)).flatten()
    values = depth.flatten(1)
    cells = torch.where(values > 0, cell, height * width)
    empty = values.new_full((len(values), height * width + 1), torch.inf)
    if convention == "exact":
        found = empty.scatter_reduce(1, cells, values, "amin")[:, :-1]
    else:
        order = torch.arange(values.shape[1], device=depth.device).expand_as(cells)
        last = torch.full_like(empty, -1, dtype=torch.long).scatter_reduce(1, cells, order, "amax")[:, :-1]
        found = torch.where(last >= 0, values.gather(1, last.clamp(min=0)), torch.inf)
    return torch.where(found.isfinite(), found, 0).view(-1, 1, height, width)
