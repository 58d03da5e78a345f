"""Which claims of RM-Depth hold for small nets on rendered streets (spec rm_depth 10).

    python benchmarks/rm_depth_claims.py [depth|motion|iterations ...] [--seeds 0,1,2] [--steps N] [--out claims]

depth: the depth net without its parts (C1). iterations: of the recurrent units (C2). Both on streets at rest, without
object motion, as the paper's tables are of KITTI, where little moves. motion: the motion net without its parts, and
both outlier modes, on streets with traffic (C3); its table also has the errors of flow and the moving mask against
exact truth (C7).
Each seed is a recording, initial weights and draws of its own; a network is trained on a recording and scored on it,
depth with the paper's median scaling of each frame. Flow is scored forwards in time: the recording is read backwards.
The orderings are those of AbsRel, means over the seeds. What is done is not done again.
"""

from __future__ import annotations

import argparse
import json
from itertools import pairwise, product
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from rich.table import Table
from torch import Tensor

import kinodepth as kd
from kinodepth.data.synthetic import Scene
from kinodepth.data.synthetic.write import write
from kinodepth.engine.settings import resolve
from kinodepth.engine.train import Options, train
from kinodepth.evaluation import protocols
from kinodepth.evaluation.motion import MotionMeter
from kinodepth.inference.model import DepthModel, with_outputs
from kinodepth.types import Sequence

SCENE: dict[str, Any] = {"kind": "street", "frames": 60, "width": 384, "height": 128}
COMMON = [
    *("height=64", "width=192", "batch_size=4", "pretrained=false", "learning_rate=2e-4", "jitter=false"),
    "burn_in=0.5",
]
FULL = "full"
# Overrides by variant.
VARIANTS: dict[str, dict[str, list[str]]] = {
    "depth": {
        FULL: [],
        "w/o residual upsampling": ["bands=1"],
        "w/o modulation": ["modulation=false"],
        "w/o RMU": ["rmu=false"],
        "baseline": ["rmu=false", "bands=1"],
    },
    "iterations": {
        "9, 2, 2": [],
        "4, 2, 2": ["iterations=4,2,2"],
        "2, 2, 2": ["iterations=2,2,2"],
        "1, 1, 1": ["iterations=1,1,1"],
    },
    "motion": {
        FULL: [],
        "w/o warping": ["warping=false"],
        "no regulariser": ["outlier=none"],
        "sqrt sparsity": ["outlier=sqrt_sparsity"],
        "w/o object motion": ["object_motion=false"],
        "baseline": ["object_motion=false", "rmu=false", "bands=1"],
        "full, mode photo": ["outlier_mode=photo"],  # no claim: the alternative of spec 5.4
    },
}
# Best first; no order is claimed within a group (the paper's own errors disagree there), nor for what is not listed.
ORDERS: dict[str, tuple[tuple[str, ...], ...]] = {
    "depth": ((FULL,), ("w/o residual upsampling",), ("w/o modulation", "w/o RMU"), ("baseline",)),
    "iterations": (("9, 2, 2",), ("4, 2, 2",), ("2, 2, 2",), ("1, 1, 1",)),
    "motion": (
        (FULL,),
        ("w/o warping",),
        ("no regulariser",),
        ("sqrt sparsity",),
        ("w/o object motion",),
        ("baseline",),
    ),
}
EVERYWHERE = {"depth": ["object_motion=false"], "iterations": ["object_motion=false"], "motion": []}


def recording(question: str, seed: int, out: Path) -> Sequence:
    """The recording of ``seed``, with exact flow; rendered if it is not there."""
    movers = question == "motion"
    clip = out / f"{'street' if movers else 'still'}_{seed}"
    if not (clip / "timestamps.txt").exists():  # written last
        for _ in write(Scene(seed, movers=movers, **SCENE), clip):
            pass
    return kd.open_sequence(clip)


def scores(question: str, variant: str, seed: int, steps: int, out: Path) -> dict[str, float]:
    """Errors of ``variant`` after ``steps`` steps on the recording of ``seed``."""
    overrides = COMMON + EVERYWHERE[question] + VARIANTS[question][variant]
    run = out / f"{'motion' if question == 'motion' else 'depth'}_{seed}_{steps}_{name_of(overrides)}"
    known = run / "scores.json"
    if known.exists():
        found: dict[str, float] = json.loads(known.read_text())
        return found
    sequence, method = recording(question, seed, out), kd.methods.load("rm_depth")
    config = resolve(method, None, [*overrides, f"steps={steps}"])
    resume = (run / "run.json").exists()
    options = Options(seed=seed, resume=resume, validate_every=steps)
    if train(method, config, [sequence], [sequence], run, options).interrupted:
        raise SystemExit(130)
    model = kd.load("rm_depth", run / "checkpoints" / "last.safetensors")
    found = depth_scores(model, sequence) | (motion_scores(model, sequence) if question == "motion" else {})
    known.write_text(json.dumps(found))
    return found


