"""Two processes train as one with the joint batch."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from tiny import state_of, train_sc_depth, train_toy

SCRIPT = str(Path(__file__).with_name("run_tiny.py"))


def train_together(what: str, out: Path, **settings: Any) -> None:
    launcher = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
    command = [sys.executable, *launcher, SCRIPT, what, str(out), json.dumps(settings)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr


def test_two_processes_equal_one_with_the_joint_batch(tmp_path: Path) -> None:
    settings: dict[str, Any] = {"steps": 8, "batch": 8, "accumulate": 2, "clip_norm": 0.1}
    if not torch.accelerator.is_available():
        settings["device"] = "auto"  # as users leave it: processors must find each other all the same
    train_toy(tmp_path / "one", **settings)
    train_toy(tmp_path / "other", **settings, seed=1)
    train_together("train_toy", tmp_path / "two", **settings, workers=1)
    one, other, two = (state_of(tmp_path / name)["model"] for name in ("one", "other", "two"))
    for name, weight in one.items():
        assert torch.allclose(weight, two[name], rtol=1e-5, atol=1e-6), name
        assert not torch.allclose(weight, other[name], rtol=1e-2, atol=1e-3), name
    logs = [(tmp_path / name / "log.jsonl").read_text().splitlines() for name in ("one", "two")]
    for row, joint_row in zip(*(map(json.loads, lines) for lines in logs), strict=True):
        assert row["step"] == joint_row["step"]
        if "total" in row:
            assert abs(row["total"] - joint_row["total"]) < 1e-5


@pytest.mark.long
def test_two_processes_share_statistics_and_masks_of_sc_depth(tmp_path: Path) -> None:
    train_sc_depth(tmp_path / "one")
    train_together("train_sc_depth", tmp_path / "two")
    one, two = (
        [json.loads(line) for line in (tmp_path / name / "log.jsonl").read_text().splitlines() if "total" in line]
        for name in ("one", "two")
    )
    for part in ("depth_net", "pose_net"):  # the first gradient; later Adam turns rounding of tiny ones into steps
        assert two[0]["gradient_norm"][part] == pytest.approx(one[0]["gradient_norm"][part], rel=1e-4)
    assert [row["total"] for row in two] == pytest.approx([row["total"] for row in one], rel=1e-4)
    assert len(one) == 4
