"""From a window as read to network input: mirror, zoom into a part, resize (spec sc_depth 11.4)."""

from __future__ import annotations

import torch

from kinodepth.data.transforms import crop, random_flip, random_scale_crop, resize
from kinodepth.methods.sc_depth.config import ScDepthConfig
from kinodepth.types import Clip


def prepare(clip: Clip, config: ScDepthConfig) -> Clip:
    """Resize a window to network size; no draws. ``exact`` averages where it shrinks, as the predictor does."""
    return resize(clip, config.height, config.width, config.convention, antialias=config.convention == "exact")


def augment(clip: Clip, generator: torch.Generator, config: ScDepthConfig) -> Clip:
    """Mirror half of the windows, zoom each axis by up to ``config.zoom``, resize. Draws come from ``generator``."""
    if config.flip:
        clip = random_flip(clip, generator, config.convention)
    if config.zoom > 1 and config.convention == "published":
        clip = random_scale_crop(clip, generator, config.zoom, config.convention)
    elif config.zoom > 1:
        clip = random_part(clip, generator, config.zoom)
    return prepare(clip, config)


def random_part(clip: Clip, generator: torch.Generator, zoom: float) -> Clip:
    """A window of 1 to 1 / ``zoom`` of the width and of the height: the published zoom without sampling twice."""
    height, width = clip.images.shape[-2:]
    down, across, top, left = torch.rand(4, generator=generator, dtype=torch.float64).tolist()
    tall, wide = round(height / (1 + (zoom - 1) * down)), round(width / (1 + (zoom - 1) * across))
    return crop(clip, int(top * (height - tall + 1)), int(left * (width - wide + 1)), tall, wide)
