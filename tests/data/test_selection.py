"""The rules that select frames for training; the published numbers are checked in tests/golden."""

from __future__ import annotations

from itertools import pairwise

import pytest
import torch

from kinodepth.data import open_sequence
from kinodepth.data import synthetic as made_up
from kinodepth.data.checks import survey, tracking
from kinodepth.data.selection import Selection, changed_share, kept_frames, select, training_frames, write_index
from kinodepth.data.synthetic import Scene
from kinodepth.data.synthetic.write import write
from kinodepth.types import InputError, Sequence


def flat(level: int) -> torch.Tensor:
    return torch.full((4, 6), level, dtype=torch.uint8)


def rendered(motion: str, seed: int = 0, frames: int = 12, fps: float = 15.0) -> Sequence:
    return made_up.sequence(seed, "room", frames, 160, 120, motion, fps=fps)


def test_published_difference_wraps_and_ours_does_not():
    assert changed_share(flat(100), flat(101)) == 0
    assert changed_share(flat(100), flat(101), wrap=True) == 1
    assert changed_share(flat(100), flat(89)) == changed_share(flat(100), flat(89), wrap=True) == 1


def test_slow_change_adds_up_to_the_last_kept_frame():
    assert kept_frames(flat(100 + 4 * i) for i in range(7)) == [0, 3, 6]
    assert kept_frames([flat(9)] * 4) == [0]
    assert kept_frames([]) == []


def parallax(sequence: Sequence, first: int, second: int) -> float:
    grey = {i: tracking.grey(sequence.read(i, ()).image) for i in (first, second)}
    return survey.measure(sequence, grey, first, second).parallax


def test_parallax_leaves_out_where_the_camera_stands_still():
    walk = rendered("walking")
    waiting = walk.select([0, 0, 0, 0, *range(12)])
    kept = select(waiting, Selection("parallax"))
    assert [i for i in kept if i < 5] == [0]
    assert [0, *[i - 4 for i in kept if i >= 5]] == select(walk, Selection("parallax"))
    assert len(kept) > 4


def test_parallax_between_kept_frames_is_what_was_asked_for():
    walk = rendered("walking", 3, 24, fps=90.0)  # slow enough for every frame to be followed to the next kept one
    few, many = (select(walk, Selection("parallax", pixels=pixels)) for pixels in (1.5, 0.4))
    assert 2 < len(few) < len(many)
    for first, second in pairwise(few):
        assert parallax(walk, first, second) >= 1.5
        assert all(parallax(walk, first, i) < 1.5 for i in range(first + 1, second))


def test_turning_on_the_spot_is_not_parallax():
    """Every frame of it changes, yet it teaches no depth: bridges are kept, by which the view can be followed."""
    turning = rendered("rotation")
    kept = select(turning, Selection("parallax"))
    assert len(kept) < len(select(turning, Selection("signed")))
    for first, second in pairwise(kept):
        grey = {i: tracking.grey(turning.read(i, ()).image) for i in (first, second)}
        assert survey.measure(turning, grey, first, second).tracks.share >= 0.1


def test_after_a_cut_the_new_place_begins():
    here, there = rendered("static", 1, 4), rendered("static", 8, 4)
    assert select(Sequence("cut", here.records + there.records), Selection("parallax")) == [0, 3, 4]


def test_frames_of_several_sizes_cannot_be_compared():
    mixed = Sequence("mixed", rendered("static").records[:1] + made_up.sequence(0, "room", 1, 80, 60).records)
    with pytest.raises(InputError, match="another size"):
        select(mixed, Selection("signed"))


@pytest.mark.parametrize("wrong", [{"share": 0}, {"share": 1.5}, {"level": -1}, {"pixels": 0}])
def test_thresholds_have_limits(wrong):
    with pytest.raises(InputError, match="select nothing sensible"):
        Selection("signed", **wrong)


def test_the_index_is_for_training_only(tmp_path):
    for _ in write(Scene(1, "street", 5, 64, 48), tmp_path, extra=False):
        pass
    assert len(training_frames(open_sequence(tmp_path))) == 5
    write_index(tmp_path, [0, 2, 3])
    sequence = open_sequence(tmp_path)
    assert len(sequence) == 5
    assert [r.name for r in training_frames(sequence).records] == [sequence.records[i].name for i in (0, 2, 3)]
    for wrong in ([0, 5], [2, 1], [1, 1], []):
        write_index(tmp_path, wrong)
        with pytest.raises(InputError, match=r"frame_index.txt names"):
            training_frames(sequence)
    write_index(tmp_path, None)
    assert len(training_frames(sequence)) == 5
