"""Camera-aware changes of a clip: image, camera, depth, masks and prior change together, the whole clip alike."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import torch
from torch import Tensor
from torchvision.transforms.v2 import functional as color

from kinodepth.geometry import sampling
from kinodepth.types import Camera, Clip, Convention, Frame

COLOR = (  # change, neutral value, largest deviation from it
    (color.adjust_brightness, 1.0, 0.2),
    (color.adjust_contrast, 1.0, 0.2),
    (color.adjust_saturation, 1.0, 0.2),
    (color.adjust_hue, 0.0, 0.1),
)


def resize(
    clip: Clip,
    height: int,
    width: int,
    convention: Convention = "exact",
    factors: tuple[float, float] | None = None,
    antialias: bool = False,
) -> Clip:
    """The clip at ``height`` x ``width``: images bilinear, all else nearest.

    ``factors`` (x, y) scale the cameras where the size was rounded from them.
    """
    if clip.images.shape[-2:] == (height, width):
        return clip

    def camera(old: Camera) -> Camera:
        sx, sy = factors or (width / old.width, height / old.height)
        return old.rescale(sx, sy, width, height, convention)

    nearest: sampling.ResizeMode = "nearest" if convention == "exact" else "nearest_floor"

    def values(old: Tensor, smooth: bool) -> Tensor:
        flat = old.flatten(0, 1)
        if smooth:
            resized = sampling.resize(flat, (height, width), antialias=antialias)
        else:
            resized = sampling.resize(flat.float(), (height, width), nearest).to(old.dtype)
        return resized.unflatten(0, old.shape[:2])

    return _change(clip, values, camera)


def resize_frame(frame: Frame, height: int, width: int) -> Frame:
    """The frame and its camera at ``height`` x ``width``: image smooth (antialiased where it shrinks), maps nearest.

    ``extra`` is dropped: flow would have to change with the size.
    """

    def nearest(old: Tensor | None) -> Tensor | None:
        return None if old is None else sampling.resize(old[None].float(), (height, width), "nearest")[0].to(old.dtype)

    smooth = sampling.resize(frame.image[None], (height, width), antialias=True)[0].clamp(0, 1)
    masks = {kind: nearest(mask) for kind, mask in frame.masks.items()}
    return replace(
        frame,
        image=smooth,
        camera=frame.camera.resize(width, height) if frame.camera else None,
        depth=nearest(frame.depth),
        prior_depth=nearest(frame.prior_depth),
        masks={kind: mask for kind, mask in masks.items() if mask is not None},
        extra={},
    )


def crop(clip: Clip, top: int, left: int, height: int, width: int) -> Clip:
    """The window of ``height`` x ``width`` pixels that starts at (``top``, ``left``)."""
    return _change(
        clip,
        lambda old, smooth: old[..., top : top + height, left : left + width],
        lambda camera: camera.crop(left, top, width, height),
    )


def pad(clip: Clip, left: int, top: int, right: int, bottom: int) -> Clip:
    """The clip with that many black pixels added on each side; no depth and no mask lie there."""
    return _change(
        clip,
        lambda old, smooth: torch.nn.functional.pad(old, (left, right, top, bottom)),
        lambda camera: camera.pad(left, top, right, bottom),
    )


def flip(clip: Clip, convention: Convention = "exact") -> Clip:
    """The horizontally mirrored clip. Poses and motion fields have no meaning after it and are dropped."""
    mirrored = _change(clip, lambda old, smooth: old.flip(-1), lambda camera: camera.flip(convention))
    return replace(mirrored, cam_to_world=None, extra={})


def random_flip(clip: Clip, generator: torch.Generator, convention: Convention = "exact") -> Clip:
    """The clip, mirrored with probability one half."""
    return flip(clip, convention) if torch.rand((), generator=generator) < 0.5 else clip


def random_scale_crop(
    clip: Clip, generator: torch.Generator, largest: float = 1.15, convention: Convention = "exact"
) -> Clip:
    """The clip enlarged by two factors in [1, ``largest``), for x and y, and cropped back to its size somewhere."""
    height, width = clip.images.shape[-2:]
    sx, sy = (1 + (largest - 1) * torch.rand(2, generator=generator, dtype=torch.float64)).tolist()
    tall, wide = int(height * sy), int(width * sx)
    top = int(torch.randint(tall - height + 1, (), generator=generator))
    left = int(torch.randint(wide - width + 1, (), generator=generator))
    return crop(resize(clip, tall, wide, convention, (sx, sy)), top, left, height, width)


def _change(clip: Clip, values: Callable[[Tensor, bool], Tensor], camera: Callable[[Camera], Camera]) -> Clip:
    """Apply ``values(tensor, smooth)`` to all maps, smoothly to images only, and ``camera`` to all cameras."""

    def nearest(old: Tensor | None) -> Tensor | None:
        return None if old is None else values(old, False)

    return replace(
        clip,
        images=values(clip.images, True),
        cameras=tuple(camera(old) for old in clip.cameras),
        depth=nearest(clip.depth),
        prior_depth=nearest(clip.prior_depth),
        masks={key: values(old, False) for key, old in clip.masks.items()},
        extra={key: values(old, False) for key, old in clip.extra.items()},
    )


def jitter_colors(images: Tensor, generator: torch.Generator) -> Tensor:
    """``images`` ... x 3 x H x W in [0, 1] with other brightness, contrast, saturation (by up to a fifth) and hue (by
    up to a tenth of a turn), in random order, all images alike."""
    draws = (2 * torch.rand(len(COLOR), generator=generator, dtype=torch.float64) - 1).tolist()
    for place in torch.randperm(len(COLOR), generator=generator).tolist():
        change, neutral, most = COLOR[place]
        images = change(images, neutral + most * draws[place])
    return images
