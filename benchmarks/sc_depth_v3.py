"""What SC-Depth V3's losses cost: a whole training step of V3 over one of V1, measured in turns in one run.

python benchmarks/sc_depth_v3.py [--rounds 3] [--height 256] [--width 320] [--batch 2]

One thread, processor seconds, random smooth pictures and a smooth prior; the smallest time of each counts.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable

import torch

from kinodepth import methods
from kinodepth.geometry.sampling import resize
from kinodepth.types import Camera, Clip
from sc_depth import in_turns

TARGET = 1.15


def training_step(name: str, clip: Clip) -> Callable[[], object]:
    """One whole optimiser step: forward, losses, backward, Adam."""
    method = methods.load(name)
    height, width = clip.images.shape[-2:]
    torch.manual_seed(0)
    model = method.build(method.config(pretrained=False, height=height, width=width)).train()
    (stage,) = method.stages(model.config)
    optimizer = stage.optimizer(model.parameters())

    def step() -> None:
        optimizer.zero_grad()
        method.objective(model, clip, stage, torch.Generator().manual_seed(0)).total.backward()
        optimizer.step()

    return step


def smooth(*shape: int) -> torch.Tensor:
    """Random values in [0, 1] that change over about 8 pixels."""
    coarse = torch.rand(
        *shape[:-2], shape[-2] // 8, shape[-1] // 8, generator=torch.Generator().manual_seed(len(shape))
    )
    return resize(coarse.flatten(0, 1), (shape[-2], shape[-1])).view(shape)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    for name, default in {"rounds": 3, "height": 256, "width": 320, "batch": 2}.items():
        parser.add_argument(f"--{name}", type=int, default=default)
    options = parser.parse_args()
    size = (options.height, options.width)
    camera = Camera(0.8 * size[1], 0.8 * size[1], size[1] / 2, size[0] / 2, size[1], size[0])
    clip = Clip(
        smooth(options.batch, 3, 3, *size),
        (camera,) * options.batch,
        prior_depth=1 + 4 * smooth(options.batch, 3, 1, *size),
    )
    times = in_turns({name: training_step(name, clip) for name in ("sc_depth_v1", "sc_depth_v3")}, options.rounds)
    for name, seconds in times.items():
        print(f"{name} step, {size[0]} x {size[1]}, batch {options.batch}: {seconds:.3f} s")
    ratio = times["sc_depth_v3"] / times["sc_depth_v1"]
    print(f"V3 / V1: {ratio:.3f}   target <= {TARGET}: {'met' if ratio <= TARGET else 'MISSED'}")


if __name__ == "__main__":
    main()
