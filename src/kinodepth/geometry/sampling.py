"""The only caller of ``grid_sample`` and ``interpolate``: where a value lies is decided here and nowhere else.

``exact`` puts pixel centres at integers: sampling at (x, y) = (3, 5) returns that pixel. Published weights were often
trained with something else; those conventions have names of their own:

* ``mixed_corners``: coordinates normalised by W - 1 but sampled with ``align_corners=False``, which really samples at
  x W / (W - 1) - 0.5: half a pixel off at the borders, nothing in the middle (Monodepth2, SC-Depth; spec sc_depth 4).
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional as F

Padding = Literal["zeros", "border", "reflection"]
Mode = Literal["bilinear", "nearest"]
ResizeMode = Literal["bilinear", "nearest", "nearest_floor"]
SamplingConvention = Literal["exact", "mixed_corners"]


def sample(
    image: Tensor,
    pixels: Tensor,
    padding: Padding = "zeros",
    mode: Mode = "bilinear",
    convention: SamplingConvention = "exact",
) -> Tensor:
    """Read ``image`` B x C x H x W at ``pixels`` B x 2 x h x w, (x, y) in its pixels: B x C x h x w."""
    height, width = image.shape[-2:]
    last = torch.tensor([max(width - 1, 1), max(height - 1, 1)], dtype=pixels.dtype, device=pixels.device)
    grid = (pixels * (2 / last)[:, None, None] - 1).permute(0, 2, 3, 1)
    dtype = torch.promote_types(image.dtype, grid.dtype)
    return F.grid_sample(image.to(dtype), grid.to(dtype), mode, padding, align_corners=convention == "exact")


def resize(
    x: Tensor,
    size: tuple[int, int] | torch.Size,
    mode: ResizeMode = "bilinear",
    align_corners: bool = False,
    antialias: bool = False,
) -> Tensor:
    """Resize ``x`` B x C x H x W to ``size`` (h, w).

    Pixel areas are kept (half-pixel centres), which ``Camera.resize`` mirrors. ``nearest`` picks the pixel whose centre
    is nearest, unlike torch's mode of that name, which is ``nearest_floor`` here: source index floor(i H / h), as in
    OpenCV (spec deep_video_mvs 3). ``align_corners`` keeps corner centres instead.
    """
    if mode == "nearest":
        return F.interpolate(x, tuple(size), mode="nearest-exact")
    if mode == "nearest_floor":
        return F.interpolate(x, tuple(size), mode="nearest")
    return F.interpolate(x, tuple(size), mode=mode, align_corners=align_corners, antialias=antialias)
