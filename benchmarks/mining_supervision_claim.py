"""What the labels are for: depth of moving objects after stage joint, and after stage final, which learns from them.

    python benchmarks/mining_supervision_claim.py [--seeds 0,1,2] [--masks given,found] [--scale 1] [--out mined]

Rendered streets with a car that drives ahead at the speed of the camera: to colours alone it is as far as the sky. Each
seed is a recording, initial weights and draws of its own; the whole method is trained on a recording and scored on it
(generic protocol: one scale for the clip), with the instance masks of the renderer and with masks that it finds itself.
``--scale`` multiplies the steps of all stages. What is done is not done again.
"""

from __future__ import annotations

import argparse
import json
import shutil
from dataclasses import fields, replace
from pathlib import Path
from statistics import mean
from typing import Any

from rich.console import Console
from rich.table import Table

import kinodepth as kd
from kinodepth.data.synthetic import Scene
from kinodepth.data.synthetic.write import write
from kinodepth.engine.settings import resolve
from kinodepth.engine.train import Options, train
from kinodepth.evaluation.baselines import Baseline
from kinodepth.methods.base import Method, Stage
from kinodepth.types import Sequence
from sc_depth_versions import compare

SCENE: dict[str, Any] = {"kind": "street", "frames": 60, "width": 384, "height": 128}
PRESETS = {"given": "small", "found": "small_found"}
SETTINGS = ["height=64", "width=192", "batch_size=2", "final_rate=1e-4"]  # published: a fifth, for 145 times the steps
BEFORE, AFTER = "joint", "final"
CLEARLY = 0.8  # part of the error that may be left
COLUMNS = ("abs_rel all", "abs_rel static", "abs_rel dynamic", "hole rate")
Scores = dict[str, float]


def recording(seed: int, out: Path) -> Sequence:
    """The recording of ``seed``, rendered if it is not there."""
    clip = out / f"street_{seed}"
    if not (clip / "poses.txt").exists():  # written last
        for _ in write(Scene(seed, **SCENE), clip, extra=False):
            pass
    return kd.open_sequence(clip)


def until(method: Method, last: str) -> Method:
    """``method`` without the stages after ``last``."""

    def stages(config: Any) -> list[Stage]:
        plan = method.stages(config)
        return plan[: [stage.name for stage in plan].index(last) + 1]

    return replace(method, stages=stages)


def settings(method: Method, masks: str, scale: float) -> Any:
    """The small settings for ``masks``, all stages ``scale`` times as long."""
    config = resolve(method, PRESETS[masks], SETTINGS)
    steps = [item.name for item in fields(config) if item.name.endswith("_steps")]
    return replace(config, **{name: max(1, round(scale * getattr(config, name))) for name in steps})


def scores(masks: str, seed: int, scale: float, out: Path) -> dict[str, Scores]:
    """Errors after stage joint and after stage final, trained on the recording of ``seed``."""
    run = out / f"{masks}_{seed}_{scale:g}"
    known = run / "scores.json"
    if known.exists():
        stored: dict[str, Scores] = json.loads(known.read_text())
        return stored
    sequence, method = recording(seed, out), kd.methods.load("mining_supervision")
    found = {}
    for stage in (BEFORE, AFTER):
        weights = run / f"{stage}.safetensors"
        if not weights.exists():
            options = Options(seed=seed, clip_norm=10.0, resume=(run / "run.json").exists())
            config = settings(method, masks, scale)
            if train(until(method, stage), config, [sequence], [sequence], run, options).interrupted:
                raise SystemExit(130)
            shutil.copy(run / "checkpoints" / "last.safetensors", weights)
        model = kd.load("mining_supervision", weights)
        found[stage] = compare({prediction.name: prediction for prediction in model.predict(sequence)}, sequence)
    known.write_text(json.dumps(found))
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--seeds", default="0,1,2")
    parser.add_argument("--masks", default="given,found")
    parser.add_argument("--scale", type=float, default=1.0)
    parser.add_argument("--out", type=Path, default=Path("mined"))
    options = parser.parse_args()
    routes, seeds = options.masks.split(","), [int(seed) for seed in options.seeds.split(",")]
    table = Table("seed", "masks", "after", *COLUMNS, title="mining_supervision")
    found = {(m, seed): scores(m, seed, options.scale, options.out) for seed in seeds for m in routes}
    for (masks, seed), rows in sorted(found.items(), key=lambda item: item[0][1]):
        for stage, row in rows.items():
            table.add_row(str(seed), masks, stage, *(f"{row[column]:.3f}" for column in COLUMNS))
    for seed in seeds:
        sequence = recording(seed, options.out)
        trivial = compare(Baseline(sequence), sequence)
        table.add_row(str(seed), "", "constant depth", *(f"{trivial[column]:.3f}" for column in COLUMNS))
    means = {
        (m, stage): {column: mean(found[m, seed][stage][column] for seed in seeds) for column in COLUMNS}
        for m in routes
        for stage in (BEFORE, AFTER)
    }
    for (masks, stage), row in means.items():
        table.add_row("mean", masks, stage, *(f"{row[column]:.3f}" for column in COLUMNS))
    Console(width=120).print(table)
    for masks in routes:
        pairs = [[found[masks, seed][stage]["abs_rel dynamic"] for stage in (BEFORE, AFTER)] for seed in seeds]
        cut = sum(after < CLEARLY * before for before, after in pairs)
        print(f"masks {masks}: dynamic error below {CLEARLY:.0%} of that after {BEFORE}: {cut} of {len(seeds)} seeds")


if __name__ == "__main__":
    main()
