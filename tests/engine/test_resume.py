"""A run that is killed, interrupted or short of disk goes on to the numbers of an undisturbed one."""

from __future__ import annotations

import errno
import json
import os
import random
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from tiny import TOY, assert_same, state_of, train_sc_depth, train_toy

from kinodepth.methods.base import Objective
from kinodepth.types import InputError
from toy_method import ToyConfig

SCRIPT = str(Path(__file__).with_name("run_tiny.py"))
STEPS = 40


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    out = tmp_path_factory.mktemp("undisturbed") / "run"
    train_toy(out)
    return state_of(out)


def signal_at(step: int, number: int, what: str, out: Path, **settings: Any) -> int:
    """Start a run, signal its whole process group as soon as ``step`` steps are logged; the exit status."""
    command = [sys.executable, SCRIPT, what, str(out), json.dumps(settings)]
    environment = {**os.environ, "OMP_NUM_THREADS": str(torch.get_num_threads())}  # other sums with other threads
    process = subprocess.Popen(command, env=environment, stderr=subprocess.DEVNULL, start_new_session=True)
    log = out / "log.jsonl"
    while process.poll() is None and not (log.exists() and len(log.read_text().splitlines()) >= step):
        time.sleep(0.002)
    assert process.poll() is None, f"the run ended before step {step}"
    os.killpg(process.pid, number)
    return process.wait()


def kill_at(step: int, what: str, out: Path, **settings: Any) -> None:
    """Start a run and kill it as soon as ``step`` steps are logged."""
    assert signal_at(step, signal.SIGKILL, what, out, **settings) == -signal.SIGKILL


def asking_to_stop(number: int, step: int) -> Any:
    """The toy method, which gets the signal ``number`` while it works on ``step``."""
    calls = iter(range(STEPS))

    def objective(*arguments: Any) -> Objective:
        if next(calls) == step:
            signal.raise_signal(signal.Signals(number))
        return TOY.objective(*arguments)

    return replace(TOY, objective=objective)


def test_killed_twice_and_resumed_gives_the_same_bits(tmp_path: Path, undisturbed: dict[str, Any]) -> None:
    out = tmp_path / "run"
    first, second = sorted(random.SystemRandom().sample(range(5, STEPS - 5), 2))
    kill_at(first, "train_toy", out, save_every=1)
    kill_at(second, "train_toy", out, save_every=4, resume=True, workers=1)
    train_toy(out, resume=True)
    assert_same(undisturbed, state_of(out))
    rows = [json.loads(line) for line in (out / "log.jsonl").read_text().splitlines()]
    assert [row["step"] for row in rows if "total" in row] == list(range(1, STEPS + 1))


@pytest.mark.long
def test_sc_depth_killed_and_resumed_gives_the_same_bits(tmp_path: Path) -> None:
    train_sc_depth(tmp_path / "whole", steps=6)
    kill_at(3, "train_sc_depth", tmp_path / "killed", steps=6, save_every=2, validate_every=6)
    train_sc_depth(tmp_path / "killed", steps=6, resume=True)
    assert_same_weights(state_of(tmp_path / "whole"), state_of(tmp_path / "killed"))


def test_stages_resume_in_the_right_one(tmp_path: Path) -> None:
    config = ToyConfig(steps=6, warm_up_steps=6)
    train_toy(tmp_path / "whole", config=config, steps=None)
    for step in (3, 5, 6, 9):
        out = tmp_path / str(step)
        stopped = train_toy(out, asking_to_stop(signal.SIGINT, step - 1), config, steps=None)
        assert (stopped.step, stopped.interrupted) == (step, True)
        train_toy(out, config=config, steps=None, resume=True)
        assert_same(state_of(tmp_path / "whole"), state_of(out))


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_stop_signal_leaves_a_checkpoint_of_that_step(
    tmp_path: Path, undisturbed: dict[str, Any], number: int
) -> None:
    before = signal.getsignal(number)
    stopped = train_toy(tmp_path, asking_to_stop(number, 9))
    assert stopped.interrupted
    assert state_of(tmp_path)["step"] == stopped.step == 10
    assert signal.getsignal(number) is before
    train_toy(tmp_path, resume=True)
    assert_same(undisturbed, state_of(tmp_path))


