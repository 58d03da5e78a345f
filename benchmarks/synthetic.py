"""Frames per second of synthetic scenes on one core, as a ratio to a plain ResNet-18 forward of the same size.

    python benchmarks/synthetic.py [WIDTHxHEIGHT]

Everything about a frame is computed (image, depth, flow, object motion, masks); nothing is written.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable

os.environ.setdefault("OMP_NUM_THREADS", "1")

import timm
import torch

from kinodepth.data import synthetic


def best(run: Callable[[int], object], rounds: int) -> float:
    """Least processor time of ``rounds`` runs, in seconds: what one undisturbed core needs."""
    durations = []
    for number in range(rounds):
        start = time.process_time()
        run(number)
        durations.append(time.process_time() - start)
    return min(durations)


def main() -> None:
    torch.set_num_threads(1)
    width, height = (int(v) for v in (sys.argv[1] if len(sys.argv) > 1 else "320x256").split("x"))
    network = timm.create_model("resnet18", pretrained=False).eval()
    image = torch.rand(1, 3, height, width)
    print(f"{width}x{height}, one thread, best of 30 frames per scene")
    with torch.inference_mode():
        for kind in synthetic.PLACES:
            for seed in range(3):
                scene = synthetic.Scene(seed, kind, 30, width, height)
                start = time.process_time()
                world = synthetic.make_world(scene)
                built = time.process_time() - start
                frame = best(lambda number, world=world: synthetic.render_frame(world, number), 30)
                forward = best(lambda _: network(image), 10)
                print(
                    f"{kind:7} seed {seed}: {1 / frame:5.1f} frames/s, {frame / forward:.2f} of a ResNet-18 forward "
                    f"({forward * 1e3:.0f} ms); world built in {built:.1f} s"
                )


if __name__ == "__main__":
    main()
