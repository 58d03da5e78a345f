"""Predictions on disk: ours and anybody's, by frame name, with what their numbers mean."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from PIL import Image, PngImagePlugin

from kinodepth.data.predictions import open_predictions
from kinodepth.types import Camera, InputError

DEPTH = np.array([[1.0, 2.0, 4.0], [8.0, 16.0, 0.5]], np.float32)


def ours(folder):
    """A folder as ``kinodepth predict`` writes it."""
    (folder / "npz").mkdir(parents=True)
    np.savez(folder / "npz" / "a.npz", depth=DEPTH, scale="metric", unit="m", quantity="depth")
    about = {"quantity": "depth", "scale": "metric", "unit": "m", "frames": 1, "method": "toy"}
    (folder / "prediction.json").write_text(json.dumps(about))
    row = {
        "name": "a", "timestamp": 0.5, "cam_to_world": np.eye(4).tolist(),
        "camera": {"fx": 2.0, "fy": 2.0, "cx": 1.0, "cy": 0.5, "width": 3, "height": 2},
    }  # fmt: skip
    (folder / "frames.jsonl").write_text(json.dumps(row) + "\n")
    return folder


def test_what_predict_writes(tmp_path):
    predictions = open_predictions(ours(tmp_path / "p"))
    assert list(predictions) == ["a"]
    found = predictions["a"]
    assert (found.name, found.scale, found.unit, found.timestamp) == ("a", "metric", "m", 0.5)
    assert found.camera == Camera(2.0, 2.0, 1.0, 0.5, 3, 2)
    assert torch.equal(found.cam_to_world, torch.eye(4, dtype=torch.float64))
    assert found.depth.tolist() == [DEPTH.tolist()]
    assert open_predictions(tmp_path / "p", scale="up_to_scale")["a"].scale == "up_to_scale"
    with pytest.raises(KeyError):
        predictions["b"]


@pytest.mark.parametrize("values", [DEPTH, DEPTH[None], DEPTH[..., None], DEPTH.astype(np.float64)])
def test_arrays_of_anybody(tmp_path, values):
    np.save(tmp_path / "frame_01.npy", values)
    np.savez(tmp_path / "frame_02.npz", values)
    predictions = open_predictions(tmp_path)
    assert sorted(predictions) == ["frame_01", "frame_02"]
    for found in predictions.values():
        assert (found.scale, found.unit) == ("up_to_scale", "scene unit")
        assert found.depth.tolist() == [DEPTH.tolist()]


def test_inverse_depth_becomes_depth(tmp_path):
    inverse = np.array([[0.5, 0.0], [np.nan, -1.0]], np.float32)
    np.save(tmp_path / "a.npy", inverse)
    depth = open_predictions(tmp_path, quantity="inverse_depth", scale="affine")["a"].depth
    assert depth.tolist() == [[[2.0, 0.0], [0.0, 0.0]]]


def test_integers_need_to_say_what_they_mean(tmp_path):
    values = (DEPTH * 256).astype(np.uint16)
    Image.fromarray(values).save(tmp_path / "a.png")
    with pytest.raises(InputError, match=r"a\.png does not say what its integers mean; .* give --png-divisor"):
        open_predictions(tmp_path)["a"]
    assert open_predictions(tmp_path, divisor=256)["a"].depth.tolist() == [DEPTH.tolist()]
    text = PngImagePlugin.PngInfo()
    text.add_text("divisor", "512.0")
    Image.fromarray(values).save(tmp_path / "a.png", pnginfo=text)
    assert open_predictions(tmp_path)["a"].depth.tolist() == [(DEPTH / 2).tolist()]


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("prediction.json", "{", r"prediction\.json is not JSON"),
        ("prediction.json", '{"scale": "exact"}', "scale 'exact' is unknown"),
        ("prediction.json", '{"quantity": "disparity"}', "quantity 'disparity' is unknown"),
        ("frames.jsonl", '{"name": "a"}\n{"na', r"frames\.jsonl has a line that is not"),
        ("frames.jsonl", '{"frame": "a"}\n', r"frames\.jsonl has a line that is not"),
    ],
)
def test_what_cannot_be_meant_is_one_sentence(tmp_path, name, content, message):
    folder = ours(tmp_path / "p")
    (folder / name).write_text(content)
    with pytest.raises(InputError, match=message):
        open_predictions(folder)


def test_nothing_there(tmp_path):
    with pytest.raises(InputError, match=r"has no predictions; expected .png, .npy, .npz named by frame"):
        open_predictions(tmp_path)
    with pytest.raises(InputError, match="is no folder; expected predictions"):
        open_predictions(tmp_path / "nowhere")


def test_colours_are_not_taken_for_depth(tmp_path):
    Image.fromarray(np.zeros((2, 3, 3), np.uint8)).save(tmp_path / "a.png")
    with pytest.raises(InputError, match=r"a\.png has shape \(2, 3, 3\); expected a single H x W depth map"):
        open_predictions(tmp_path, divisor=1)["a"]
