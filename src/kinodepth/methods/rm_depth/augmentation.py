"""From a window as read to network input: mirror, resize, and other colours for the networks (spec rm_depth 6)."""

from __future__ import annotations

from dataclasses import replace

import torch

from kinodepth.data.transforms import jitter_colors, random_flip, resize
from kinodepth.methods.rm_depth.config import RmDepthConfig
from kinodepth.types import Clip

JITTERED = "jittered"  # field of a clip: its images as the networks see them, B x T x 3 x H x W


def prepare(clip: Clip, config: RmDepthConfig) -> Clip:
    """Resize a window to network size, averaging where it shrinks, as the predictor does; no draws."""
    return resize(clip, config.height, config.width, antialias=True)


def augment(clip: Clip, generator: torch.Generator, config: RmDepthConfig) -> Clip:
    """Mirror half of the windows, resize, and jitter half: one draw for all frames; losses see the clean images."""
    clip = prepare(random_flip(clip, generator) if config.flip else clip, config)
    if not config.jitter:
        return clip
    images = clip.images if torch.rand((), generator=generator) < 0.5 else jitter_colors(clip.images, generator)
    return replace(clip, extra={**clip.extra, JITTERED: images})
