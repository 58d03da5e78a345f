"""What a run leaves behind, and its options."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from tiny import TOY, sequence, state_of, train_toy
from torch import nn

from kinodepth.engine.processes import networks_in
from kinodepth.engine.recordings import require, with_camera
from kinodepth.engine.train import Options
from kinodepth.methods.base import Objective
from kinodepth.methods.weights import read_weights
from kinodepth.types import InputError, Sequence
from toy_method import ToyConfig, ToyNet


def rows_of(run: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (run / "log.jsonl").read_text().splitlines()]


def test_a_run_learns_and_leaves_all_its_files(tmp_path: Path) -> None:
    progress = train_toy(tmp_path, steps=120, validate_every=30, batch=4)
    assert progress.step == 120
    rows = rows_of(tmp_path)
    validations = [row["validation"]["abs_rel"] for row in rows if "validation" in row]
    assert len(validations) == 4
    assert validations[-1] < 0.5 * validations[0]
    assert progress.best == min(validations)
    losses = [row["loss"]["log_depth"] for row in rows if "loss" in row]
    assert len(losses) == 120
    assert losses[-1] < 0.5 * losses[0]
    assert {"step", "stage", "loss", "total", "learning_rate", "gradient_norm", "data_wait"} <= rows[0].keys()
    method, config, weights, extra = read_weights(tmp_path / "checkpoints" / "last.safetensors")
    assert (method, config["width"], extra["step"]) == ("toy", 8, 120)
    assert torch.equal(weights["head.weight"], state_of(tmp_path)["model"]["head.weight"])
    assert (tmp_path / "checkpoints" / "best.safetensors").is_file()
    assert len(list((tmp_path / "pictures").glob("step_0000120_*.png"))) == 2  # two held-out frames
    run = json.loads((tmp_path / "run.json").read_text())
    assert run["parameters"] == {"body": 608, "head": 73}
    assert (run["method"], run["batch"], run["seed"]) == ("toy", 4, 0)
    assert run["versions"]["torch"] == torch.__version__
    assert list((tmp_path / "tensorboard").iterdir())


def test_the_same_seed_gives_the_same_run_whatever_the_workers(tmp_path: Path) -> None:
    weights = []
    for name, settings in {"a": {}, "b": {"workers": 2}, "c": {"log_every": 7, "validate_every": 3}}.items():
        train_toy(tmp_path / name, steps=10, **settings)
        weights.append(load_file(tmp_path / name / "checkpoints" / "last.safetensors"))
    for other in weights[1:]:
        assert all(torch.equal(weights[0][name], other[name]) for name in other)


def test_portions_add_up_to_the_batch(tmp_path: Path) -> None:
    train_toy(tmp_path / "whole", steps=5, batch=8)
    train_toy(tmp_path / "portions", steps=5, batch=8, accumulate=4)
    whole, portions = (state_of(tmp_path / name)["model"] for name in ("whole", "portions"))
    for name in whole:
        assert torch.allclose(whole[name], portions[name], rtol=1e-5, atol=1e-6)


def test_clipping_limits_the_gradient(tmp_path: Path) -> None:
    def norm_of_moment(run: Path) -> float:
        moments = [state["exp_avg"] for state in state_of(run)["optimizer"]["state"].values()]
        return float(torch.cat([m.flatten() for m in moments]).norm() / 0.1)  # after one step: 0.1 x gradient

    train_toy(tmp_path / "free", steps=1)
    train_toy(tmp_path / "clipped", steps=1, clip_norm=0.01)
    assert norm_of_moment(tmp_path / "free") > 0.05
    assert norm_of_moment(tmp_path / "clipped") == pytest.approx(0.01, rel=1e-3)


def test_only_the_parts_of_a_stage_train(tmp_path: Path) -> None:
    modes: list[tuple[bool, bool]] = []

    def objective(model: ToyNet, *others: Any) -> Objective:
        modes.append((model.body.training, model.head.training))
        return TOY.objective(model, *others)

    method = replace(TOY, objective=objective)
    torch.manual_seed(0)
    start = TOY.build(ToyConfig()).state_dict()
    train_toy(tmp_path, method, ToyConfig(warm_up_steps=3, steps=2), steps=None, save_every=3, validate_every=2)
    assert modes == [(False, True)] * 3 + [(True, True)] * 2
    train_toy(tmp_path / "warm", TOY, ToyConfig(warm_up_steps=3, steps=1), steps=3)
    warm = state_of(tmp_path / "warm")["model"]
    assert not torch.equal(warm["head.weight"], start["head.weight"])


def test_frozen_parts_keep_their_weights(tmp_path: Path) -> None:
    head_only = replace(TOY, stages=lambda config: [replace(TOY.stages(config)[0], parts=("head",))])
    torch.manual_seed(0)
    start = TOY.build(ToyConfig()).state_dict()
    train_toy(tmp_path, head_only, steps=3)
    trained = state_of(tmp_path)["model"]
    assert torch.equal(trained["body.weight"], start["body.weight"])
    assert not torch.equal(trained["head.weight"], start["head.weight"])


def test_networks_run_in_bfloat16_and_losses_do_not(tmp_path: Path) -> None:
    net, image = ToyNet(ToyConfig()), torch.rand(1, 3, 16, 24)
    full = net(image)
    with networks_in("bf16", net, torch.device("cpu")):
        low = net.body(image)
        assert low.dtype is torch.float32
        assert torch.equal(low, low.bfloat16().float())
    assert torch.equal(net(image), full)
    train_toy(tmp_path, steps=60, precision="bf16")
    losses = [row["total"] for row in rows_of(tmp_path) if "total" in row]
    assert losses[-1] < 0.5 * losses[0]


def test_depthwise_convolutions_keep_float32_on_a_processor() -> None:
    net = nn.ModuleDict({"depthwise": nn.Sequential(nn.Conv2d(8, 8, 3, groups=8)), "dense": nn.Conv2d(8, 8, 3)})
    x = torch.rand(1, 8, 6, 6)
    full = {name: part(x) for name, part in net.items()}
    with networks_in("bf16", net, torch.device("cpu")):
        low = {name: part(x) for name, part in net.items()}
    assert torch.equal(low["depthwise"], full["depthwise"])
    assert not torch.equal(low["dense"], full["dense"])
    assert torch.equal(net["dense"](x), full["dense"])


def test_collapse_is_said(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    def flat(config: ToyConfig) -> ToyNet:
        net = ToyNet(config)
        torch.nn.init.zeros_(net.head.weight)
        return net

    frozen = replace(TOY.stages(ToyConfig())[0], optimizer=lambda parameters: torch.optim.SGD(parameters, lr=0.0))
    train_toy(tmp_path, replace(TOY, build=flat, stages=lambda config: [frozen]), steps=2, validate_every=1)
    assert capfd.readouterr().err.count("the training has collapsed") == 1


@pytest.mark.parametrize("wrong", [{"batch": 0}, {"steps": -1}, {"precision": "fp16"}, {"device": "tpu"}])
def test_options_that_cannot_work_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(InputError, match=str(next(iter(wrong.values())))):
        Options(**wrong)


def test_what_a_recording_lacks_is_named() -> None:
    full = sequence(frames=3)
    bare = Sequence("bare", [replace(r, load={"image": r.load["image"]}, camera=None) for r in full.records])
    with pytest.raises(InputError, match="bare has no depth for every frame; toy needs that to train"):
        require(TOY, [full, bare])
    seen = with_camera(bare, 90).records[0].camera
    assert seen is not None
    assert (seen.fx, seen.cx, seen.field_of_view[0]) == (pytest.approx(12), 11.5, pytest.approx(90))
