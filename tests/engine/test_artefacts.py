"""What a stage leaves for the next one is made once, again when what it was made from has changed, and after a kill."""

from __future__ import annotations

import signal
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest
from tiny import TOY, assert_same, state_of, train_toy

from kinodepth.engine.artefacts import made
from kinodepth.engine.status import stage_status
from kinodepth.methods.base import Objective, Stage
from kinodepth.types import InputError
from toy_method import ToyConfig, stages

MADE: list[str] = []
CONFIG = ToyConfig(steps=6, warm_up_steps=6)


def make(model, sequence):
    """The depth that the network says, of every frame; being asked is noted down."""
    MADE.append(sequence.name)
    for frame in sequence.frames({"depth"}):
        yield frame.name, {"extra:guess": model(frame.image[None])[0]}


def make_but_stop(model, sequence):
    if sequence.name == "second":
        raise KeyboardInterrupt
    yield from make(model, sequence)


def two_stages(config, maker=make) -> list[Stage]:
    first, second = stages(config)
    first = replace(first, produces={"extra:guess": "depth"}, make=maker)
    fields = second.fields | {"extra:guess"}
    return [first, replace(second, fields=fields, consumes=frozenset({"extra:guess"}))]


def objective(model, clip, stage, generator) -> Objective:
    found = TOY.objective(model, clip, stage, generator)
    if stage.name == "warm_up":
        return found
    apart = (model(clip.images[:, 0]) - clip.extra["guess"][:, 0]).abs().mean()
    return replace(found, terms={**found.terms, "guess": apart}, weights={**found.weights, "guess": 0.1})


METHOD = replace(TOY, stages=two_stages, objective=objective)


def stopping_at(step: int):
    calls = iter(range(100))

    def stop(*arguments):
        if next(calls) == step:
            signal.raise_signal(signal.SIGINT)
        return objective(*arguments)

    return replace(METHOD, objective=stop)


def test_later_stages_see_what_earlier_ones_left(tmp_path: Path) -> None:
    MADE.clear()
    train_toy(tmp_path / "run", METHOD, CONFIG, steps=None)
    assert MADE == ["tiny", "second"]
    manifest = made(tmp_path / "run" / "artefacts" / "warm_up")
    assert manifest is not None
    assert [shard["name"] for shard in manifest["shards"].values()] == ["tiny", "second"]
    status = stage_status(tmp_path / "run")
    assert [(s.name, s.done, s.steps, s.left) for s in status] == [("warm_up", 6, 6, 0.0), ("main", 6, 6, 0.0)]
    assert status[0].size == sum(shard["bytes"] for shard in manifest["shards"].values())


def test_a_resumed_run_makes_nothing_twice_and_ends_the_same(tmp_path: Path) -> None:
    train_toy(tmp_path / "whole", METHOD, CONFIG, steps=None)
    for step in (4, 6, 9):
        MADE.clear()
        out = tmp_path / str(step)
        assert train_toy(out, stopping_at(step - 1), CONFIG, steps=None).step == step
        train_toy(out, METHOD, CONFIG, steps=None, resume=True)
        assert MADE == ["tiny", "second"]
        assert_same(state_of(tmp_path / "whole"), state_of(out))


def test_stopped_while_making_it_makes_only_what_is_missing(tmp_path: Path) -> None:
    train_toy(tmp_path / "whole", METHOD, CONFIG, steps=None)
    MADE.clear()
    out = tmp_path / "stopped"
    with pytest.raises(KeyboardInterrupt):
        train_toy(out, replace(METHOD, stages=partial(two_stages, maker=make_but_stop)), CONFIG, steps=None)
    assert made(out / "artefacts" / "warm_up") is None
    train_toy(out, METHOD, CONFIG, steps=None, resume=True)
    assert MADE == ["tiny", "second"]
    assert_same(state_of(tmp_path / "whole"), state_of(out))


def test_what_is_gone_later_is_named(tmp_path: Path) -> None:
    out = tmp_path / "run"
    train_toy(out, stopping_at(8), CONFIG, steps=None)
    (out / "artefacts" / "warm_up" / "manifest.json").unlink()
    with pytest.raises(InputError, match="does not hold what stage warm_up left"):
        train_toy(out, METHOD, CONFIG, steps=None, resume=True)


def test_what_a_stage_needs_is_asked_for_before_the_first_step(tmp_path: Path) -> None:
    def needy(config):
        return [replace(stage, consumes=frozenset({"mask:instances"})) for stage in stages(config)]

    with pytest.raises(InputError, match=r"tiny has no mask:instances .* stage warm_up"):
        train_toy(tmp_path / "run", replace(METHOD, stages=needy), CONFIG, steps=None)
    assert not (tmp_path / "run").exists()
