"""From a window as read to network input: mirror, resize, and other colours for the networks (spec rm_depth 6)."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor
from torchvision.transforms.v2 import functional as colors

from kinodepth.data.transforms import random_flip, resize
from kinodepth.methods.rm_depth.config import RmDepthConfig
from kinodepth.types import Clip

JITTERED = "jittered"  # field of a clip: its images as the networks see them, B x T x 3 x H x W
LARGEST = (0.2, 0.2, 0.2, 0.1)  # change of brightness, contrast, saturation (relative) and hue (of a turn)


def prepare(clip: Clip, config: RmDepthConfig) -> Clip:
    """Resize a window to network size, averaging where it shrinks, as the predictor does; no draws."""
    return resize(clip, config.height, config.width, antialias=True)


def augment(clip: Clip, generator: torch.Generator, config: RmDepthConfig) -> Clip:
    """Mirror half of the windows, resize, and jitter half: one draw for all frames; losses see the clean images."""
    clip = prepare(random_flip(clip, generator) if config.flip else clip, config)
    if not config.jitter:
        return clip
    return replace(clip, extra={**clip.extra, JITTERED: jitter(clip.images, generator)})


def jitter(images: Tensor, generator: torch.Generator) -> Tensor:
    """``images`` ... x 3 x H x W with other brightness, contrast, saturation and hue, half of the time."""
    if torch.rand((), generator=generator) < 0.5:
        return images
    order = torch.randperm(4, generator=generator).tolist()
    draws = (2 * torch.rand(4, generator=generator, dtype=torch.float64) - 1).tolist()
    change = (colors.adjust_brightness, colors.adjust_contrast, colors.adjust_saturation, colors.adjust_hue)
    for k in order:
        amount = draws[k] * LARGEST[k]
        images = change[k](images, amount if k == 3 else 1 + amount)
    return images
