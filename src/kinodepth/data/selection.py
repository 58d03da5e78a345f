"""Which frames of a recording are worth training on: those that differ enough from the last kept one."""

from __future__ import annotations

from collections.abc import Iterable

from torch import Tensor


def changed_share(kept: Tensor, candidate: Tensor, level: int = 10, wrap: bool = False) -> float:
    """Share of the pixels of two uint8 grey images H x W that differ by more than ``level``.

    ``wrap`` reproduces the published filter, whose 8-bit subtraction counts every pixel that got brighter by
    1..(255 - ``level``) (spec sc_depth 11.5 and 14.6).
    """
    difference = kept.int() - candidate.int()
    moved = (difference % 256 if wrap else difference.abs()) > level
    return moved.double().mean().item()


def kept_frames(grey: Iterable[Tensor], share: float = 0.5, level: int = 10, wrap: bool = False) -> list[int]:
    """Indices of the frames to keep of uint8 ``grey`` images: the first, and each in which at least ``share`` of the
    pixels differ by more than ``level`` from the last kept frame (spec sc_depth 11.5)."""
    indices: list[int] = []
    last: Tensor | None = None
    for index, frame in enumerate(grey):
        if last is None or changed_share(last, frame, level, wrap) >= share:
            indices.append(index)
            last = frame
    return indices
