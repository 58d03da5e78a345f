"""Poses predicted by one model for another: what it is fed, how the two units meet, what comes out."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from os.path import relpath

import pytest
import torch

from kinodepth import methods
from kinodepth.cli.main import main
from kinodepth.data.folder import write_folder
from kinodepth.data.synthetic import sequence
from kinodepth.inference.model import DepthModel, build, load, with_odometry
from kinodepth.methods.weights import save_weights
from kinodepth.types import InputError

SMALL = {"height": 64, "width": 96}


def model(name, **settings):
    method = methods.load(name)
    return DepthModel(method, build(method, method.config(), {**SMALL, **settings}).eval(), torch.device("cpu"))


@pytest.fixture(scope="module")
def clip():
    return sequence(seed=3, width=96, height=64, frames=5, motion="driving", fps=5.0)


@pytest.fixture(scope="module")
def unposed(clip):
    blind = clip.select(list(range(len(clip))))
    blind.records = [replace(record, cam_to_world=None) for record in blind.records]
    return blind


@pytest.mark.parametrize("name", ["rm_depth", "sc_depth_v1"])
@pytest.mark.parametrize("online", ["delayed", "causal"])
def test_depth_is_that_of_a_recording_with_these_poses(name, online, unposed):
    depth_model, pose_model = model("dynamic_multiframe", online=online), model(name)
    found = list(with_odometry(depth_model, pose_model).predict(unposed))
    assert {(prediction.scale, prediction.unit) for prediction in found} == {("up_to_scale", "scene unit")}

    seen = list(replace(pose_model, outputs=frozenset({"poses"})).predict(unposed))
    frames = list(unposed.frames())
    alone, first = (next(one.predict([frames[0]] * 3, "network")).depth[0] for one in (depth_model, pose_model))
    near = first <= first.quantile(0.25)
    factor = float((alone / first)[near].median())
    posed = []
    for frame, prediction in zip(frames, seen):
        pose = prediction.cam_to_world.clone()
        pose[:3, 3] *= factor
        posed.append(replace(frame, cam_to_world=pose))
    assert posed[-1].cam_to_world[:3, 3].any()
    expected = list(depth_model.predict(posed))
    assert [prediction.name for prediction in found] == [prediction.name for prediction in expected]
    for one, other in zip(found, expected):
        torch.testing.assert_close(one.depth, other.depth, rtol=1e-3, atol=0)
        torch.testing.assert_close(one.cam_to_world, other.cam_to_world, rtol=1e-3, atol=1e-6)


def test_what_cannot_be_put_together_is_named(unposed):
    with pytest.raises(InputError, match="rm_depth does without poses"):
        with_odometry(model("rm_depth"), model("rm_depth"))
    with pytest.raises(InputError, match="sc_depth_v2 cannot predict poses"):
        with_odometry(model("dynamic_multiframe"), model("sc_depth_v2"))
    with pytest.raises(InputError, match="sees no depth in a frame without pose"):
        with_odometry(load("deep_video_mvs"), model("rm_depth"))
    with pytest.raises(InputError, match="--poses RUN"):
        model("dynamic_multiframe").check(unposed)
    with pytest.raises(InputError, match=re.escape("(see docs/data.md) or use a method")):
        load("deep_video_mvs").check(unposed)


def test_commands_take_the_run_of_a_pose_network(tmp_path, unposed, capsys):
    video = tmp_path / "clip"
    list(write_folder(unposed.frames(), video, {}))
    files = []
    for name in ("dynamic_multiframe", "rm_depth"):
        made = model(name)
        files.append(tmp_path / f"{name}.safetensors")
        save_weights(files[-1], made.network, name)
    out = tmp_path / "depth"
    words = [str(files[0]), str(video)]
    assert main(["predict", *words, "--out", str(out)]) != 0
    assert "--poses RUN" in capsys.readouterr().err
    assert main(["predict", *words, "--poses", "poses.txt", "--out", str(out)]) != 0
    assert "poses.txt is no run folder or weights file" in capsys.readouterr().err
    for poses in (files[1], relpath(files[1])):  # the same job
        assert main(["predict", *words, "--poses", str(poses), "--out", str(out)]) == 0
    told = json.loads((out / "prediction.json").read_text())
    assert (told["scale"], told["poses_by"]["method"]) == ("up_to_scale", "rm_depth")
    assert "up to scale" in (out / "report.html").read_text().replace("_", " ")
    (video / "intrinsics.json").unlink()
    live = tmp_path / "live"
    words = [*words, "--poses", str(files[1]), "--fov", "60"]
    assert main(["live", *words, "--out", str(live)]) == 0
    assert json.loads((live / "prediction.json").read_text())["scale"] == "up_to_scale"
