"""Memory does not grow with the length of the recording; ``benchmarks/memory.py`` shows it for 2,000 frames."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

TESTS = Path(__file__).parents[1]
MEASURE = """
import sys
sys.path[:0] = sys.argv[2:]
import memory
from toy_method import registered
memory.HEIGHT, memory.WIDTH = 96, 160
with registered():
    print(memory.measure("toy", int(sys.argv[1])))
"""


@pytest.mark.skipif(sys.platform == "win32", reason="the system does not tell the peak memory of a process")
def test_peak_memory_of_a_long_recording_is_that_of_a_short_one():
    folders = [str(TESTS), str(TESTS.parent / "benchmarks")]
    peaks = []
    for frames in (30, 300):  # the images of 270 frames alone would take 50 MB
        command = [sys.executable, "-c", MEASURE, str(frames), *folders]
        environment = {**os.environ, "OMP_NUM_THREADS": "1"}
        output = subprocess.run(command, check=True, capture_output=True, text=True, env=environment).stdout
        peaks.append(int(output.split()[-1]))
    assert peaks[1] / peaks[0] == pytest.approx(1, abs=0.05)
