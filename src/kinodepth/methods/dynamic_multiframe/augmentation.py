"""From a window as read to network input (spec dynamic_multiframe 10, 11.3): crop, resize, colour."""

from __future__ import annotations

from dataclasses import replace

import torch

from kinodepth.data.centre_crop import centre_crop, sparse_resize
from kinodepth.data.transforms import crop, jitter_colors, resize
from kinodepth.methods.dynamic_multiframe.config import DynamicMultiframeConfig
from kinodepth.types import Clip


def prepare(clip: Clip, config: DynamicMultiframeConfig) -> Clip:
    """Cut the middle of a window in the shape of the network's input and resize it; no draws.

    Every depth measurement stays, moved to its pixel.
    """
    height, width = config.height, config.width
    if clip.images.shape[-2:] == (height, width):
        return clip
    (left, top, right, bottom), _ = centre_crop(clip.cameras[0], width, height, config.convention)
    cameras = tuple(centre_crop(camera, width, height, config.convention)[1] for camera in clip.cameras)
    cut = crop(clip, top, left, bottom - top, right - left)
    resized = resize(replace(cut, depth=None), height, width, config.convention, antialias=True)
    depth = None
    if cut.depth is not None:
        depth = sparse_resize(cut.depth.flatten(0, 1), height, width, config.convention).unflatten(
            0, cut.depth.shape[:2]
        )
    return replace(resized, cameras=cameras, depth=depth)


def augment(clip: Clip, generator: torch.Generator, config: DynamicMultiframeConfig) -> Clip:
    """Cut, resize and recolour a window. Draws come from ``generator``. Mirroring is the objective's: matching comes
    before it."""
    clip = prepare(clip, config)
    return replace(clip, images=jitter_colors(clip.images, generator)) if config.jitter_color else clip
