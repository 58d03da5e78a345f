"""predict, report and convert from the command line, on folders as users have them."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image

from kinodepth import methods
from kinodepth.cli.main import main
from kinodepth.methods.base import Conversion, Requires
from kinodepth.methods.weights import read_weights, save_weights
from kinodepth.types import InputError
from toy_method import ToyConfig, registered


@pytest.fixture
def toy():
    with registered() as method:
        yield method


@pytest.fixture
def weights(toy, tmp_path):
    torch.manual_seed(0)
    path = tmp_path / "toy.safetensors"
    save_weights(path, toy.build(ToyConfig()), "toy", {})
    return path


@pytest.fixture
def clip(tmp_path):
    """Four small images and their camera."""
    folder = tmp_path / "clip"
    (folder / "images").mkdir(parents=True)
    y, x = np.mgrid[:48, :64]
    for i in range(4):
        picture = np.stack([x * 3 + 10 * i, y * 4, x + y], -1).clip(0, 255).astype(np.uint8)
        Image.fromarray(picture).save(folder / "images" / f"{i:03d}.png")
    (folder / "intrinsics.txt").write_text("50 0 31.5\n0 50 23.5\n0 0 1\n")
    return folder


def test_a_recording_alone_is_predicted_with_shipped_weights(weights, clip, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert main(["predict", str(clip)]) == 2  # has no poses
    assert "no camera poses and no model was named" in capsys.readouterr().err
    needs_camera = Requires(inference=frozenset({"camera"}))
    with registered(shipped=weights, requires=needs_camera) as method:
        monkeypatch.setattr(methods, "_registry", lambda: {"toy": method})
        assert main(["predict", "toy"]) == 2
        assert "no source was given" in capsys.readouterr().err
        assert main(["predict", str(clip)]) == 0
        assert "toy with the weights that kinodepth ships" in capsys.readouterr().out
    assert json.loads((tmp_path / "clip_depth" / "prediction.json").read_text())["frames"] == 4


def test_predict_leaves_files_a_report_and_the_cost(weights, clip, tmp_path, capsys):
    out = tmp_path / "out"
    assert main(["predict", str(weights), str(clip), "--out", str(out), "--save", "npz,png16,mp4,ply"]) == 0
    text = capsys.readouterr().out
    for word in ("frames 4", "p50_ms", "p95_ms", "peak memory", "report.html"):
        assert word in text, word
    for pattern in ("npz/*.npz", "png16/*.png", "ply/*.ply"):
        assert len(list(out.glob(pattern))) == 4, pattern
    assert (out / "video.mp4").stat().st_size > 500
    assert "data:video/mp4" in (out / "report.html").read_text()
    metadata = json.loads((out / "prediction.json").read_text())
    assert metadata["method"] == "toy"
    assert len(metadata["weights_sha256"]) == 64


def test_predict_takes_one_image(weights, clip, tmp_path):
    image = clip / "images" / "001.png"
    assert main(["predict", "toy", str(image), "--weights", str(weights), "--out", str(tmp_path / "one")]) == 0
    assert [p.stem for p in (tmp_path / "one" / "npz").iterdir()] == ["001"]


def test_same_command_again_computes_nothing_and_another_is_refused(weights, clip, tmp_path, capsys):
    command = ["predict", str(weights), str(clip), "--out", str(tmp_path / "out")]
    assert main(command) == 0
    capsys.readouterr()
    assert main(command) == 0
    assert "computed now 0" in capsys.readouterr().out
    assert main([*command, "--resolution", "network"]) == 2
    assert "--overwrite" in capsys.readouterr().err
    assert main([*command, "--resolution", "network", "--overwrite"]) == 0


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--save", "exr"], "npz,png16,mp4,ply"),
        (["--range", "5,1"], "near < far"),
        (["--device", "toaster"], "use auto"),
        (["--set", "width"], "key=value"),
        (["--set", "widht=3"], "no setting widht"),
    ],
)
def test_unusable_options_end_with_one_sentence(weights, clip, tmp_path, capsys, options, words):
    assert main(["predict", str(weights), str(clip), "--out", str(tmp_path / "out"), *options]) == 2
    error = capsys.readouterr().err.strip().splitlines()
    assert len(error) == 1
    assert words in error[0]
    assert not (tmp_path / "out").exists()


def test_point_clouds_need_a_camera(weights, clip, tmp_path, capsys):
    command = ["predict", str(weights), str(clip / "images"), "--out", str(tmp_path / "out"), "--save", "npz,ply"]
    assert main(command) == 2
    assert "give --fov DEGREES" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
    assert main([*command, "--fov", "60"]) == 0
    assert len(list((tmp_path / "out" / "ply").iterdir())) == 4


def test_truncated_image_in_the_middle_names_it_and_keeps_the_rest(weights, clip, tmp_path, capsys):
    image = clip / "images" / "002.png"
    whole = image.read_bytes()
    image.write_bytes(whole[: len(whole) // 2])
    out = tmp_path / "out"
    assert main(["predict", str(weights), str(clip), "--out", str(out)]) == 2
    assert "002" in capsys.readouterr().err
    assert sorted(p.stem for p in (out / "npz").iterdir()) == ["000", "001"]
    image.write_bytes(whole)
    assert main(["predict", str(weights), str(clip), "--out", str(out)]) == 0
    assert "computed now 2" in capsys.readouterr().out


def test_report_of_predictions_shows_images_while_the_source_is_there(weights, clip, tmp_path):
    out = tmp_path / "out"
    main(["predict", str(weights), str(clip), "--out", str(out), "--save", "png16"])
    (out / "report.html").unlink()
    assert main(["report", str(out)]) == 0
    with_images = (out / "report.html").read_text()
    clip.rename(tmp_path / "moved")
    assert main(["report", str(out), "--out", str(tmp_path / "page.html")]) == 0
    without = (tmp_path / "page.html").read_text()
    assert with_images.count("data:image/jpeg") == without.count("data:image/jpeg") == 4
    assert len(without) < len(with_images)


def test_report_of_a_run_and_of_an_evaluation(tmp_path):
    run = tmp_path / "run"
    (run / "pictures").mkdir(parents=True)
    (run / "evaluation").mkdir()
    (run / "run.json").write_text(json.dumps({"method": "toy", "data": "clip", "config": {"width": 8}}))
    rows = [{"step": i, "loss": {"photo": 0.5}, "total": 0.7} for i in range(5)] + [
        {"step": 4, "validation": {"l1": 0.25}}
    ]
    (run / "log.jsonl").write_text("\n".join(map(json.dumps, rows)) + '\n{"step": 5, "lo')
    for step in range(20):
        Image.fromarray(np.zeros((8, 8, 3), np.uint8)).save(run / "pictures" / f"step_{step:07d}_0.png")
    evaluation = {"protocol": {"name": "generic"}, "result": {"all": {"abs_rel": 0.123}}}
    (run / "evaluation" / "evaluation.json").write_text(json.dumps(evaluation))
    assert main(["report", str(run)]) == 0
    page = (run / "report.html").read_text()
    for word in ("Training toy", "photo", "0.25", "0.123", "step 19, picture 0"):
        assert word in page, word
    assert page.count("data:image/jpeg") == 8
    assert main(["report", str(run / "evaluation")]) == 0
    assert "0.123" in (run / "evaluation" / "report.html").read_text()


def test_report_of_anything_else_is_refused(tmp_path, capsys):
    assert main(["report", str(tmp_path)]) == 2
    assert "expected the output folder" in capsys.readouterr().err


def test_convert_writes_weights_and_tells_what_did_not_match(toy, tmp_path, monkeypatch, capsys):
    network = toy.build(ToyConfig(width=5))
    published, out = tmp_path / "published.ckpt", tmp_path / "ours.safetensors"
    published.write_bytes(b"as published")
    conversion = Conversion(network.config, network.state_dict(), unexpected=("optimizer.step",))
    monkeypatch.setitem(methods._registry(), "toy", replace(toy, convert=lambda path: conversion))
    assert main(["convert", "toy", str(published), str(out)]) == 0
    text = capsys.readouterr().out
    assert "4 tensors matched" in text
    assert "optimizer.step" in text
    name, config, state, _ = read_weights(out)
    assert (name, config["width"]) == ("toy", 5)
    assert all(torch.equal(state[key], value) for key, value in network.state_dict().items())


def test_convert_refuses_in_one_sentence(toy, tmp_path, monkeypatch, capsys):
    published = tmp_path / "published.ckpt"
    published.write_bytes(b"evil")

    def refuse(path):
        raise InputError(f"{path} is a pickle with code in it")

    monkeypatch.setitem(methods._registry(), "toy", replace(toy, convert=refuse))
    assert main(["convert", "toy", str(published), str(tmp_path / "o.safetensors")]) == 2
    assert "code in it" in capsys.readouterr().err
    assert main(["convert", "toy", str(published), str(tmp_path / "o.pt")]) == 2
    assert "o.safetensors" in capsys.readouterr().err
    assert main(["convert", "toy", str(tmp_path / "absent.ckpt"), str(tmp_path / "o.safetensors")]) == 2
    assert "does not exist" in capsys.readouterr().err
    assert not (tmp_path / "o.safetensors").exists()