def name_of(overrides: list[str]) -> str:
    """A folder name for settings: what ``COMMON`` does not say, so that questions share their runs."""
    own = dict(text.split("=") for text in overrides[len(COMMON) :])
    return "_".join(f"{key}-{value.replace(',', '')}" for key, value in sorted(own.items())) or FULL


def depth_scores(model: DepthModel, sequence: Sequence) -> dict[str, float]:
    """AbsRel of the regions and the hole rate; after the median scaling of each frame, and of the whole clip."""
    predictions = {prediction.name: prediction for prediction in model.predict(sequence)}
    result = kd.evaluate(predictions, sequence, protocols.get("generic"))
    seen = [region for region, pixels in zip(result.regions, result.pixels.sum(0).tolist()) if pixels]
    found = {f"abs_rel {region}": result.average("per_frame_median", region)["abs_rel"] for region in seen}
    found["abs_rel clip"] = result.average("per_clip_scale")["abs_rel"]
    if "dynamic" in seen:
        found["hole rate"] = result.holes["hole_rate_vs_ground_truth"]
    return found


def motion_scores(model: DepthModel, sequence: Sequence) -> dict[str, float]:
    """End-point errors of flow and IoU of the moving mask; ``still`` is the error of no flow at all."""
    backwards = sequence.select(list(reversed(range(len(sequence)))))
    meter, still = MotionMeter(), MotionMeter()
    predictions = with_outputs(model, ["flow", "mask"]).predict(backwards)
    for index, prediction in enumerate(predictions):
        if index == 0:  # nothing comes after the last frame
            continue
        frame = backwards.read(index, ("extra:optical_flow", "mask:dynamic"))
        truth, moving = frame.extra["optical_flow"], frame.masks["dynamic"]
        inside = lands_inside(truth)
        meter.add(prediction.outputs["flow"], truth, moving, prediction.outputs["mask"], inside)
        still.add(torch.zeros_like(truth), truth, moving, valid=inside)
    found = {key: value for key, value in meter.summary().items() if not key.startswith("outliers")}
    return found | {f"still {key}": value for key, value in still.summary().items() if key == "epe_px dynamic"}


def lands_inside(flow: Tensor) -> Tensor:
    """Pixels 1 x H x W whose flow ends in the picture."""
    height, width = flow.shape[-2:]
    y, x = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
    to_x, to_y = flow[0] + x, flow[1] + y
    return ((to_x >= 0) & (to_x <= width - 1) & (to_y >= 0) & (to_y <= height - 1))[None]


def orderings(question: str, means: dict[str, float]) -> list[str]:
    """One sentence per pair of variants in neighbouring groups of the paper's order, on AbsRel means."""
    return [
        f"{'holds' if means[a] < means[b] else 'FAILS'}: {a} {means[a]:.4f} < {b} {means[b]:.4f}"
        for better, worse in pairwise(ORDERS[question])
        for a, b in product(better, worse)
    ]


def compare(question: str, seeds: list[int], steps: int, out: Path, console: Console) -> None:
    """Train and score every variant, then print the table and the orderings."""
    table: Table | None = None
    means: dict[str, float] = {}
    for variant in VARIANTS[question]:
        rows = [scores(question, variant, seed, steps, out) for seed in seeds]
        if table is None:
            table = Table("variant", "seeds", *rows[0], title=f"{question}, {steps} steps, means over seeds {seeds}")
        average = {key: sum(row[key] for row in rows) / len(rows) for key in rows[0]}
        means[variant] = average["abs_rel all"]
        each = " ".join(f"{row['abs_rel all']:.3f}" for row in rows)
        table.add_row(variant, each, *(f"{value:.4f}" for value in average.values()))
    if table is not None:
        console.print(table)
    for sentence in orderings(question, means):
        console.print(sentence)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("questions", nargs="*", help="depth, iterations, motion; default: all")
    parser.add_argument("--seeds", default="0,1,2")
    parser.add_argument("--steps", type=int, default=1500)
    parser.add_argument("--out", type=Path, default=Path("claims"))
    options = parser.parse_args()
    unknown = set(options.questions) - set(VARIANTS)
    if unknown:
        parser.error(f"there is no question {', '.join(sorted(unknown))}; choose from {', '.join(VARIANTS)}")
    seeds = [int(seed) for seed in options.seeds.split(",")]
    for question in options.questions or VARIANTS:
        compare(question, seeds, options.steps, options.out, Console(width=160))


if __name__ == "__main__":
    main()
