"""From a window as read to network input: mirror, other colours, resize; one object of many (spec 2.1, 13).

Published: the camera stays as it was when the picture is mirrored, and masks are turned upside down instead.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from kinodepth.data.transforms import jitter_colors
from kinodepth.geometry.sampling import resize
from kinodepth.methods.mining_supervision.config import MiningSupervisionConfig
from kinodepth.types import Clip, Convention

STORED = ("previous", "next")  # pictures of the neighbours stored beside the target
OBJECT = "object"  # mask of the chosen object in all views of a clip
OBJECTS = ("objects", "objects_previous", "objects_next")  # ids in the target and in its neighbours


def prepare(clip: Clip, config: MiningSupervisionConfig) -> Clip:
    """Images (target, previous, next, where there are) and cameras at network size; no draws."""
    images = clip.images
    if set(STORED) <= set(clip.extra):
        images = torch.cat([images[:, clip.target, None], *(clip.extra[name] for name in STORED)], 1)
    size = (config.height, config.width)
    if images.shape[-2:] != size:
        images = shrunk(images.flatten(0, 1), size, config.convention).unflatten(0, images.shape[:2])
    cameras = tuple(camera.resize(size[1], size[0], config.convention) for camera in clip.cameras)
    extra = {key: value for key, value in clip.extra.items() if key not in STORED}
    return replace(clip, images=images, cameras=cameras, extra=extra)


def augment(clip: Clip, generator: torch.Generator, config: MiningSupervisionConfig) -> Clip:
    """Mirror half of the windows, resize, and change the colours of half; losses see the changed colours, as
    published."""
    clip = prepare(clip, config)
    if config.flip and torch.rand((), generator=generator) < 0.5:
        clip = mirrored(clip, config.convention)
    if config.jitter and torch.rand((), generator=generator) < 0.5:
        clip = replace(clip, images=jitter_colors(clip.images, generator))
    return clip


def augment_object(clip: Clip, generator: torch.Generator, config: MiningSupervisionConfig) -> Clip:
    """As ``augment``, with the mask of one object drawn from those that all views show."""
    return augment(chosen(clip, clip.masks[OBJECTS[1]][:, clip.target], generator), generator, config)


def augment_static_object(clip: Clip, generator: torch.Generator, config: MiningSupervisionConfig) -> Clip:
    """Mirrored at most (published), with the mask of one object drawn from those that stand still."""
    static = clip.masks[OBJECTS[0]][:, clip.target] * ~clip.masks["moving_objects"][:, clip.target]
    return augment(chosen(clip, static, generator), generator, replace(config, jitter=False))


def chosen(clip: Clip, ids: Tensor, generator: torch.Generator) -> Clip:
    """The clip with the masks of one of ``ids`` in the target and, if there are, in its neighbours."""
    known = ids[ids > 0].unique()
    number = known[int(torch.randint(max(1, len(known)), (), generator=generator))] if len(known) else 0
    views = [clip.masks[name][:, clip.target] == number for name in OBJECTS if name in clip.masks]
    masks = {key: value for key, value in clip.masks.items() if key not in OBJECTS}
    return replace(clip, masks={**masks, OBJECT: torch.stack(views, 1) & bool(len(known))})


def mirrored(clip: Clip, convention: Convention) -> Clip:
    """The clip mirrored left to right; horizontal motion changes its sign."""
    published = convention == "published"
    extra = {key: value.flip(-1) for key, value in clip.extra.items()}
    if "motion" in extra and not published:
        extra["motion"] = extra["motion"] * extra["motion"].new_tensor([-1, 1, -1, 1])[:, None, None]
    return replace(
        clip,
        images=clip.images.flip(-1),
        masks={key: value.flip(-2 if published else -1) for key, value in clip.masks.items()},
        extra=extra,
        cameras=clip.cameras if published else tuple(camera.flip() for camera in clip.cameras),
        cam_to_world=None,
    )


def pyramid(image: Tensor, convention: Convention = "exact", levels: int = 4) -> list[Tensor]:
    """``image`` B x 3 x H x W at 1, 1/2, 1/4, ... of its size."""
    images = [image]
    while len(images) < levels:
        last = images[-1]
        images.append(shrunk(last, (last.shape[-2] // 2, last.shape[-1] // 2), convention))
    return images


def shrunk(images: Tensor, size: tuple[int, int], convention: Convention) -> Tensor:
    """Images B x 3 x H x W in [0, 1] at ``size``: averaged; published: by Pillow's Lanczos filter."""
    if convention == "exact" or images.device.type != "cpu":
        return resize(images, size, antialias=True).clamp(0, 1)
    arrays = (images * 255).round().byte().permute(0, 2, 3, 1).numpy()
    resized = [np.asarray(Image.fromarray(a).resize(size[::-1], Image.Resampling.LANCZOS)) for a in arrays]
    return torch.from_numpy(np.stack(resized)).permute(0, 3, 1, 2).float() / 255
