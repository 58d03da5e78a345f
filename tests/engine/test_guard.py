"""A value that is not finite stops the run, is named, and its batch can be looked at."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors import safe_open
from tiny import TOY, sequence, state_of, train_toy
from torch import Tensor

from kinodepth.data.clips import read_clip
from kinodepth.engine.guard import Guard
from kinodepth.engine.train import Options, train
from kinodepth.methods.base import Method, Objective
from kinodepth.types import InputError, Sequence
from toy_method import ToyConfig


def spoiled(spoil: Callable[[Objective, Any], Objective], step: int = 7) -> Method:
    """The toy method whose objective is changed at one step."""
    calls = iter(range(1000))

    def objective(model: Any, *others: Any) -> Objective:
        found = TOY.objective(model, *others)
        return spoil(found, model) if next(calls) == step else found

    return replace(TOY, objective=objective)


def infinite_term(objective: Objective, model: Any) -> Objective:
    return Objective({**objective.terms, "smooth": torch.tensor(math.inf)}, {**objective.weights, "smooth": 0.0})


def infinite_gradient(objective: Objective, model: Any) -> Objective:
    at_zero = (model.head.weight * 0).sum().sqrt()  # finite value, infinite slope
    return Objective({"log_depth": objective.terms["log_depth"] + at_zero}, objective.weights)


@pytest.mark.parametrize(
    ("spoil", "name"), [(infinite_term, "loss/smooth = inf"), (infinite_gradient, "gradient of head = nan")]
)
def test_the_run_stops_and_names_the_culprit(
    tmp_path: Path, spoil: Callable[[Objective, Any], Objective], name: str
) -> None:
    with pytest.raises(InputError, match=f"stopped at step 7: {name}") as stopped:
        train_toy(tmp_path, spoiled(spoil), save_every=5)
    assert str(tmp_path / "bad_batch.safetensors") in str(stopped.value)
    assert state_of(tmp_path)["step"] == 5
    assert all(torch.isfinite(weight).all() for weight in state_of(tmp_path)["model"].values())
    with safe_open(tmp_path / "bad_batch.safetensors", "pt") as file:
        assert file.get_tensor("images").shape == (2, 1, 3, 16, 24)
        note = json.loads(file.metadata()["clip"])
    assert note["step"] == 7
    assert len(note["names"]) == len(note["cameras"]) == 2


@pytest.mark.parametrize("lag", [False, True])
def test_late_or_at_once_the_right_batch_is_saved(tmp_path: Path, lag: bool) -> None:
    guard = Guard(tmp_path, lag)
    clips = [read_clip(sequence(), (index,), 0, frozenset()) for index in range(3)]
    values = {"loss/a": torch.tensor(1.0), "total": torch.tensor(2.0)}
    guard.watch(0, clips[0], values)
    bad = {**values, "loss/a": torch.tensor(math.nan)}

    def go_on() -> None:
        guard.watch(1, clips[1], bad)
        guard.watch(2, clips[2], values)

    with pytest.raises(InputError, match="step 1: loss/a = nan"):
        go_on()
    with safe_open(tmp_path / "bad_batch.safetensors", "pt") as file:
        assert torch.equal(file.get_tensor("images"), clips[1].images)


def test_nan_validation_is_never_the_best(tmp_path: Path) -> None:
    values = iter([math.nan, 0.5, math.nan, 0.7])

    def validate(model: Any, clip: Any) -> Tensor:
        return torch.tensor(next(values))

    blind = replace(TOY, validate=validate)

    def without_depth(name: str, frames: int, first: int) -> Sequence:
        full = sequence(name, frames, first=first)
        return Sequence(name, [replace(r, load={"image": r.load["image"]}) for r in full.records])

    options = Options(steps=4, device="cpu", workers=0, validate_every=1, validate_frames=1)
    stages = [replace(stage, fields=frozenset()) for stage in TOY.stages(ToyConfig())]
    blind = replace(blind, objective=brightness_objective, stages=lambda config: stages)
    progress = train(blind, ToyConfig(), [without_depth("a", 5, 0)], [without_depth("b", 2, 50)], tmp_path, options)
    assert progress.best == 0.5
    rows = [json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    assert [row["validation"]["loss"] for row in rows if "validation" in row] == [None, 0.5, None, pytest.approx(0.7)]
    with safe_open(tmp_path / "checkpoints" / "best.safetensors", "pt") as file:
        assert json.loads(file.metadata()["kinodepth"])["extra"]["step"] == 2


def brightness_objective(model: Any, clip: Any, stage: Any, draws: Any) -> Objective:
    return Objective({"depth": model(clip.images[:, 0]).mean()}, {"depth": 1.0})
