"""From a window as read to network input (spec deep_video_mvs 3, 6): crop, resize, reversal, scale, colour."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import torch
from torch import Tensor

from kinodepth.data.transforms import crop, resize
from kinodepth.methods.deep_video_mvs.config import PairConfig
from kinodepth.types import Clip, Convention

DARK, BRIGHT = 55 / 255, 200 / 255  # mean intensity of a window beyond which its colours are left alone
WIDE, NARROW = (0.666, 1.5), (0.8, 1.25)  # ranges of the geometric scale (published)


def crop_margins(width: int, height: int, new_width: int, new_height: int, border: int = 0) -> tuple[int, int]:
    """Pixels to cut left and right, and above and below, for the shape of the new size; at least ``border``."""
    inner_width, inner_height = width - 2 * border, height - 2 * border
    if inner_width / inner_height > new_width / new_height:
        return int((inner_width - inner_height * new_width / new_height) // 2) + border, border
    return border, int((inner_height - inner_width * new_height / new_width) // 2) + border


def fit(clip: Clip, height: int, width: int, convention: Convention, crops: bool = True, border: int = 0) -> Clip:
    """Cut a window to the shape of ``height`` x ``width`` (unless told not to) and resize it; no draws."""
    tall, wide = clip.images.shape[-2:]
    x, y = crop_margins(wide, tall, width, height, border) if crops else (0, 0)
    clip = crop(clip, y, x, tall - 2 * y, wide - 2 * x)
    return resize(clip, height, width, convention, antialias=convention == "exact")


def prepare(clip: Clip, config: PairConfig) -> Clip:
    """Cut and resize a window to training size; no draws."""
    return fit(clip, config.train_height, config.train_width, config.convention)


def augment(clip: Clip, generator: torch.Generator, config: PairConfig) -> Clip:
    """Reverse, resize, scale and recolour a window. Draws come from ``generator``."""
    if config.reverse and torch.rand((), generator=generator) < 0.5:
        clip = clip.map_tensors(lambda values: values.flip(1))
    clip = prepare(clip, config)
    if config.scale_geometry:
        clip = scale_geometry(clip, generator, config)
    if config.jitter_color and DARK < float(clip.images.mean()) < BRIGHT:
        clip = replace(clip, images=jitter_color(clip.images, generator))
    return clip


def scale_geometry(clip: Clip, generator: torch.Generator, config: PairConfig) -> Clip:
    """Multiply depths and translations by one factor that keeps the window's depths between ``near`` and ``far``.

    A window that is already beyond cannot be kept: ``exact`` leaves it alone, ``published`` draws all the same.
    Half of the published factors come from a wide range, half from a narrow one; those up to ``largest_scale`` are even
    in their logarithm.
    """
    assert clip.depth is not None
    assert clip.cam_to_world is not None
    wide, share = torch.rand(2, generator=generator).tolist()
    valid = clip.depth[clip.depth > 0]
    nearest = min(config.far, float(valid.min())) if len(valid) else config.far
    farthest = max(config.near, float(valid.max())) if len(valid) else config.near
    least, most = WIDE if wide < 0.5 else NARROW
    widest = config.largest_scale
    if widest is not None:
        least, most = 1 / widest, widest
    low, high = max(config.near / nearest, least), min(config.far / farthest, most)
    if low > high and config.convention == "exact":
        return clip
    factor = low + (high - low) * share if widest is None else low * (high / low) ** share
    poses = clip.cam_to_world.clone()
    poses[..., :3, 3] *= factor
    return replace(clip, depth=clip.depth * factor, cam_to_world=poses)


def gamma(images: Tensor, value: float) -> Tensor:
    return (images**value).clamp(0, 1)


def contrast(images: Tensor, value: float) -> Tensor:
    return (images * value).clamp(0, 1)


def brightness(images: Tensor, value: float) -> Tensor:
    return (images + value).clamp(0, 1)


COLOR: tuple[tuple[Callable[[Tensor, float], Tensor], float, float], ...] = (
    (gamma, 0.8, 1.2),
    (contrast, 0.8, 1.2),
    (brightness, -0.03, 0.03),
)


def jitter_color(images: Tensor, generator: torch.Generator) -> Tensor:
    """Gamma, contrast and brightness in a random order, the same for all of ``images`` in [0, 1]."""
    shares = torch.rand(len(COLOR), generator=generator).tolist()
    for place in torch.randperm(len(COLOR), generator=generator).tolist():
        change, low, high = COLOR[place]
        images = change(images, low + (high - low) * shares[place])
    return images
