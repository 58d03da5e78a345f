"""What Dynamic-multiframe-depth costs, as ratios to a plain timm ResNet-18 float32 forward measured in the same run.

python benchmarks/dynamic_multiframe.py [--rounds 5] [--width 512] [--height 256]

All candidates take turns and the smallest processor time of each counts. Memory is the largest resident size during
predictions over that of the loaded model. The change that bfloat16 makes to depth is printed.
"""

from __future__ import annotations

import argparse
import threading
from collections.abc import Callable

import torch
from torch import Tensor

from kinodepth import methods
from kinodepth.methods.dynamic_multiframe.model import DynamicMultiframe
from kinodepth.types import Camera, Frame, Prediction
from sc_depth import in_turns, reference_forward

TARGETS = {"whole step, float32": 20.0, "whole step, bfloat16": 8.0}
PEAK = 0.6  # GiB


def resident() -> float:
    """The memory that this process holds now, in GiB."""
    with open("/proc/self/statm", encoding="ascii") as file:
        return int(file.read().split()[1]) * 4096 / 2**30


def peak_over(task: Callable[[], object]) -> float:
    """GiB that ``task`` holds at most beyond what is held before it."""
    before, most, done = resident(), [0.0], threading.Event()

    def watch() -> None:
        while not done.wait(0.002):
            most[0] = max(most[0], resident())

    watcher = threading.Thread(target=watch)
    watcher.start()
    task()
    done.set()
    watcher.join()
    return most[0] - before


def frames(height: int, width: int) -> list[Frame]:
    """Three noisy pictures along a street: every plane and both neighbours have something to match."""
    camera = Camera(0.95 * width, 0.95 * width, width / 2, height / 2, width, height)
    generator = torch.Generator().manual_seed(0)
    rough = torch.rand(1, 3, height // 4, width // 4, generator=generator)
    image = torch.nn.functional.interpolate(rough, (height, width), mode="bilinear")[0]
    found = []
    for i in range(3):
        pose = torch.eye(4, dtype=torch.float64)
        pose[2, 3], pose[0, 3] = 0.9 * i, 0.02 * i
        found.append(Frame(str(i), image.roll(2 * i, -1), None, camera, pose))
    return found


def parts(model: DynamicMultiframe, views: list[Frame]) -> dict[str, Callable[[], object]]:
    """The parts of a forward by themselves."""
    images = torch.stack([view.image for view in views])
    poses = torch.stack([view.cam_to_world for view in views if view.cam_to_world is not None])
    camera = views[0].camera
    assert camera is not None
    key, intrinsics = images[1:2].contiguous(memory_format=torch.channels_last), camera.matrix()[None]

    def volume() -> Tensor:
        return model.volume(key, images[[0, 2]][None], poses[1:2], poses[[0, 2]][None], intrinsics)

    with torch.inference_mode():
        features, found = model.image_encoder(key), volume()
        mono = model.mono_net(key - 0.5, features)
        pseudo = model.pseudo_volume(model.plane_index(model.inverse_depth(mono[0])), found)
        seen = model.fusion(pseudo, found, (key - 0.5,))
    tasks = {
        "cost volume": volume,
        "image encoder": lambda: model.image_encoder(key),
        "mono net": lambda: model.mono_net(key - 0.5, features),
        "fusion": lambda: model.fusion(pseudo, found),
        "depth net": lambda: model.depth_net(seen, features),
    }
    return {name: inference(task) for name, task in tasks.items()}


def inference(task: Callable[[], object]) -> Callable[[], object]:
    def run() -> object:
        with torch.inference_mode():
            return task()

    return run


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--height", type=int, default=256)
    parser.add_argument("--width", type=int, default=512)
    options = parser.parse_args()
    torch.set_num_threads(1)
    method = methods.load("dynamic_multiframe")
    torch.manual_seed(0)
    config = method.config(pretrained=False, height=options.height, width=options.width)
    predictor = method.predictor(method.build(config))
    views = frames(options.height, options.width)
    state = predictor.init()
    for view in views[:2]:
        _, state = predictor.step(view, state)

    def step(dtype: torch.dtype) -> Prediction:
        with torch.autocast("cpu", dtype, enabled=dtype != torch.float32):
            prediction, _ = predictor.step(views[2], state)
        assert prediction is not None
        return prediction

    reference = "timm resnet18 forward, float32"
    tasks: dict[str, Callable[[], object]] = {reference: reference_forward(options.height, options.width)}
    tasks |= parts(predictor.model, views)  # type: ignore[attr-defined]
    for label, dtype in (("float32", torch.float32), ("bfloat16", torch.bfloat16)):
        tasks[f"whole step, {label}"] = lambda dtype=dtype: step(dtype)
    whole, half = step(torch.float32).depth, step(torch.bfloat16).depth
    print(f"bfloat16 changes depth by {float(((half - whole).abs() / whole).median()):.1e} (median, relative)")
    peak = peak_over(lambda: step(torch.float32))
    verdict = "met" if peak <= PEAK else "MISSED"
    print(f"peak memory of a step over the model: {peak:.2f} GiB   target <= {PEAK}: {verdict}")
    times = in_turns(tasks, options.rounds)
    print(f"{options.height} x {options.width}, 2 neighbours, one thread, {torch.backends.cpu.get_cpu_capability()}")
    for name, seconds in times.items():
        ratio, wanted = seconds / times[reference], TARGETS.get(name)
        verdict = "" if wanted is None else f"   target <= {wanted}: {'met' if ratio <= wanted else 'MISSED'}"
        print(f"{name:32s} {seconds * 1e3:9.1f} ms   ratio {ratio:6.2f}{verdict}")


if __name__ == "__main__":
    main()
