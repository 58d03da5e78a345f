"""Loads recorded numbers from the folder KINODEPTH_GOLDEN (default ../shared/golden); absent files skip their tests."""

from __future__ import annotations

import importlib.util
import json
import os
from collections.abc import Callable
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

REPOSITORY = Path(__file__).resolve().parents[2]
GOLDEN = Path(os.environ.get("KINODEPTH_GOLDEN", REPOSITORY.parent / "shared" / "golden"))
absent: set[str] = set()


def _seeded() -> ModuleType:
    spec = importlib.util.spec_from_file_location("seeded", _path("seeded.py"))
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def _path(name: str) -> Path:
    path = GOLDEN / name
    if not path.is_file():
        absent.add(name)
        pytest.skip(f"golden file {name} is absent (set KINODEPTH_GOLDEN to the folder that holds it)")
    return path


@pytest.fixture
def golden() -> Callable[[str], Any]:
    """``golden("method/file.npz")`` -> namespace of tensors (numbers) and arrays (text) by name; ``.json`` -> data."""

    def load(name: str) -> Any:
        path = _path(name)
        if path.suffix == ".json":
            return json.loads(path.read_text(encoding="utf-8"))
        with np.load(path, allow_pickle=False) as file:
            arrays = {key: file[key] for key in file.files}
        return SimpleNamespace(**{k: torch.from_numpy(v) if v.dtype.kind in "biuf" else v for k, v in arrays.items()})

    return load


@pytest.fixture
def golden_path() -> Callable[[str], Path]:
    """``golden_path("method/file")`` -> where a recorded file lies that is neither numbers nor JSON."""
    return _path


@pytest.fixture
def seeded_weights() -> Callable[[str], dict[str, torch.Tensor]]:
    """``seeded_weights("method/net.manifest.json")`` -> the state dict that the fixture was recorded with."""

    def load(name: str) -> dict[str, torch.Tensor]:
        state = _seeded().seeded_state_dict(_path(name))
        return {key: torch.from_numpy(np.asarray(value)) for key, value in state.items()}

    return load


def pytest_terminal_summary(terminalreporter: Any) -> None:
    def of_this_folder(outcome: str) -> list[Any]:
        reports = terminalreporter.stats.get(outcome, [])
        return [
            r for r in reports if "golden/test_" in getattr(r, "nodeid", "") and getattr(r, "when", "") != "teardown"
        ]

    ran = len(of_this_folder("passed")) + len(of_this_folder("failed"))
    skipped = len(of_this_folder("skipped"))
    if ran or skipped:
        missing = f" (absent: {', '.join(sorted(absent))})" if absent else ""
        terminalreporter.write_line(f"golden: {ran} checks ran, {skipped} skipped{missing}")
