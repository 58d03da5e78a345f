"""The batch of a step depends on seed and step alone."""

from __future__ import annotations

import pytest
import torch
from tiny import TOY, sequence

from kinodepth.engine.batches import Batches, Share, generator, load, windows
from kinodepth.engine.recordings import hold_out
from kinodepth.methods.base import Stage
from kinodepth.types import InputError
from toy_method import ToyConfig

STAGE = TOY.stages(ToyConfig())[0]
RECORDINGS = [sequence(), sequence("second", 7, first=30)]


def batches(share: Share, seed: int = 3) -> Batches:
    return Batches(RECORDINGS, windows(RECORDINGS, STAGE), STAGE, share, seed)


def test_processes_and_portions_only_split_the_joint_batch() -> None:
    whole = batches(Share(8))[5]
    for processes, portions in ((2, 1), (1, 2), (2, 2), (4, 2)):
        shares = [batches(Share(8, portions, processes, rank)) for rank in range(processes)]
        pieces = [share[5 * portions + portion] for portion in range(portions) for share in shares]
        assert torch.equal(torch.cat([piece.images for piece in pieces]), whole.images)
        assert sum((piece.cameras for piece in pieces), ()) == whole.cameras


def test_steps_samples_and_seeds_differ() -> None:
    draws = [
        float(torch.rand((), generator=generator(*place))) for place in ((0, 1), (0, 1, 0), (0, 0, 1), (1, 1), (0, 2))
    ]
    assert len(set(draws)) == len(draws)
    names = {tuple(batches(Share(4), seed)[step].names) for seed in (1, 2) for step in range(4)}
    assert len(names) == 8


@pytest.mark.parametrize("workers", [0, 1, 3])
def test_workers_and_the_first_step_change_nothing(workers: int) -> None:
    direct = batches(Share(2))
    loaded = list(load(direct, 4, 9, workers, pin=False))
    assert len(loaded) == 5
    for step, clip in zip(range(4, 9), loaded):
        assert torch.equal(clip.images, direct[step].images)
        assert torch.equal(clip.depth, direct[step].depth)


def test_a_batch_that_cannot_be_shared_is_refused() -> None:
    with pytest.raises(InputError, match="a batch of 6 cannot be shared by 4 processes"):
        Share(6, processes=4)


def triplets() -> Stage:
    from dataclasses import replace

    return replace(STAGE, clips=lambda s: [(i - 1, i, i + 1) for i in range(1, len(s) - 1)], target=1)


def test_the_last_part_of_each_recording_is_held_out() -> None:
    training, held = hold_out([sequence(frames=50), sequence("short", 4)], triplets())
    assert [len(s) for s in training] == [45, 4]
    assert [len(s) for s in held] == [5]
    assert {r.name for r in training[0].records}.isdisjoint(r.name for r in held[0].records)
    training, held = hold_out([sequence(frames=10)], triplets())
    assert (len(training[0]), len(held[0])) == (7, 3)


def test_recordings_without_a_window_are_refused() -> None:
    with pytest.raises(InputError, match="none of the 1 recordings gives a training window, the longest has 2 frames"):
        hold_out([sequence(frames=2)], triplets())
