"""What SC-Depth V1 costs, as ratios to a plain timm ResNet-18 float32 forward measured in the same run.

python benchmarks/sc_depth.py [--rounds 5] [--weights FILE --data FOLDER] [--skip-training]

Candidates and reference take turns and the smallest time of each counts; one-thread times are processor seconds. Both
keep other load on the machine out of the ratios as far as that goes.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from pathlib import Path

import timm
import torch
from torch import nn
from torch.utils.benchmark import Timer

from kinodepth import methods
from kinodepth.engine.processes import networks_in
from kinodepth.methods.base import Method, Stage
from kinodepth.methods.sc_depth.config import ScDepthConfig
from kinodepth.methods.sc_depth.model import ScDepth
from kinodepth.methods.sc_depth.predictor import ScDepthPredictor
from kinodepth.types import Camera, Clip, Frame

TARGETS = {"depth forward, float32": 1.8, "depth forward, bfloat16": 0.7, "training step, bf16": 22.0}


def in_turns(tasks: dict[str, Callable[[], object]], rounds: int, threads: int = 1) -> dict[str, float]:
    """Smallest seconds of every task over ``rounds`` in which each runs once."""
    clock = time.process_time if threads == 1 else time.perf_counter
    timers = {name: Timer("task()", timer=clock, globals={"task": task}, num_threads=threads)
              for name, task in tasks.items()}  # fmt: skip
    times: dict[str, list[float]] = {name: [] for name in tasks}
    for _ in range(rounds + 1):
        for name, timer in timers.items():
            times[name].append(timer.timeit(1).mean)
    return {name: min(found[1:]) for name, found in times.items()}


def reference_forward(height: int, width: int) -> Callable[[], object]:
    network, image = timm.create_model("resnet18").eval(), torch.randn(1, 3, height, width)

    def forward() -> object:
        with torch.inference_mode():
            return network(image)

    return forward


def training_step(model: ScDepth, batch: int, precision: str) -> Callable[[], object]:
    """One whole optimiser step on random images, as the engine does it: forward, losses, backward, Adam."""
    config, method = model.config, methods.load("sc_depth_v1")
    model.to(memory_format=torch.channels_last)
    camera = Camera(0.58 * config.width, 0.58 * config.width, config.width / 2, config.height / 2,
                    config.width, config.height)  # fmt: skip
    clip = Clip(torch.rand(batch, 3, 3, config.height, config.width), (camera,) * batch)
    return optimizer_step(method, model, method.stages(config)[0], clip, precision)


def optimizer_step(method: Method, model: nn.Module, stage: Stage, clip: Clip, precision: str) -> Callable[[], object]:
    """One whole step of ``stage`` on ``clip``: forward, losses, backward, optimiser."""
    optimizer = stage.optimizer(model.parameters())

    def step() -> None:
        model.train()
        optimizer.zero_grad()
        with networks_in(precision, model, clip.images.device):
            method.objective(model, clip, stage, torch.Generator()).total.backward()
        optimizer.step()

    return step


def network(**settings: object) -> ScDepth:
    return ScDepth(ScDepthConfig(pretrained=False, **settings))


def report(times: dict[str, float], reference: str) -> None:
    for name, seconds in times.items():
        ratio = seconds / times[reference]
        wanted = TARGETS.get(name)
        verdict = "" if wanted is None else f"   target <= {wanted}: {'met' if ratio <= wanted else 'MISSED'}"
        print(f"{name:32s} {seconds * 1e3:9.1f} ms   ratio {ratio:6.2f}{verdict}")


def depth_change(weights: Path | None, data: Path | None) -> None:
    """Print what bfloat16 changes: in depth, and with weights and a recording with depth in AbsRel."""
    from kinodepth.inference.model import load

    model = load("sc_depth_v1", weights).network if weights else network()
    full, half = ScDepthPredictor(model), ScDepthPredictor(model, dtype=torch.bfloat16)
    if data is None:
        frames = [Frame("random", torch.rand(3, model.config.height, model.config.width))]
    else:
        from kinodepth.data import open_sequence

        recording = open_sequence(data)
        frames = [recording.read(i, ("depth",)) for i in range(0, len(recording), max(1, len(recording) // 20))]
    changes, errors = [], []
    for frame in frames:
        depths = [predictor.step(frame, None)[0].depth for predictor in (full, half)]
        changes.append((depths[1] / depths[0] - 1).abs().mean())
        if frame.depth is not None:
            errors.append([abs_rel(depth, frame.depth) for depth in depths])
    print(f"bfloat16 changes depth by {100 * torch.stack(changes).mean():.3f} % on average of {len(frames)} frames")
    if errors:
        before, after = torch.tensor(errors).mean(0).tolist()
        print(f"AbsRel (median scaling, up to 80 m): float32 {before:.4f}, bfloat16 {after:.4f}")


def abs_rel(depth: torch.Tensor, truth: torch.Tensor) -> float:
    from kinodepth.geometry.sampling import resize

    valid = (truth > 0.1) & (truth < 80)
    found, truth = resize(depth[None], truth.shape[-2:])[0][valid], truth[valid]
    found = (found * truth.median() / found.median()).clamp(0.1, 80)
    return float(((found - truth).abs() / truth).mean())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--weights", type=Path, help="our weights file, for the change that bfloat16 makes")
    parser.add_argument("--data", type=Path, help="a recording with depth, likewise")
    parser.add_argument("--skip-training", action="store_true")
    options = parser.parse_args()
    height, width = 256, 832
    model, frame = network(height=height, width=width), Frame("random", torch.rand(3, height, width))
    tasks: dict[str, Callable[[], object]] = {"timm resnet18 forward, float32": reference_forward(height, width)}
    for name, dtype in (("float32", torch.float32), ("bfloat16", torch.bfloat16)):
        predictor = ScDepthPredictor(model, dtype=dtype)
        tasks[f"depth forward, {name}"] = lambda predictor=predictor: predictor.step(frame, None)
    if not options.skip_training:
        for precision in ("fp32", "bf16"):
            tasks[f"training step, {precision}"] = training_step(network(height=height, width=width), 1, precision)
    print(f"{height} x {width}, one thread, {torch.backends.cpu.get_cpu_capability()}")
    report(in_turns(tasks, options.rounds), "timm resnet18 forward, float32")
    depth_change(options.weights, options.data)
    if not options.skip_training:
        steps = {p: training_step(network(height=128, width=416), 4, p) for p in ("fp32", "bf16")}
        for precision, seconds in in_turns(steps, options.rounds, threads=2).items():
            print(f"training step, 128 x 416, batch 4, two threads, {precision}: {seconds:.2f} s")


if __name__ == "__main__":
    main()
