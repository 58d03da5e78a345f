"""A sixth method needs no other file to change."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from kinodepth import methods
from kinodepth.types import InputError
from toy_method import registered

TOY = Path(__file__).parents[1] / "toy_method.py"


def test_an_installed_package_adds_its_method_through_its_entry_point(tmp_path):
    shutil.copy(TOY, tmp_path / "someones_method.py")
    info = tmp_path / "someones_method-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: someones-method\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[kinodepth.methods]\nsomeone = someones_method\n")
    environment = {**os.environ, "PYTHONPATH": str(tmp_path)}
    done = subprocess.run(
        [sys.executable, "-m", "kinodepth.cli.main", "methods"], env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert "toy" in done.stdout
    assert "sc_depth_v1" in done.stdout


def test_a_wrong_name_is_answered_with_the_nearest():
    with pytest.raises(InputError, match="did you mean sc_depth_v1"):
        methods.load("sc-depth-v1")
    with pytest.raises(InputError, match="toy"):
        methods.load("toy")
    with registered() as toy:
        assert methods.load("toy") is toy
