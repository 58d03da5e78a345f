"""Small sequences and predictions in memory for the tests of this folder."""

from __future__ import annotations

import torch

from kinodepth.types import Camera, Prediction, Record, Sequence

CAMERA = Camera(40.0, 40.0, 23.5, 15.5, 48, 32)


def constant(value):
    return lambda: value


def make_sequence(depths, masks=None, poses=None, camera=None, names=None):
    """A sequence of ``depths`` (1 x H x W each); images differ from frame to frame; a mask may be None."""
    generator = torch.Generator().manual_seed(0)
    records = []
    for i, depth in enumerate(depths):
        load = {"image": constant(torch.rand(3, *depth.shape[-2:], generator=generator)), "depth": constant(depth)}
        if masks is not None and masks[i] is not None:
            load["mask:dynamic"] = constant(masks[i])
        name = names[i] if names else f"{i:04d}"
        records.append(Record(name, load, None, camera, None if poses is None else poses[i]))
    return Sequence("test", records)


def make_predictions(depths, scale="up_to_scale", names=None):
    return {
        name: Prediction(name, depth, scale, "m")
        for name, depth in zip(names or [f"{i:04d}" for i in range(len(depths))], depths)
    }


def random_depths(count, height=32, width=48, seed=1, low=2.0, high=20.0):
    generator = torch.Generator().manual_seed(seed)
    return [low + (high - low) * torch.rand(1, height, width, generator=generator) for _ in range(count)]


def square_mask(top, left, size=10, height=32, width=48):
    mask = torch.zeros(1, height, width, dtype=torch.bool)
    mask[:, top : top + size, left : left + size] = True
    return mask
