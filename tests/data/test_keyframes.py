"""Keyframe decisions: what the recorded whole sequences (tests/golden) do not say."""

from __future__ import annotations

import pytest
import torch

from kinodepth.data import keyframes
from kinodepth.data.keyframes import Decision, KeyframeBuffer, KeyframeRule
from kinodepth.types import InputError


def at(x):
    pose = torch.eye(4, dtype=torch.float64)
    pose[0, 3] = x
    return pose


LOST = torch.full((4, 4), torch.inf, dtype=torch.float64)


def test_the_31st_frame_without_a_pose_forgets():
    decisions, rows = keyframes.keyframe_rows([at(0), at(0.2), *[LOST] * 32, at(9), at(9.2)], 2)
    first, key, *waiting, lost, still, again, last = decisions
    assert (first, key, lost, still, again, last) == (0, 1, 3, 4, 0, 1)
    assert waiting == [Decision.NO_POSE] * 30
    assert rows == [(1, 0), keyframes.TRACKING_LOST, (35, 34)]


def test_the_buffer_forgets_the_oldest_and_choice_prefers_the_optimal_distance():
    rule, buffer = KeyframeRule(buffer_size=4), KeyframeBuffer()
    for number, x in enumerate((0, 0.5, 0.62, 0.75, 0.9)):
        decision, buffer = keyframes.decide(buffer, at(x), rule)
        assert decision is (Decision.KEYFRAME if number else Decision.FIRST)
        buffer = keyframes.remember(buffer, at(x), number, rule)
    assert buffer.items == (1, 2, 3, 4)
    chosen = keyframes.choose_measurements(buffer, 9, rule)
    assert [buffer.items[place] for place in chosen] == [3, 2, 1]
    decision, same = keyframes.decide(buffer, at(0.95), rule)
    assert decision is Decision.TOO_CLOSE
    assert same == buffer


def test_index_files_of_one_line_and_foreign_names(tmp_path):
    names = ["a.png", "b.png"]
    keyframes.write_index(tmp_path / "one", [(1, 0)], names)
    assert (tmp_path / "one").read_text() == "b.png a.png\n"
    assert keyframes.read_index(tmp_path / "one", names) == [(1, 0)]
    (tmp_path / "other").write_text("c.png a.png\n")
    with pytest.raises(InputError, match=r"c\.png"):
        keyframes.read_index(tmp_path / "other", names)
