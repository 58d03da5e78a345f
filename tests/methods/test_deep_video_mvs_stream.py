"""Posed streams as they are: lost tracking, jumps, wrong units; and offline equals online, to the bit."""

from __future__ import annotations

import warnings
from dataclasses import replace

import pytest
import torch

from kinodepth.cli.main import main
from kinodepth.data import open_sequence
from kinodepth.data.checks.poses import look_at_poses
from kinodepth.data.folder import write_folder
from kinodepth.data.synthetic import sequence
from kinodepth.geometry.pose import invert
from kinodepth.inference import job, model, writers
from kinodepth.methods.deep_video_mvs.propagation import overlap
from kinodepth.types import Camera, InputError, Sequence

SMALL = {"height": 64, "width": 96}


@pytest.fixture(scope="module")
def net():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return model.load("deep_video_mvs", device="cpu", config=SMALL)


@pytest.fixture(scope="module")
def walk():
    """A walk through a room, its images in memory."""
    made = sequence(0, "room", 14, 213, 160, "walking", noise=0.01)
    frames = [made.read(i, ()) for i in range(len(made))]
    records = [
        replace(r, load={"image": lambda image=frame.image: image})
        for r, frame in zip(made.records, frames, strict=True)
    ]
    return Sequence("walk", records, "walk")


def changed(recording, change):
    return Sequence(recording.name, [change(i, r) for i, r in enumerate(recording.records)], recording.source)


def moved(recording, change):
    return changed(recording, lambda i, r: replace(r, cam_to_world=change(i, r.cam_to_world)))


def depths(net, recording):
    return [(p.name, p.depth) for p in net.predict(recording, "network")]


def same(a, b):
    return [name for name, _ in a] == [name for name, _ in b] and all(torch.equal(x, y) for (_, x), (_, y) in zip(a, b))


def test_steps_stream_and_files_are_the_same_to_the_bit(net, walk, tmp_path):
    predictor = net.predictor
    state, stepped = predictor.init(), []
    for index in range(len(walk)):
        prediction, state = predictor.step(walk.read(index), state)
        stepped += [(prediction.name, prediction.depth)] if prediction is not None else []
    assert 5 < len(stepped) < len(walk)
    assert same(depths(net, walk), stepped)
    for resolution in ("network", "image"):
        out = tmp_path / resolution
        *_, summary = job.predict_folder(net, walk, out, job.Options(resolution=resolution))
        assert summary.frames == len(stepped)
        online = [(p.name, p.depth) for p in net.predict(walk.frames(), resolution)]
        assert same([(name, writers.read_npz(out / "npz" / f"{name}.npz").depth) for name, _ in online], online)


def test_frames_without_a_pose_are_left_out(net, walk, tmp_path):
    lost = (4, 5, 9)
    nothing = moved(walk, lambda i, pose: None if i in lost else pose)
    infinite = moved(walk, lambda i, pose: torch.full((4, 4), torch.nan).double() if i in lost else pose)
    assert "cam_to_world" not in nothing.provides
    found = depths(net, nothing)
    assert same(found, depths(net, infinite))
    assert same(found, depths(net, walk.select([i for i in range(len(walk)) if i not in lost])))
    *_, summary = job.predict_folder(net, nothing, tmp_path / "out", job.Options())
    assert summary.frames == len(found)
    with pytest.raises(InputError, match="has no cam_to_world"):
        next(net.frames(moved(walk, lambda i, pose: None)))


def test_a_prepared_recording_keeps_its_lost_frames(walk, tmp_path):
    lost = moved(walk, lambda i, pose: None if i == 3 else pose)
    list(write_folder(lost.frames(), tmp_path / "clip", {}))
    again = open_sequence(tmp_path / "clip")
    assert [r.cam_to_world is None for r in again.records] == [i == 3 for i in range(len(walk))]
    torch.testing.assert_close(again.records[4].cam_to_world, walk.records[4].cam_to_world, rtol=0, atol=0)


def millimetres(i, pose):
    return torch.cat((pose[:, :3], pose[:, 3:] * torch.tensor([[1000.0]] * 3 + [[1.0]])), 1)


def jump(metres, since=7):
    def change(i, pose):
        pose = pose.clone()
        pose[0, 3] += metres * (i >= since)
        return pose

    return change


