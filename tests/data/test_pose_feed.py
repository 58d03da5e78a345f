"""Poses that arrive while they are used."""

from __future__ import annotations

import io
import json
import threading
import time

import numpy as np
import pytest
import torch
from scipy.spatial.transform import Rotation

from kinodepth.data.trajectory import FileLines, PoseFeed, StreamLines, kind_of, parse
from kinodepth.types import InputError


class Given:
    """Lines that come when a clock that only ``sleep`` moves has reached their time."""

    def __init__(self, *timed):
        self.timed, self.now, self.ended = list(timed), 0.0, False

    def poll(self):
        ready = [line for when, line in self.timed if when <= self.now]
        self.timed = [item for item in self.timed if item[0] > self.now]
        return ready

    def clock(self):
        return self.now

    def sleep(self, seconds):
        self.now += seconds

    def feed(self, kind="tum", **settings):
        return PoseFeed(self, kind, **settings, clock=self.clock, sleep=self.sleep)


def tum(moment, x=0.0):
    return f"{moment} {x} 0 0 0 0 0 1\n"


def place(found):
    return None if found is None else float(found.cam_to_world[0, 3])


def test_the_nearest_pose_within_the_tolerance():
    feed = Given(*((0, tum(t / 10, x=t)) for t in range(20))).feed(tolerance=0.04)
    assert [place(feed.at(t)) for t in (0.0, 0.52, 0.58, 0.65, 1.0, 1.91)] == [0, 5, 6, None, 10, 19]


def test_a_pose_is_waited_for_and_silence_only_once():
    given = Given((0, tum(0.0, 1)), (0.3, tum(1.0, 2)), (5.0, tum(6.0, 3)))
    feed = given.feed(wait=1.0)
    assert place(feed.at(1.0)) == 2
    assert given.now == pytest.approx(0.3, abs=0.01)
    assert feed.at(2.0) is None  # waited in vain
    assert given.now == pytest.approx(1.3, abs=0.02)
    before = given.now
    assert feed.at(3.0) is None
    assert feed.at(3.5) is None
    assert given.now == before
    given.now = 5.0
    assert place(feed.at(6.0)) == 3


def test_memory_is_bounded_and_disorder_is_left_out():
    feed = Given(*((t / 100, tum(t / 100, t)) for t in range(3000))).feed()
    for t in range(0, 3000, 3):
        assert place(feed.at(t / 100)) == t
        assert len(feed.recent) <= 4
    mixed = Given((0, tum(1.0, 1) + tum(1.0, 2) + tum(0.5, 3) + tum(2.0, 4))).feed()
    mixed.lines.timed = [(0, line) for line in mixed.lines.timed[0][1].splitlines()]
    with pytest.warns(UserWarning, match="not later than the one before it"):
        assert place(mixed.at(1.0)) == 1
    assert place(mixed.at(2.0)) == 4


def test_a_file_that_grows(tmp_path):
    path = tmp_path / "trajectory.txt"
    feed = PoseFeed(FileLines(path), "tum", wait=30.0)

    def write():
        with path.open("w") as file:
            file.write("# timestamp tx ty tz qx qy qz qw\n")
            for t in range(10):
                line = tum(t / 10, t)
                file.write(line[:7])
                file.flush()
                time.sleep(0.01)
                file.write(line[7:])
                file.flush()

    thread = threading.Thread(target=write)
    thread.start()
    assert [place(feed.at(t / 10)) for t in range(10)] == list(range(10))
    thread.join()


def test_lines_on_standard_input_end():
    sent = [{"timestamp": t, "cam_to_world": np.eye(4).ravel().tolist()} for t in (0.0, 1.0)]
    sent += [{"timestamp": 2.0, "cam_to_world": None, "intrinsics": [60, 60, 31.5, 23.5]}]
    feed = PoseFeed(StreamLines(io.StringIO("\n".join(map(json.dumps, sent)) + "\n")), "json", wait=30.0)
    start = time.monotonic()
    assert torch.equal(feed.at(1.0).cam_to_world, torch.eye(4).double())
    lost = feed.at(2.0)
    assert lost.cam_to_world is None
    assert lost.intrinsics == [60, 60, 31.5, 23.5]
    assert feed.at(9.0) is None
    assert time.monotonic() - start < 20  # nothing was waited for after the end


def test_every_format_reads_the_same_pose(tmp_path):
    matrix = np.eye(4)
    matrix[:3, :3] = Rotation.from_rotvec([0.3, -0.2, 0.5]).as_matrix()
    matrix[:3, 3] = 1, 2, 3
    x, y, z, w = Rotation.from_matrix(matrix[:3, :3]).as_quat()
    lines = {
        "tum": f"5 1 2 3 {x} {y} {z} {w}",
        "kitti": " ".join(map(str, matrix[:3].ravel())),
        "json": json.dumps({"timestamp": 5, "cam_to_world": matrix.ravel().tolist()}),
    }
    for kind, line in lines.items():
        (tmp_path / kind).write_text(f"# a comment\n{line}\n")
        assert kind_of(tmp_path / kind) == kind
        found = parse(line, kind, 5)
        assert found.time == 5
        np.testing.assert_allclose(found.cam_to_world, matrix, atol=1e-9)


@pytest.mark.parametrize(
    ("kind", "line", "words"),
    [
        ("tum", "1 2 3", "expected time tx ty tz qx qy qz qw"),
        ("kitti", "a b c", "expected 12 or 16 numbers"),
        ("json", '{"timestamp": 1}', '"cam_to_world": [16 numbers]'),
        ("json", '{"timestamp": 1, "cam_to_world": [1, 2]}', "has 2 numbers"),
        ("tum", "nan 0 0 0 0 0 0 1", "has no time"),
    ],
)
def test_what_cannot_be_read(kind, line, words):
    with pytest.raises(InputError) as error:
        parse(line, kind, 0)
    assert words in str(error.value)


@pytest.mark.parametrize(("kind", "line"), [("tum", "1 nan 0 0 0 0 0 1"), ("kitti", "nan " * 12)])
def test_lost_tracking_is_a_pose_of_nothing(kind, line):
    assert parse(line, kind, 1).cam_to_world is None
