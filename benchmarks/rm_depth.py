"""What RM-Depth costs, as ratios to a plain timm ResNet-18 float32 forward measured in the same run.

python benchmarks/rm_depth.py [--rounds 5] [--height 192] [--width 640] [--skip-training]

Candidates and reference take turns and the smallest time of each counts, in processor seconds of one thread, which
keeps other load on the machine out of the ratios as far as that goes.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable

import torch

from kinodepth import methods
from kinodepth.methods.rm_depth.config import RmDepthConfig
from kinodepth.methods.rm_depth.model import RmDepth
from kinodepth.methods.rm_depth.predictor import RmDepthPredictor
from kinodepth.types import Camera, Clip, Frame
from sc_depth import in_turns, optimizer_step, reference_forward

TARGETS = {"depth forward, float32": 1.5, "depth forward, bfloat16": 0.5}
REFERENCE = "timm resnet18 forward, float32"


def training_step(config: RmDepthConfig, precision: str) -> Callable[[], object]:
    """One whole optimiser step on a random window, after the burn-in, as the engine does it."""
    method, model = methods.load("rm_depth"), RmDepth(config).to(memory_format=torch.channels_last)
    height, width = config.height, config.width
    camera = Camera(0.58 * width, 0.58 * width, width / 2, height / 2, width, height)
    clip = Clip(torch.rand(1, 3, 3, height, width), (camera,))
    (stage,) = method.stages(RmDepthConfig(height=height, width=width, pretrained=False, burn_in=0.0))
    return optimizer_step(method, model, stage, clip, precision)


def tasks(height: int, width: int, training: bool) -> dict[str, Callable[[], object]]:
    """What is measured, by name."""
    config = RmDepthConfig(height=height, width=width, pretrained=False, burn_in=0.0)
    frame = Frame("random", torch.rand(3, height, width), camera=Camera(370, 370, width / 2, height / 2, width, height))
    found: dict[str, Callable[[], object]] = {REFERENCE: reference_forward(height, width)}
    for name, dtype in (("float32", torch.float32), ("bfloat16", torch.bfloat16)):
        depth = RmDepthPredictor(RmDepth(config), dtype=dtype)
        found[f"depth forward, {name}"] = lambda depth=depth: depth.step(frame, None)
    both = RmDepthPredictor(RmDepth(config).eval(), frozenset({"flow", "motion", "mask", "poses"}))
    _, state = both.step(frame, both.init())
    found["depth, motion and flow, float32"] = lambda: both.step(frame, state)
    if training:
        found |= {f"training step, {precision}": training_step(config, precision) for precision in ("fp32", "bf16")}
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--height", type=int, default=192)
    parser.add_argument("--width", type=int, default=640)
    parser.add_argument("--skip-training", action="store_true")
    options = parser.parse_args()
    torch.manual_seed(0)
    print(f"{options.height} x {options.width}, one thread, {torch.backends.cpu.get_cpu_capability()}")
    times = in_turns(tasks(options.height, options.width, not options.skip_training), options.rounds)
    for name, seconds in times.items():
        ratio = seconds / times[REFERENCE]
        wanted = TARGETS.get(name)
        verdict = "" if wanted is None else f"   target <= {wanted}: {'met' if ratio <= wanted else 'MISSED'}"
        print(f"{name:34s} {seconds * 1e3:9.1f} ms   ratio {ratio:6.2f}{verdict}")


if __name__ == "__main__":
    main()
