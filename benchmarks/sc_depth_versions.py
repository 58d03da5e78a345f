"""What the versions of SC-Depth are for: V3 against V1 on moving objects, V2 against V1 on a shaky camera.

    python benchmarks/sc_depth_versions.py moving|shaky [--seeds 0,1,2] [--steps N] [--out versions]

moving: rendered streets with cars and people on the move; V3 gets a prior made from the exact depth, spoilt as
degraded_prior.py says. shaky: rendered rooms at rest, seen by a hand-held camera with twice the usual shake, five
frames a second (3 degrees from frame to frame in the median, 6 in every tenth). Each seed is a recording, initial
weights and draws of its own; a network is trained on a recording and scored on it (generic protocol: one scale for the
clip). What is done is not done again.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

import kinodepth as kd
from degraded_prior import add_prior
from kinodepth.data.synthetic import Scene
from kinodepth.data.synthetic.write import write
from kinodepth.engine.settings import resolve
from kinodepth.engine.train import Options, train
from kinodepth.evaluation import protocols
from kinodepth.evaluation.baselines import Baseline
from kinodepth.types import Prediction, Sequence

SCENES: dict[str, dict[str, Any]] = {
    "moving": {"kind": "street", "frames": 60, "width": 384, "height": 128},
    # Five frames a second: at fifteen, parallax is about a pixel at this size, too little for either version.
    "shaky": {"kind": "room", "frames": 120, "width": 192, "height": 128, "fps": 5, "shake": 2.0, "movers": False},
}
METHODS = {"moving": ("sc_depth_v1", "sc_depth_v3"), "shaky": ("sc_depth_v1", "sc_depth_v2")}
SETTINGS = {
    "moving": ["height=64", "width=192", "batch_size=4", "zoom=1.0"],
    "shaky": ["height=64", "width=96", "batch_size=4", "zoom=1.0"],
}
STEPS = {"moving": 400, "shaky": 1500}
COMMON = ["pretrained=false", "learning_rate=2e-4"]


def recording(question: str, seed: int, out: Path) -> Sequence:
    """The recording of ``seed``, rendered if it is not there; with a prior where it is asked for."""
    clip = out / f"{question}_{seed}"
    if not (clip / "poses.txt").exists():  # written last
        for _ in write(Scene(seed, **SCENES[question]), clip, extra=False):
            pass
    if question == "moving":
        add_prior(kd.open_sequence(clip), seed)
    return kd.open_sequence(clip)


def scores(name: str, question: str, seed: int, steps: int, out: Path) -> dict[str, float]:
    """Errors of method ``name`` after ``steps`` steps on the recording of ``seed``."""
    run = out / f"{question}_{seed}_{name}_{steps}"
    known = run / "scores.json"
    if known.exists():
        found: dict[str, float] = json.loads(known.read_text())
        return found
    sequence = recording(question, seed, out)
    method = kd.methods.load(name)
    config = resolve(method, None, SETTINGS[question] + COMMON)
    resume = (run / "run.json").exists()
    if train(method, config, [sequence], [sequence], run, Options(steps, seed=seed, resume=resume)).interrupted:
        raise SystemExit(130)
    model = kd.load(name, run / "checkpoints" / "last.safetensors")
    found = compare({prediction.name: prediction for prediction in model.predict(sequence)}, sequence)
    known.write_text(json.dumps(found))
    return found


def compare(predictions: Mapping[str, Prediction], sequence: Sequence) -> dict[str, float]:
    """AbsRel of the regions that have pixels, and the hole rate of moving objects."""
    result = kd.evaluate(predictions, sequence, protocols.get("generic"))
    seen = [region for region, pixels in zip(result.regions, result.pixels.sum(0).tolist()) if pixels]
    found = {f"abs_rel {region}": result.average(region=region)["abs_rel"] for region in seen}
    if "dynamic" in seen:
        found["hole rate"] = result.holes["hole_rate_vs_ground_truth"]
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("question", choices=sorted(SCENES))
    parser.add_argument("--seeds", default="0,1,2")
    parser.add_argument("--steps", type=int, help="default: 400 moving, 1500 shaky, where another network has to learn")
    parser.add_argument("--out", type=Path, default=Path("versions"))
    options = parser.parse_args()
    steps = options.steps or STEPS[options.question]
    table: Table | None = None
    for seed in map(int, options.seeds.split(",")):
        for name in METHODS[options.question]:
            found = scores(name, options.question, seed, steps, options.out)
            if table is None:
                table = Table("seed", "method", *found, title=f"{options.question}, {steps} steps")
            table.add_row(str(seed), name, *(f"{value:.3f}" for value in found.values()))
        assert table is not None
        sequence = recording(options.question, seed, options.out)
        trivial = compare(Baseline(sequence), sequence)
        table.add_row(str(seed), "constant depth", *(f"{value:.3f}" for value in trivial.values()))
    if table is not None:
        Console(width=120).print(table)


if __name__ == "__main__":
    main()
