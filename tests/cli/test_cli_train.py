"""``kinodepth train`` from the command line: a folder, a video, and what is refused."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

import toy_method
from kinodepth.cli.main import main
from kinodepth.data.folder import write_folder
from kinodepth.data.video import write_video
from kinodepth.methods.base import Method, Objective, Requires
from kinodepth.types import Camera, Frame
from toy_method import METHODS

CAMERA = Camera(40.0, 40.0, 23.5, 15.5, 48, 32)
SHORT = ("--steps", "4", "--device", "cpu", "--workers", "0", "--skip-checks")


def pictures(count: int) -> list[torch.Tensor]:
    wide = torch.nn.functional.interpolate(
        torch.rand(1, 3, 8, 24, generator=torch.Generator().manual_seed(0)), (32, 96)
    )
    return [wide[0, :, :, i : i + 48] for i in range(count)]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    frames = (
        Frame(f"{i:03d}", image, i / 10, CAMERA, torch.eye(4, dtype=torch.float64), 1 + image[:1])
        for i, image in enumerate(pictures(12))
    )
    list(write_folder(frames, tmp_path / "clip", {}))
    return tmp_path / "clip"


@pytest.fixture
def toy() -> Iterator[Method]:
    with toy_method.registered() as method:
        yield method


def test_train_resume_and_report(tmp_path: Path, folder: Path, toy: Method, capfd: pytest.CaptureFixture[str]) -> None:
    run = tmp_path / "run"
    command = ["train", "toy", "--data", str(folder), "--out", str(run), "--set", "width=4", *SHORT]
    assert main([*command, "--validate-every", "2"]) == 0
    stored = json.loads((run / "run.json").read_text())
    assert (stored["config"]["width"], stored["steps"]) == (4, 4)
    assert (stored["training"], stored["validation"]) == ({"clip": 11}, {"clip": 1})
    assert "training losses" in (run / "report.html").read_text() or "<svg" in (run / "report.html").read_text()
    assert main(command) == 2
    assert "is not empty" in capfd.readouterr().err
    assert main([*command, "--resume", "--steps", "6"]) == 0
    assert json.loads((run / "run.json").read_text())["steps"] == 6
    assert main([*command, "--resume", "--set", "width=6"]) == 2
    assert "was started with width 4, this command has width 6" in capfd.readouterr().err


def test_weights_of_another_run_are_the_start(tmp_path: Path, folder: Path, toy: Method) -> None:
    first, second = tmp_path / "first", tmp_path / "second"
    command = ["train", "toy", "--data", str(folder), *SHORT]
    assert main([*command, "--out", str(first)]) == 0
    still = ["--set", "learning_rate=0", "--weights", str(first / "checkpoints" / "last.safetensors")]
    assert main([*command, "--out", str(second), *still]) == 0
    one, two = (torch.load(r / "checkpoints" / "last.state", weights_only=True)["model"] for r in (first, second))
    assert all(torch.equal(one[name], two[name]) for name in one)


def test_a_video_without_anything_else_trains(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    def objective(model: torch.nn.Module, clip: object, stage: object, draws: object) -> Objective:
        return Objective({"depth": model(clip.images[:, 0]).mean()}, {"depth": 1.0})

    def stages(config: toy_method.ToyConfig) -> list[object]:
        return [replace(toy_method.stages(config)[0], fields=frozenset())]

    blind = replace(
        METHODS["toy"], requires=Requires(frozenset({"camera"})), objective=objective, stages=stages, validate=None
    )
    frames = [(image.permute(1, 2, 0).numpy() * 255).astype(np.uint8) for image in pictures(10)]
    write_video(tmp_path / "drive.mp4", frames)
    with toy_method.registered():
        from kinodepth import methods

        methods._registry()["toy"] = blind
        assert (
            main(["train", "toy", "--data", str(tmp_path / "drive.mp4"), "--out", str(tmp_path / "run"), *SHORT]) == 0
        )
    said = capfd.readouterr().err
    assert "no intrinsics, so a horizontal field of view of 60 degrees is used (a guess" in said
    assert len(list((tmp_path / "run" / "data" / "drive" / "images").iterdir())) == 10
    assert json.loads((tmp_path / "run" / "run.json").read_text())["training"] == {"drive": 9}


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["toy"], "there is nothing to train on"),
        (["toyy", "--data", "x"], "did you mean toy?"),
        (["toy", "--data", "{data}", "--set", "widht=3"], "did you mean width?"),
        (["toy", "--data", "{data}", "--preset", "shirt"], "did you mean short?"),
        (["toy", "--data", "{data}/nowhere"], "does not exist"),
        (["toy", "--data", "{data}", "--resume"], "holds no run to resume"),
        (["toy", "--data", "{data}", "--batch", "3", "--accumulate", "2"], "a batch of 3 cannot be shared"),
        (["toy", "--data", "{data}/images"], "has no depth for every frame; toy needs that to train"),
        (["toy", "--data", "{data}/nowhere", "--weights", "{data}"], "expected a run folder"),
        (["sc_depth_v3", "--data", "{data}"], "run kinodepth prior on it"),
        (
            ["sc_depth_v1", "--data", "{data}", "--set", "learning_rate=-1"],
            "learning_rate -1.0; expected a number from 0",
        ),
        (["sc_depth_v1", "--data", "{data}", "--set", "learning_rate=0"], "expected more than 0"),
        (["sc_depth_v1", "--data", "{data}", "--set", "photo_weight=nan"], "photo_weight nan; expected"),
    ],
)
def test_what_cannot_work_is_one_sentence(
    tmp_path: Path, folder: Path, toy: Method, capfd: pytest.CaptureFixture[str], words: list[str], message: str
) -> None:
    words = [word.format(data=folder) for word in words]
    assert main(["train", *words, "--out", str(tmp_path / "run"), *SHORT]) == 2
    said = capfd.readouterr().err
    assert message in said
    assert "Traceback" not in said
    assert not (tmp_path / "run" / "run.json").exists()


def test_a_broken_image_met_by_a_loader_process_is_one_sentence(
    tmp_path: Path, folder: Path, toy: Method, capfd: pytest.CaptureFixture[str]
) -> None:
    for image in (folder / "images").iterdir():
        image.write_bytes(image.read_bytes()[:200])
    command = ["train", "toy", "--data", str(folder), "--out", str(tmp_path / "run"), *SHORT]
    assert main([*command, "--workers", "1"]) == 2
    said = capfd.readouterr().err
    assert "Traceback" not in said
    (sentence,) = (line for line in said.splitlines() if line.startswith("kinodepth train:"))
    assert sentence.endswith("expected an intact image file; copy it again or remove it")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["train", "toy", "--stepz", "3"], "unrecognized arguments: --stepz 3; did you mean --steps?"),
        (["train", "toy", "--steps", "many"], "--steps many: expected int"),
        (["synth", "out", "--kind", "forest"], "--kind forest: expected room, street"),
        (["prepare", "a", "b", "--select", "first"], "--select first: expected published, signed, parallax"),
        (["predict", "nowhere", "clip"], "there is no file or folder nowhere, and no method of that name"),
    ],
)
def test_a_slip_on_the_command_line_is_one_sentence(
    capfd: pytest.CaptureFixture[str], words: list[str], message: str
) -> None:
    try:
        status = main(words)
    except SystemExit as ended:
        status = ended.code
    assert status == 2
    (said,) = capfd.readouterr().err.strip().splitlines()
    assert said.startswith(f"kinodepth {words[0]}: {message}")


def test_help_spells_options_as_they_are_typed(capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["train", "-h"])
    said = capfd.readouterr().out
    assert "--save-every" in said
    assert "--save_every" not in said
