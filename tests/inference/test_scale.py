"""Predictions that are the exact depth of a rendered clip divided by a known factor must come back to metres."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pytest
import torch
from PIL import Image

from kinodepth.cli.main import main
from kinodepth.data import open_sequence
from kinodepth.data.predictions import open_predictions
from kinodepth.data.synthetic import Scene
from kinodepth.data.synthetic.write import write
from kinodepth.inference.scale import summary
from kinodepth.types import InputError

UNIT = 3.7  # metres


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A drive through a street, and predictions of it with 3 % noise, as ``kinodepth predict`` writes them."""
    folder = tmp_path_factory.mktemp("made")
    for _ in write(Scene(2, "street", 12, 208, 128, fps=5.0), folder / "street", extra=False):
        pass
    sequence = open_sequence(folder / "street")
    (folder / "depth" / "npz").mkdir(parents=True)
    about = {"quantity": "depth", "scale": "up_to_scale", "unit": "scene unit", "source": str(folder / "street")}
    (folder / "depth" / "prediction.json").write_text(json.dumps({**about, "color_range": [1, 10]}))
    rng, rows = np.random.default_rng(0), []
    for frame in sequence.frames(("depth",)):
        depth = frame.depth[0].numpy() / UNIT * np.exp(0.03 * rng.standard_normal(frame.depth.shape[1:]))
        np.savez(folder / "depth" / "npz" / f"{frame.name}.npz", depth=np.where(depth > 0, depth, 100).astype("f4"))
        camera = {key: getattr(frame.camera, key) for key in ("fx", "fy", "cx", "cy", "width", "height")}
        rows.append({"name": frame.name, "camera": camera, "cam_to_world": None, "timestamp": frame.timestamp})
    (folder / "depth" / "frames.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return folder


@pytest.fixture
def street(made, tmp_path):
    """Recording and predictions for a test to change."""
    shutil.copytree(made, tmp_path, dirs_exist_ok=True)
    return tmp_path


def run(folder, *words):
    return main(["scale", str(folder / "depth"), "--out", str(folder / "metric"), *(str(word) for word in words)])


def factor_of(folder):
    return json.loads((folder / "metric" / "prediction.json").read_text())["scaled"]["factor"]


def test_camera_height(street, capsys):
    height = -float(open_sequence(street / "street").records[0].cam_to_world[1, 3])  # the ground is at y = 0
    assert run(street, "--camera-height", height) == 0
    assert factor_of(street) == pytest.approx(UNIT, rel=0.05)
    before, after = open_predictions(street / "depth"), open_predictions(street / "metric")
    assert (after.scale, after.unit, list(after)) == ("metric", "m", list(before))
    name = list(before)[3]
    torch.testing.assert_close(after[name].depth, before[name].depth * factor_of(street))
    assert after[name].camera == before[name].camera
    assert after.about["color_range"] == [factor_of(street), 10 * factor_of(street)]
    assert "Depth is in m" in (street / "metric" / "report.html").read_text()
    assert "1 scene unit = " in capsys.readouterr().out


def test_measured_depth_however_sparse(street):
    (street / "sparse").mkdir()
    for path in sorted((street / "street" / "depth").glob("*.png"))[::2]:
        values = np.array(Image.open(path))
        values[np.random.default_rng(0).random(values.shape) > 0.01] = 0
        Image.fromarray(values).save(street / "sparse" / path.name)
    divisor = json.loads((street / "street" / "sequence.json").read_text())["depth_divisor"]
    assert run(street, "--depth", street / "sparse", "--depth-divisor", divisor) == 0
    assert factor_of(street) == pytest.approx(UNIT, rel=0.02)
    shutil.rmtree(street / "metric")
    assert run(street, "--depth", street / "street") == 0  # a recording knows its divisor
    assert factor_of(street) == pytest.approx(UNIT, rel=0.02)


def test_one_distance(street):
    sequence = open_sequence(street / "street")
    frame = sequence.read(4, ("depth",))
    x, y = 20, 100
    z = float(frame.depth[0, y, x])
    ray = np.hypot(1, np.hypot((x - frame.camera.cx) / frame.camera.fx, (y - frame.camera.cy) / frame.camera.fy))
    assert run(street, "--distance", z * ray, "--frame", frame.name, "--pixel", f"{x},{y}") == 0
    assert factor_of(street) == pytest.approx(UNIT, rel=0.05)  # one pixel and its neighbours, 3 % noise


def test_metric_poses(street):
    assert run(street, "--poses", street / "street" / "poses.txt") == 0
    assert factor_of(street) == pytest.approx(UNIT, rel=0.05)
    stored = open_predictions(street / "metric")
    sequence = open_sequence(street / "street")
    torch.testing.assert_close(stored[sequence.records[5].name].cam_to_world, sequence.records[5].cam_to_world)


def test_baseline_of_poses_in_another_unit(street):
    sequence = open_sequence(street / "street")
    ends = [sequence.records[i].cam_to_world[:3, 3] for i in (0, -1)]
    lines = (street / "street" / "poses.txt").read_text().splitlines()
    shrunk = []
    for line in lines:
        name, *words = line.split()
        matrix = np.array(words, float).reshape(4, 4)
        matrix[:3, 3] *= 0.17
        shrunk.append(" ".join([name, *map(repr, matrix.ravel().tolist())]))
    (street / "street" / "poses.txt").write_text("\n".join(shrunk))
    assert run(street, "--baseline", float((ends[1] - ends[0]).norm())) == 0
    assert factor_of(street) == pytest.approx(UNIT, rel=0.05)
    last = open_predictions(street / "metric")[sequence.records[-1].name].cam_to_world
    torch.testing.assert_close(last, sequence.records[-1].cam_to_world)


def test_the_spread_says_how_steady_the_scale_is():
    factor = summary({"a": 1.0, "b": 2.0, "c": 4.0, "d": float("nan")})
    assert (factor.value, factor.low, factor.high, factor.frames) == (2.0, 1.5, 3.0, 3)
    assert factor.spread == pytest.approx(np.log([1, 2, 4]).std())
    with pytest.raises(InputError, match="none of the 1 frames tells the scale"):
        summary({"a": float("nan")})


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ((), "found nothing to scale by"),
        (("--camera-height", "1", "--baseline", "2"), "found --camera-height and --baseline"),
        (("--camera-height", "-1"), "--camera-height is -1"),
        (("--distance", "2", "--frame", "x", "--pixel", "1,1"), "no prediction of frame 'x'"),
        (("--distance", "2", "--frame", "000001", "--pixel", "208,1"), "outside of 208 x 128"),
        (("--distance", "2", "--frame", "000001"), "--pixel None is not a pixel"),
        (("--depth", "{}/street/depth"), "add --depth-divisor"),
        (("--data", "{}/depth/npz", "--baseline", "1"), "has no images, video or known layout"),
    ],
)
def test_bad_input_is_one_sentence(street, capsys, words, message):
    assert run(street, *(word.format(street) for word in words)) == 2
    assert message in capsys.readouterr().err
    assert not (street / "metric").exists()