def test_signals_to_the_whole_process_group_leave_the_workers_to_the_loop(
    tmp_path: Path, undisturbed: dict[str, Any]
) -> None:
    assert signal_at(8, signal.SIGINT, "train_toy", tmp_path, workers=1) == 0
    assert signal_at(16, signal.SIGTERM, "train_toy", tmp_path, workers=2, resume=True) == 0
    assert 16 <= state_of(tmp_path)["step"] < STEPS
    train_toy(tmp_path, resume=True)
    assert_same(undisturbed, state_of(tmp_path))


def test_a_finished_run_can_be_given_more_steps(tmp_path: Path, undisturbed: dict[str, Any]) -> None:
    train_toy(tmp_path, steps=12)
    train_toy(tmp_path, resume=True)
    assert_same_weights(undisturbed, state_of(tmp_path))


def assert_same_weights(a: dict[str, Any], b: dict[str, Any]) -> None:
    """All is equal but the validation, which one of the runs had more often."""
    assert_same({**a, "best": None}, {**b, "best": None})


@contextmanager
def largest_file(size: int) -> Iterator[None]:
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_files_that_may_not_grow_leave_the_previous_checkpoint(tmp_path: Path, undisturbed: dict[str, Any]) -> None:
    train_toy(tmp_path, steps=10)
    before = state_of(tmp_path)
    with largest_file(9000), pytest.raises(InputError, match="what was written before is intact"):
        train_toy(tmp_path, resume=True, log_every=1000)
    assert_same(before, state_of(tmp_path))
    assert_same(before["model"], load_file(tmp_path / "checkpoints" / "last.safetensors"))
    assert sorted(p.name for p in (tmp_path / "checkpoints").iterdir()) == [
        "best.safetensors",
        "last.safetensors",
        "last.state",
    ]
    train_toy(tmp_path, resume=True)
    assert_same_weights(undisturbed, state_of(tmp_path))


def test_a_full_disk_is_one_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    train_toy(tmp_path, steps=10)
    before = state_of(tmp_path)

    def no_space(path: Path, data: Any) -> int:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))

    with monkeypatch.context() as patched:
        patched.setattr(Path, "write_bytes", no_space)
        with pytest.raises(InputError, match="No space left on device"):
            train_toy(tmp_path, resume=True)
    assert_same(before, state_of(tmp_path))


def test_resuming_another_run_is_refused(tmp_path: Path) -> None:
    train_toy(tmp_path, steps=2)
    for changed in ({"seed": 3}, {"batch": 4}, {"config": ToyConfig(width=4)}):
        with pytest.raises(InputError, match="was started with") as refused:
            train_toy(tmp_path, **changed, resume=True)
        assert next(iter(changed)) in str(refused.value) or "width 8" in str(refused.value)
    with pytest.raises(InputError, match="is not empty"):
        train_toy(tmp_path)
    with pytest.raises(InputError, match="holds no run to resume"):
        train_toy(tmp_path / "nowhere", resume=True)


def test_a_cut_off_state_is_refused_with_a_sentence(tmp_path: Path) -> None:
    train_toy(tmp_path, steps=2)
    path = tmp_path / "checkpoints" / "last.state"
    path.write_bytes(path.read_bytes()[:1000])
    with pytest.raises(InputError, match="cannot be read"):
        train_toy(tmp_path, resume=True)


def test_the_state_holds_plain_tensors_only(tmp_path: Path) -> None:
    train_toy(tmp_path, steps=2)
    assert torch.load(tmp_path / "checkpoints" / "last.state", weights_only=True)["step"] == 2
