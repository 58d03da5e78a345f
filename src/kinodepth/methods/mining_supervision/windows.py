"""Which frames, and how often, a stage sees: triplets, and one window per object (spec mining_supervision 2, 8, 9)."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from kinodepth.data.clips import collate, read_clip, triplets
from kinodepth.methods.mining_supervision.augmentation import STORED, prepare
from kinodepth.methods.mining_supervision.config import MiningSupervisionConfig
from kinodepth.types import Clip, Sequence


def neighbour_fields(config: MiningSupervisionConfig) -> frozenset[str]:
    """Fields that hold the neighbours of a frame, where they are no frames themselves."""
    return frozenset(f"extra:{name}" for name in STORED) if config.neighbours == "stored" else frozenset()


def scene_windows(sequence: Sequence, config: MiningSupervisionConfig) -> list[tuple[int, ...]]:
    """Frame indices (target, previous, next) of every triplet; (target,) where the neighbours are stored beside it."""
    if config.neighbours == "stored":
        return [(index,) for index in range(len(sequence))]
    return triplets(len(sequence), config.stride)


def object_windows(sequence: Sequence, config: MiningSupervisionConfig) -> list[tuple[int, ...]]:
    """The triplet of a frame once for each object that all three views show; plain triplets before there are any."""
    windows = scene_windows(sequence, config)
    if "mask:objects_previous" not in sequence.provides:
        return windows
    return [w for w in windows for _ in range(_count(_map(sequence, w[0], "mask:objects_previous")))]


def static_windows(sequence: Sequence, config: MiningSupervisionConfig) -> list[tuple[int, ...]]:
    """A frame once for each object in it that stands still; plain triplets before there are any."""
    windows = scene_windows(sequence, config)
    if "mask:moving_objects" not in sequence.provides:
        return windows
    found = []
    for window in windows:
        ids = _map(sequence, window[0], "mask:objects") * ~_map(sequence, window[0], "mask:moving_objects")
        found += [window[:1]] * _count(ids)
    return found


def batches(
    sequence: Sequence, config: MiningSupervisionConfig, fields: frozenset[str]
) -> Iterator[tuple[list[str], Clip]]:
    """All triplets of a recording in order, as network input, with the names of their targets."""
    windows = scene_windows(sequence, config)
    wanted = neighbour_fields(config) | fields
    for start in range(0, len(windows), config.batch_size):
        part = windows[start : start + config.batch_size]
        clips = [prepare(read_clip(sequence, window, fields=wanted), config) for window in part]
        yield [sequence.records[window[0]].name for window in part], collate(clips)


def _map(sequence: Sequence, index: int, field: str) -> Tensor:
    return sequence.records[index].load[field]()


def _count(ids: Tensor) -> int:
    return int(torch.count_nonzero(ids.unique()))