@pytest.mark.parametrize("method", ["deep_video_mvs", "deep_video_mvs_pair"])
def test_after_a_jump_depth_starts_anew(walk, method):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        net = model.load(method, device="cpu", config=SMALL)
    after = walk.select(list(range(7, len(walk))))
    expected = depths(net, walk.select(list(range(7)))) + depths(net, moved(after, jump(10.0, 0)))
    assert same(depths(net, moved(walk, jump(10.0))), expected)


def test_overlap_of_views():
    camera = Camera(90.0, 90.0, 47.5, 31.5, 96, 64)

    def seen(**change):
        pose = torch.eye(4, dtype=torch.float64)
        pose[0, 3], pose[2, 3] = change.get("x", 0), change.get("z", 0)
        angle = torch.tensor(change.get("turn", 0.0), dtype=torch.float64).deg2rad()
        pose[0, 0] = pose[2, 2] = angle.cos()
        pose[0, 2], pose[2, 0] = angle.sin(), -angle.sin()
        return float(overlap(torch.eye(4, dtype=torch.float64), pose[None], camera, 0.25, 20.0)[0])

    assert seen() == 1
    assert 0.6 < seen(x=0.15) < 0.9
    assert 1 > seen(x=0.1) > seen(x=0.3) > seen(x=1.0) > 0.05
    assert seen(z=1.0) > 0.05
    assert seen(x=10.0) == seen(z=10.0) == seen(turn=90.0) == seen(turn=180.0) == 0
    assert seen(turn=30.0) == pytest.approx(0.4, abs=0.15)


def test_a_camera_of_another_shape_is_refused_and_one_of_another_size_is_scaled(net, walk):
    half = changed(walk, lambda i, r: replace(r, camera=r.camera.resize(107, 80)))
    for (_, a), (_, b) in zip(depths(net, half), depths(net, walk), strict=True):
        torch.testing.assert_close(a, b, rtol=0.05, atol=0)
    tall = changed(walk, lambda i, r: replace(r, camera=replace(r.camera, height=213)))
    with pytest.raises(InputError, match="is 213 x 160, its camera for 213 x 213 pictures of another shape"):
        depths(net, tall)


def test_two_frames_of_one_time_do_no_harm(net, walk):
    twice = walk.select([0, 1, 2, 2, 3, 3, *range(4, len(walk))])
    assert same(depths(net, twice), depths(net, walk))


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda i, pose: invert(pose), "read as world-to-camera; expected camera-to-world"),
        (millimetres, "the positions are not in metres (millimetres?)"),
        (jump(10.0), "position jumps by 10"),
        (lambda i, pose: pose * torch.nan if i == 6 else pose, None),
    ],
    ids=["world to camera", "millimetres", "jump", "lost"],
)  # fmt: skip
def test_the_command_says_what_is_wrong_with_the_poses(walk, tmp_path, capsys, change, words):
    list(write_folder(moved(walk, change).frames(), tmp_path / "clip", {}))
    settings = [word for key, value in SMALL.items() for word in ("--set", f"{key}={value}")]
    arguments = ["predict", "deep_video_mvs", str(tmp_path / "clip"), "--out", str(tmp_path / "out"), *settings]
    assert main(arguments) == 0
    told = [line for line in capsys.readouterr().err.splitlines() if line.strip() and "untrained" not in line]
    assert len(told) == (words is not None), told
    assert words is None or words in told[0]
    assert len(list((tmp_path / "out" / "npz").iterdir())) > 3


def test_times_that_stand_still_are_said(walk, tmp_path, capsys):
    still = changed(walk, lambda i, r: replace(r, timestamp=0.1 * (i - (i == 5))))
    list(write_folder(still.frames(), tmp_path / "clip", {}))
    main(["check", str(tmp_path / "clip"), "--out", str(tmp_path / "seen")])
    assert "frames 000004 and 000005 are of one time, 0.4 s and 0.4 s (1 such pairs)" in capsys.readouterr().out


def test_nothing_is_wrong_with_the_poses_of_a_walk(walk):
    assert look_at_poses(walk, (0.25, 20.0)) == []
    (finding,) = look_at_poses(moved(walk, millimetres), (0.25, 20.0))
    assert finding.kind == "pose unit"
