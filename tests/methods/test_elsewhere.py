"""Every method on a device that is not the processor; a process of its own, for the device cannot be unregistered."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from kinodepth import methods


def run(stages: str) -> list[str]:
    """What ``run_elsewhere.py`` prints; on one thread, for its tensors are too small for more."""
    program = [sys.executable, str(Path(__file__).parent / "run_elsewhere.py"), stages, *methods.available()]
    found = subprocess.run(program, capture_output=True, text=True, env={**os.environ, "OMP_NUM_THREADS": "1"})
    assert found.returncode == 0, found.stderr
    return found.stdout.splitlines()


def test_every_method_trains_and_predicts_where_its_tensors_are():
    told = run("first")
    assert [line for line in told if line.endswith("predicted")] == [f"{m}: predicted" for m in methods.available()]


@pytest.mark.demand
@pytest.mark.timeout(900)
def test_the_stages_that_need_those_before_do_too():
    plans = {name: methods.load(name) for name in methods.available()}
    stages = [f"{name}, {stage.name}: trained" for name, m in plans.items() for stage in m.stages(m.config())]
    assert [line for line in run("all") if line.endswith("trained")] == stages
