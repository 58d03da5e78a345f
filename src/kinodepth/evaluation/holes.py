"""Hole rate: the share of moving-object pixels that are predicted much too far, the typical failure of self-supervised
depth on things that move with the camera.

* ``hole_rate_vs_ground_truth``: dynamic pixels with ground truth whose aligned prediction (the protocol's alignment)
  exceeds ``FACTOR`` x ground truth, over all such pixels of the clip.
* ``hole_rate_vs_ground_below``: needs no ground truth and no scale. For each moving object the reference is the
  median prediction in the strip right under its lowest quarter (height ``STRIP`` of the picture, no moving pixels),
  that is the ground it stands on; a hole pixel is farther than ``FACTOR`` x that. Objects that reach the lower edge
  of the picture are not counted, since their ground is not seen; of things in the air it says too little.

``FACTOR`` 1.5: an object on the ground is about as far as the ground below it, and the depth extent of a vehicle
stays under half its distance except very close by.
"""

from __future__ import annotations

import numpy as np
from scipy import ndimage
from torch import Tensor

from kinodepth.geometry.sampling import resize

FACTOR = 1.5
STRIP = 1 / 40


def objects_of(mask: np.ndarray) -> np.ndarray:
    """Object ids H x W (0 = none): the mask's own ids, or connected components of a mask without ids."""
    return mask if mask.max(initial=0) > 1 else ndimage.label(mask, np.ones((3, 3)))[0]


def count_holes(depth: Tensor, mask: Tensor, factor: float = FACTOR) -> tuple[int, int]:
    """Hole pixels and counted pixels of the moving objects of ``mask`` in ``depth`` (both 1 x H x W, any unit).

    ``mask`` holds ids or booleans. Definition ``hole_rate_vs_ground_below`` of the module.
    """
    d, ids = depth[0].double().numpy(), objects_of(mask[0].long().numpy())
    strip = max(2, round(STRIP * d.shape[0]))
    holes = counted = 0
    for index, box in enumerate(ndimage.find_objects(ids)):
        if box is None:
            continue
        if box[0].stop == d.shape[0]:
            continue
        rows = slice(box[0].start, min(box[0].stop + strip, d.shape[0]))
        part, inside = d[rows, box[1]], ids[rows, box[1]] == index + 1
        foot = inside.astype(np.uint8)
        foot[: 3 * (box[0].stop - box[0].start) // 4] = 0
        # a pixel belongs to the strip if the object's foot is among the `strip` pixels above it
        above = ndimage.maximum_filter1d(foot, strip + 1, 0, mode="constant", origin=strip // 2)
        below = part[(above > 0) & (ids[rows, box[1]] == 0)]
        if below.size:
            holes += int((part[inside] > factor * np.median(below)).sum())
            counted += int(inside.sum())
    return holes, counted


class HoleCounter:
    """Adds up both hole rates over the frames of a clip."""

    def __init__(self) -> None:
        self._scored = [0, 0]
        self._below = [0, 0]

    def add_scored(self, aligned: Tensor, ground_truth: Tensor) -> None:
        """Take in the aligned predictions and ground truth of a frame's dynamic pixels (1-D)."""
        self._scored[0] += int((aligned > FACTOR * ground_truth).sum())
        self._scored[1] += ground_truth.numel()

    def add(self, depth: Tensor, mask: Tensor) -> None:
        """Take in a frame's prediction and moving mask (1 x H x W; brought to the prediction's size)."""
        at_size = resize(mask[None].float(), depth.shape[-2:], mode="nearest")[0]
        holes, counted = count_holes(depth.float(), at_size)
        self._below[0] += holes
        self._below[1] += counted

    def summary(self) -> dict[str, float]:
        """Both rates with their pixel counts; empty when no moving pixel was seen."""
        rates: dict[str, float] = {}
        for name, (holes, counted) in (("ground_truth", self._scored), ("ground_below", self._below)):
            if counted:
                rates |= {f"hole_rate_vs_{name}": holes / counted, f"hole_pixels_vs_{name}": float(counted)}
        return rates
