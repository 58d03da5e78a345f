"""The frame filter; its published numbers are checked in tests/golden."""

from __future__ import annotations

import torch

from kinodepth.data.selection import changed_share, kept_frames


def flat(level: int) -> torch.Tensor:
    return torch.full((4, 6), level, dtype=torch.uint8)


def test_published_difference_wraps_and_ours_does_not():
    assert changed_share(flat(100), flat(101)) == 0
    assert changed_share(flat(100), flat(101), wrap=True) == 1
    assert changed_share(flat(100), flat(89)) == changed_share(flat(100), flat(89), wrap=True) == 1


def test_slow_change_adds_up_to_the_last_kept_frame():
    assert kept_frames(flat(100 + 4 * i) for i in range(7)) == [0, 3, 6]
    assert kept_frames([flat(9)] * 4) == [0]
    assert kept_frames([]) == []
