"""Mining Supervision: speed of its depth net and of its forward warp, and the disk that its stages need.

python benchmarks/mining_supervision.py [--rounds 5] [--run RUN] [--skip-warp]

Speed is a ratio to a plain timm ResNet-18 float32 forward at the same size, one thread, taken in turns in one run. The
forward warp is compared with a straightforward loop over samples at equal output. Disk per frame is that of a finished
run (--run), or else of a synthetic street, whose depth has sharper edges than a network's; extrapolated to Cityscapes.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor

from kinodepth.data.shards import write_shard
from kinodepth.data.synthetic import sequence
from kinodepth.engine.artefacts import made
from kinodepth.geometry.camera import back_project
from kinodepth.geometry.pose import invert, pose_from_vector
from kinodepth.geometry.sampling import sample
from kinodepth.methods.mining_supervision.artefacts import LABEL_FIELDS, SCENE_FIELDS
from kinodepth.methods.mining_supervision.config import MiningSupervisionConfig
from kinodepth.methods.mining_supervision.model import build
from kinodepth.methods.mining_supervision.motion import FINER, forward_warp, projected
from kinodepth.methods.mining_supervision.objects import stack_ids
from kinodepth.methods.mining_supervision.predictor import MiningSupervisionPredictor
from kinodepth.types import Frame
from sc_depth import in_turns, reference_forward

HEIGHT, WIDTH, FRAMES = 192, 512, 69_731 + 12_494
TARGETS = {"depth, float32": 3.5, "depth, bfloat16": 1.5}


def depth_forward(dtype: torch.dtype) -> Callable[[], object]:
    torch.manual_seed(0)
    model = build(MiningSupervisionConfig(pretrained=False, flow_net="small"))
    predictor, frame = MiningSupervisionPredictor(model, dtype), Frame("", torch.rand(3, HEIGHT, WIDTH))
    return lambda: predictor.step(frame, None)


def warp_loop(values: Tensor, depth: Tensor, b_from_a: Tensor, intrinsics: Tensor) -> tuple[Tensor, Tensor]:
    """The published forward warp, sample by sample: sort the points by cell, take the largest inverse depth of each."""
    images, depths = [], []
    for value, d, moved, camera in zip(values, depth, b_from_a, intrinsics):
        fine = d.repeat_interleave(FINER, 1).repeat_interleave(FINER, 2)
        finer_camera = camera * camera.new_tensor([FINER, FINER, 1])[:, None]
        points = back_project(fine[None], finer_camera[None])[0].flatten(1)
        q = camera @ (moved[:3, :3] @ points + moved[:3, 3:])
        x, y = (q[:2] / (q[2] + 1e-5)).trunc().long()
        height, width = d.shape[-2:]
        inside = (x >= 0) & (x < width) & (y >= 0) & (y < height)
        cell, order = (y[inside] * width + x[inside]).sort()
        cells, group = cell.unique_consecutive(return_inverse=True)
        best = (1 / q[2][inside][order]).new_full((len(cells),), -torch.inf)
        best = best.scatter_reduce(0, group, 1 / q[2][inside][order], "amax")
        warped = torch.zeros(height * width).scatter(0, cells, 1 / best).view(1, 1, height, width)
        back = projected(warped, invert(moved)[None], camera[None], convention="published")
        images.append(sample(value[None], back) * (warped != 0))
        depths.append(warped)
    return torch.cat(images), torch.cat(depths)


def compare_warps(rounds: int, batch: int = 12) -> None:
    generator = torch.Generator().manual_seed(0)
    image = torch.rand(batch, 3, HEIGHT, WIDTH, generator=generator)
    coarse = torch.rand(batch, 1, 6, 16, generator=generator)
    depth = 5 + 20 * torch.nn.functional.interpolate(coarse, (HEIGHT, WIDTH), mode="bilinear")
    moved = pose_from_vector(0.02 * torch.randn(batch, 6, generator=generator))
    camera = torch.tensor([[[280.0, 0, 256], [0, 280, 96], [0, 0, 1]]]).expand(batch, 3, 3)

    def run(warp: Callable[..., tuple[Tensor, Tensor]], **options: str) -> Callable[[], tuple[Tensor, Tensor]]:
        def step() -> tuple[Tensor, Tensor]:
            leaf = depth.clone().requires_grad_()
            warped = warp(image, leaf, moved, camera, **options)
            warped[0].mean().backward()
            return warped

        return step

    ours, loop = run(forward_warp, convention="published"), run(warp_loop)
    same = ((ours()[1] - loop()[1]).abs() < 1e-3).float().mean()
    times = in_turns({"loop": loop, "ours": ours}, rounds)
    print(f"forward warp of {batch} frames, with gradient: {times['loop'] / times['ours']:.1f} times the loop's speed")
    print(f"  (wanted at least 5; equal depth on {float(same):.3%} of the pixels)")


def disk(run: Path | None) -> None:
    if run is not None:
        frames = sum(json.loads((run / "run.json").read_text())["training"].values())
        manifests = [made(folder) for folder in sorted((run / "artefacts").iterdir())]
        each = sum(s["bytes"] for m in manifests if m for s in m["shards"].values()) / frames
        print(f"disk per frame of {run}: {each / 1e3:.1f} kB; {FRAMES} frames: {each * FRAMES / 1e9:.1f} GB")
        return
    scene = sequence(seed=1, kind="street", width=WIDTH, height=HEIGHT, frames=4)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "street.shard"
        count = write_shard(path, map(_maps, scene.frames()), {**SCENE_FIELDS, **LABEL_FIELDS}, {})
        each = path.stat().st_size / count
    raw = 393_344 + 2 * 786_560 + 393_344
    print(f"disk per frame: {each / 1e3:.1f} kB (published {raw / 1e3:.0f} kB), with a label for every frame")
    print(f"  {FRAMES} frames: {each * FRAMES / 1e9:.1f} GB (wanted at most 12; published {raw * FRAMES / 1e9:.0f})")


def _maps(frame: Frame) -> tuple[str, dict[str, Tensor]]:
    assert frame.depth is not None
    ids = frame.masks["instances"].clamp(max=255)
    masks = ids == ids.unique()[:, None, None]
    objects, moving = stack_ids(masks), frame.masks["dynamic"]
    maps = {"extra:scene_depth": frame.depth, "extra:label": frame.depth * moving, "mask:moving_objects": moving}
    maps |= dict.fromkeys(("mask:objects", "mask:objects_previous", "mask:objects_next"), objects)
    return frame.name, maps | {"mask:road": frame.masks["static"]}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--run", type=Path)
    parser.add_argument("--skip-warp", action="store_true")
    options = parser.parse_args()
    torch.set_num_threads(1)
    disk(options.run)
    if not options.skip_warp:
        compare_warps(options.rounds)
    tasks = {"reference": reference_forward(HEIGHT, WIDTH), "depth, float32": depth_forward(torch.float32)}
    times = in_turns(tasks | {"depth, bfloat16": depth_forward(torch.bfloat16)}, options.rounds)
    for name, target in TARGETS.items():
        print(f"{name}: {times[name] / times['reference']:.2f} x ResNet-18 float32 (wanted at most {target})")


if __name__ == "__main__":
    main()
