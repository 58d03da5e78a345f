"""The loss terms of Mining Supervision (spec mining_supervision 5). Images are B x 3 x H x W in [0, 1]."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from kinodepth.geometry.sampling import resize
from kinodepth.losses.photometric import l1_error
from kinodepth.losses.reduction import masked_mean

CONTRAST = 9e-6  # SSIM's second constant; the first is infinite: brightness does not count
SSIM_WEIGHT, L1_WEIGHT = 3.0, 2.0


def contrast_error(a: Tensor, b: Tensor) -> Tensor:
    """(1 - SSIM) / 2 per channel, B x C x H x W, without its luminance term; 3 x 3 windows inside the picture, the
    result repeated at the rim by reflection."""

    def mean(x: Tensor) -> Tensor:
        return F.avg_pool2d(x, 3, 1)

    mean_a, mean_b = mean(a), mean(b)
    variances = mean(a.square()) - mean_a.square() + mean(b.square()) - mean_b.square()
    similarity = (2 * (mean(a * b) - mean_a * mean_b) + CONTRAST) / (variances + CONTRAST)
    return F.pad((1 - similarity) / 2, (1, 1, 1, 1), mode="reflect").clamp(0, 1)


def photometric_error(target: Tensor, image: Tensor) -> Tensor:
    """How badly ``image`` explains ``target``: B x 1 x H x W."""
    return SSIM_WEIGHT * contrast_error(target, image).mean(1, keepdim=True) + L1_WEIGHT * l1_error(target, image)


def best_error(target: Tensor, images: Tensor) -> Tensor:
    """The smaller error of two ``images`` 2B x 3 x H x W (those of the first neighbour, then of the second)."""
    errors = photometric_error(torch.cat([target, target]), images)
    return torch.minimum(*errors.chunk(2))


def motion_sparsity_loss(motion: Tensor) -> Tensor:
    """Prefers few large motions to many small ones; ``motion`` B x C x H x W, a scalar."""
    size = motion.abs()
    mean = size.mean((2, 3), keepdim=True).detach()
    return (2 * mean * (size / (mean + 1e-24) + 1).sqrt()).mean()


def steps_inside(values: Tensor, mask: Tensor) -> Tensor:
    """The mean horizontal plus the mean vertical step of ``values`` between pixels of ``mask`` (0/1), B x 1 x H x W."""
    total = values.new_zeros(())
    for axis in (2, 3):
        both = (mask.narrow(axis, 0, mask.shape[axis] - 1) == 1) & (mask.diff(dim=axis) == 0)
        total = total + masked_mean(values.diff(dim=axis).abs(), both)
    return total


def object_smoothness_loss(inverse_depth: Tensor, mask: Tensor) -> Tensor:
    """Steps of ``inverse_depth`` inside ``mask`` relative to the mean of the masked map over all pixels."""
    values = inverse_depth * mask
    return steps_inside(values / values.mean((2, 3), keepdim=True).clamp(min=1e-7), mask)


def label_error(depth: Tensor, label: Tensor) -> tuple[Tensor, Tensor]:
    """|depth - s label| with the scale s that the whole picture suggests, and where the label is usable.

    All B x 1 x H x W. In two steps: the median ratio of all pixels says which labels lie in the range of the depth
    (from its least to its 90th percentile), the median ratio of those is s. Gradients reach ``depth`` only.
    """
    with torch.no_grad():
        ratio = depth / label
        scaled = _row(ratio.flatten(1).median(1).values) * label
        flat = depth.flatten(1)
        valid = (scaled >= _row(flat.amin(1))) & (scaled <= _row(flat.quantile(0.9, 1)))
        inside = torch.where(valid, ratio, torch.nan).flatten(1)
        scale = _row(inside.nanmedian(1).values.nan_to_num(0))
    return (depth - scale * label).abs(), valid


def label_loss(depth: Tensor, label: Tensor, mask: Tensor) -> Tensor:
    """Mean label error at the size of ``depth`` where the label is usable and ``mask`` (0/1) is set; a scalar.

    ``label`` (positive) and ``mask`` B x 1 x H x W of any size.
    """
    size = depth.shape[-2:]
    error, valid = label_error(depth, resize(label, size))
    return masked_mean(error, valid & (resize(mask, size, "nearest_floor") > 0.5))


def _row(values: Tensor) -> Tensor:
    return values[:, None, None, None]
