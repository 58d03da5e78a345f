"""Where a run stands, read from its folder: stages, what they left on disk, how long the rest will take."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from kinodepth.engine.artefacts import made
from kinodepth.types import InputError


@dataclass(frozen=True)
class StageStatus:
    """``done`` of ``steps``; ``size`` in bytes of what the stage left, None while it has not; ``left`` seconds of
    training, NaN while no speed is known."""

    name: str
    done: int
    steps: int
    size: int | None
    left: float


def stage_status(run: Path) -> list[StageStatus]:
    """The stages of the run in folder ``run``. Raises ``InputError`` if there is none."""
    try:
        description = json.loads((run / "run.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        raise InputError(f"{run} holds no run; expected a folder with run.json; give the folder of a run") from None
    rows = _rows(run / "log.jsonl")
    step = max((row["step"] for row in rows), default=0)
    found = []
    for stage in description["stages"]:
        name, first, last = stage["name"], stage["first"], stage["last"]
        done = min(max(step - first, 0), last - first)
        known = made(run / "artefacts" / name)
        size = None if known is None else sum(shard["bytes"] for shard in known["shards"].values())
        rates = [row["steps_per_s"] for row in rows if row.get("stage") == name and row.get("steps_per_s")]
        rates = rates or [row["steps_per_s"] for row in rows if row.get("steps_per_s")]
        rest = last - first - done
        left = 0.0 if not rest else rest / median(rates[-20:]) if rates else math.nan
        found.append(StageStatus(name, done, last - first, size, left))
    return found


def _rows(path: Path) -> list[dict]:
    """The complete rows of a log."""
    lines = path.read_text(encoding="utf-8").splitlines(keepends=True) if path.is_file() else []
    return [json.loads(line) for line in lines if line.endswith("\n")]
