"""Every method on a device that is not the processor; a process of its own, for the device cannot be unregistered."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from kinodepth import methods


@pytest.mark.timeout(900)
def test_every_method_trains_and_predicts_where_its_tensors_are():
    program = [sys.executable, str(Path(__file__).parent / "run_elsewhere.py"), *methods.available()]
    found = subprocess.run(program, capture_output=True, text=True)
    assert found.returncode == 0, found.stderr
    assert [line for line in found.stdout.splitlines() if line.endswith("predicted")] == [
        f"{name}: predicted" for name in methods.available()
    ]