def test_what_is_metric_or_affine_stays_as_it_is(street, capsys):
    about = street / "depth" / "prediction.json"
    for scale, message in (("metric", "is metric already"), ("affine", "up to a shift")):
        about.write_text(json.dumps({"quantity": "depth", "scale": scale, "unit": "m"}))
        assert run(street, "--camera-height", "1") == 2
        assert message in capsys.readouterr().err


def test_nothing_is_overwritten(street, capsys):
    (street / "metric").mkdir()
    (street / "metric" / "mine").touch()
    assert run(street, "--camera-height", "1.5") == 2
    assert "choose another --out" in capsys.readouterr().err
    assert [path.name for path in (street / "metric").iterdir()] == ["mine"]


def test_depth_of_other_frames_is_of_no_use(street, capsys):
    (street / "other").mkdir()
    np.save(street / "other" / "elsewhere.npy", np.ones((4, 4), np.float32))
    assert run(street, "--depth", street / "other") == 2
    assert "no measured depth of a predicted frame such as 000000" in capsys.readouterr().err


def test_predictions_without_ground_do_not_tell_a_height(street, capsys):
    for path in (street / "depth" / "npz").iterdir():
        np.savez(path, depth=np.full((128, 208), 2, np.float32))
    assert run(street, "--camera-height", "1.5") == 2
    assert "none of the 12 frames tells the scale" in capsys.readouterr().err
