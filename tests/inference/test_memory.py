"""Memory does not grow with the length of a recording or stream; ``benchmarks/memory.py`` shows it for thousands."""

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
STREAM = MEASURE.replace('memory.measure("toy", int(sys.argv[1]))', '*memory.stream("toy", 100, int(sys.argv[1]))')


@pytest.mark.skipif(sys.platform == "win32", reason="the system does not tell the peak memory of a process")
def test_peak_memory_of_a_long_recording_is_that_of_a_short_one():
    peaks = [printed(MEASURE, frames)[-1] for frames in (30, 300)]  # the images of 270 frames alone would take 50 MB
    assert peaks[1] / peaks[0] == pytest.approx(1, abs=0.05)


@pytest.mark.skipif(not Path("/proc/self/statm").is_file(), reason="the system does not tell the size of a process")
def test_a_posed_stream_stays_as_large_as_it_was():
    early, late = printed(STREAM, 400)[-2:]  # 300 frames and their depth would take 75 MB
    assert late / early < 1.05


def printed(code: str, frames: int) -> list[int]:
    """The numbers in the last line that ``code`` prints in a process of its own."""
    command = [sys.executable, "-c", code, str(frames), str(TESTS), str(TESTS.parent / "benchmarks")]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    output = subprocess.run(command, check=True, capture_output=True, text=True, env=environment).stdout
    return [int(word) for word in output.splitlines()[-1].split()]
