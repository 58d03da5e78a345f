"""What cross-cue fusion is for: depth of moving and standing pixels with both cues, or with one of them alone.

    python benchmarks/dynamic_multiframe_claim.py [--seeds 0,1,2] [--steps 800] [--cues both,multi,mono] [--out claim]

Rendered streets with cars and people on the move. Each seed has recordings, initial weights and draws of its own: a
network is trained on its first recordings and scored on its last, which it has not seen, in metres without any scaling
(protocol dynamic_multiframe). ``multi`` fuses no pseudo volume, ``mono`` no cost volume: the one that is left guides
itself; all else is the same. The planes are chosen by baseline and field of view. What is done is not done again.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping
from pathlib import Path
from statistics import mean
from typing import Any

import torch
from rich.console import Console
from rich.table import Table

import kinodepth as kd
from kinodepth.data.synthetic import Scene
from kinodepth.data.synthetic.write import write
from kinodepth.engine.settings import resolve
from kinodepth.engine.train import Options, train
from kinodepth.evaluation import protocols
from kinodepth.types import Prediction, Sequence

SCENE: dict[str, Any] = {"kind": "street", "frames": 40, "width": 256, "height": 128, "fov": 60.0}
TRAINING, TEST = 16, 4  # recordings of a seed
SETTINGS = ["height=64", "width=128", "plane_range=auto", "batch_size=8"]
REGIONS = ("all", "static", "dynamic")
Scores = dict[str, float]


def recordings(seed: int, out: Path) -> list[Sequence]:
    """The recordings of ``seed``, rendered if they are not there."""
    found = []
    for number in range(TRAINING + TEST):
        clip = out / f"street_{seed}_{number}"
        if not (clip / "poses.txt").exists():  # written last
            for _ in write(Scene(100 * seed + number, **SCENE), clip, extra=False):
                pass
        found.append(kd.open_sequence(clip))
    return found


def scores(cues: str, seed: int, steps: int, out: Path) -> Scores:
    """Errors of the last recordings of ``seed`` after ``steps`` steps on its first."""
    run = out / f"{cues}_{seed}_{steps}"
    known = run / "scores.json"
    if known.exists():
        stored: Scores = json.loads(known.read_text())
        return stored
    clips = recordings(seed, out)
    method = kd.methods.load("dynamic_multiframe")
    assert method.adapt is not None
    settings = resolve(method, "small", [*SETTINGS, f"cues={cues}", f"steps={steps}"])
    config, lines = method.adapt(settings, clips[:TRAINING])
    print(f"seed {seed}, {cues}: {'; '.join(lines)}")
    resume = (run / "run.json").exists()
    options = Options(steps, seed=seed, resume=resume)
    if train(method, config, clips[:TRAINING], clips[TRAINING:], run, options).interrupted:
        raise SystemExit(130)
    model = kd.load("dynamic_multiframe", run / "checkpoints" / "last.safetensors")
    found = average([compare({p.name: p for p in model.predict(clip)}, clip) for clip in clips[TRAINING:]])
    known.write_text(json.dumps(found))
    return found


def compare(predictions: Mapping[str, Prediction], clip: Sequence) -> Scores:
    """AbsRel of each region of a recording and its pixels, 0 without."""
    result = kd.evaluate(predictions, clip, protocols.get("dynamic_multiframe"))
    found = {}
    for i, region in enumerate(result.regions):
        pixels = float(result.pixels[:, i].sum())
        found[f"pixels {region}"] = pixels
        found[region] = result.average(region=region, averaging="pixels")["abs_rel"] if pixels else 0.0
    return found


def average(rows: list[Scores]) -> Scores:
    """AbsRel over the pixels of all recordings together."""
    found = {}
    for region in REGIONS:
        pixels = torch.tensor([row[f"pixels {region}"] for row in rows])
        errors = torch.tensor([row[region] for row in rows])
        found[region] = float((errors * pixels).sum() / pixels.sum().clamp(min=1))
        found[f"pixels {region}"] = float(pixels.sum())
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--seeds", default="0,1,2")
    parser.add_argument("--steps", type=int, default=800)
    parser.add_argument("--cues", default="both,multi,mono")
    parser.add_argument("--out", type=Path, default=Path("claim"))
    options = parser.parse_args()
    kinds, seeds = options.cues.split(","), [int(seed) for seed in options.seeds.split(",")]
    found = {(kind, seed): scores(kind, seed, options.steps, options.out) for seed in seeds for kind in kinds}
    table = Table("seed", "cues", *REGIONS, "moving pixels", title=f"abs_rel after {options.steps} steps")
    for (kind, seed), row in sorted(found.items(), key=lambda item: item[0][1]):
        share = row["pixels dynamic"] / max(row["pixels all"], 1)
        table.add_row(str(seed), kind, *(f"{row[region]:.3f}" for region in REGIONS), f"{share:.1%}")
    means = {kind: {region: mean(found[kind, seed][region] for seed in seeds) for region in REGIONS} for kind in kinds}
    for kind, row in means.items():
        table.add_row("mean", kind, *(f"{row[region]:.3f}" for region in REGIONS), "")
    Console(width=100).print(table)
    if {"both", "multi", "mono"} <= set(kinds):
        for region, other in (("dynamic", "multi"), ("dynamic", "mono"), ("static", "mono")):
            holds = "holds" if means["both"][region] < means[other][region] else "DOES NOT HOLD"
            print(f"{region}: both {means['both'][region]:.3f} < {other} {means[other][region]:.3f}: {holds}")


if __name__ == "__main__":
    main()
