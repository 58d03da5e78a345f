"""Plane-sweep cost volumes: how well features of other views fit the reference if the scene were a plane at depth d.

Shapes: B batch, V measurement views, C channels, D planes, h w feature map. Feature maps are the strided grid of the
image: their pixel j is the image's pixel j * s, so that intrinsics divided by s are exact.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from kinodepth.geometry.camera import plane_rays, product
from kinodepth.geometry.sampling import sample
from kinodepth.geometry.warp import homography
from kinodepth.types import Convention

PLANES_AT_ONCE = 8  # by the library's sampler


def plane_sweep_volume(
    reference: Tensor,
    measurements: Tensor,
    measurement_from_reference: Tensor,
    intrinsics: Tensor,
    depths: Tensor,
    convention: Convention = "exact",
) -> Tensor:
    """Mean over channels and views of reference times warped measurement: B x D x h x w (spec deep_video_mvs 2.3).

    ``reference`` B x C x h x w, ``measurements`` B x V x C x h x w, ``measurement_from_reference`` B x V x 4 x 4 in the
    unit of ``depths`` (D), ``intrinsics`` B x 3 x 3 in pixels of the feature maps, the same for all views. Samples out
    of view count as 0. ``published`` looks up at x (w - 1) / w, y (h - 1) / h and keeps samples behind the camera;
    ``exact`` does neither. Differentiable in the features.
    """
    height, width = reference.shape[-2:]
    rotation, translation = measurement_from_reference[..., :3, :3], measurement_from_reference[..., :3, 3:]
    to_pixels = intrinsics[:, None]
    if convention == "published":
        shrink = torch.tensor([(width - 1) / width, (height - 1) / height, 1], dtype=intrinsics.dtype)
        to_pixels = to_pixels * shrink.to(intrinsics.device)[:, None]
    at_infinity = homography(rotation, intrinsics[:, None].expand_as(rotation), to_pixels.expand_as(rotation))
    shift = product(to_pixels, translation)[..., 0]
    sweeps = reference.device.type == "cpu" and reference.dtype == torch.float32
    with torch.autocast(reference.device.type, enabled=False):  # whose matrix products would round pixels
        if sweeps:
            found: Tensor = _Swept.apply(reference, measurements, at_infinity, shift, depths, convention)
            return found
        return _sampled_volume(reference, measurements, at_infinity, shift, depths, convention)


def _sampled_volume(
    reference: Tensor, measurements: Tensor, at_infinity: Tensor, shift: Tensor, depths: Tensor, convention: Convention
) -> Tensor:
    """The volume by the library's sampler, a few planes at a time; for accelerators and other precisions."""
    views, channels = measurements.shape[1:3]
    parts = []
    for some in depths.split(PLANES_AT_ONCE):
        warped = _warped(measurements, at_infinity, shift, some, convention)
        parts.append((warped.sum(1) * reference[:, :, None]).sum(1) / (channels * views))
    return torch.cat(parts, 1)


def _warped(measurements: Tensor, at_infinity: Tensor, shift: Tensor, depths: Tensor, convention: Convention) -> Tensor:
    """The measurements as the reference would see them on each plane: B x V x C x D x h x w."""
    height, width = measurements.shape[-2:]
    rays = plane_rays(at_infinity, height, width)[:, :, None]  # B x V x 1 x 3 x h x w
    points = rays + shift[:, :, None, :, None, None] / depths[:, None, None, None]
    z = points[..., 2, :, :]
    pixels = points[..., :2, :, :] / (z + 1e-8).unsqueeze(-3)
    if convention == "exact":
        pixels = torch.where((z > 0).unsqueeze(-3), pixels, -2.0)  # beyond the border: counts as 0
    rows = pixels.flatten(0, 1).transpose(1, 2).flatten(2, 3)  # B V x 2 x (planes h) x w
    found = sample(measurements.flatten(0, 1), rows)
    return found.unflatten(2, (len(depths), height)).unflatten(0, measurements.shape[:2])


class _Swept(torch.autograd.Function):
    """The volume on a processor, item by item. For the gradients nothing warped is kept."""

    @staticmethod
    def forward(ctx: Any, reference: Tensor, measurements: Tensor, *geometry: Any) -> Tensor:
        from kinodepth.geometry.sweep import swept_volume  # its compiler takes half a second to import

        ctx.save_for_backward(reference, measurements, *geometry[:-1])
        ctx.convention = geometry[-1]
        at_infinity, shift, depths, convention = geometry
        items = zip(reference, measurements, at_infinity, shift)
        volumes = [swept_volume(*item, depths, convention == "exact") for item in items]
        return torch.stack(volumes).permute(0, 3, 1, 2)  # channels last

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        from kinodepth.geometry.sweep import swept_gradients

        reference, measurements, at_infinity, shift, depths = ctx.saved_tensors
        exact, of_reference, of_measurements = ctx.convention == "exact", [], []
        with torch.autocast("cpu", enabled=False):  # as in ``plane_sweep_volume``, and not inherited from there
            for f, g, rays, move, of_volume in zip(reference, measurements, at_infinity, shift, gradients[0]):
                found = swept_gradients(f, g, rays, move, depths, exact, of_volume)
                of_reference.append(found[0])
                of_measurements.append(found[1])
        return torch.stack(of_reference), torch.stack(of_measurements), None, None, None, None
