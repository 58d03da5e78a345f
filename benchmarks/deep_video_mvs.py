"""What DeepVideoMVS costs, as ratios to a plain timm ResNet-18 float32 forward measured in the same run.

python benchmarks/deep_video_mvs.py [--rounds 10] [--weights FILE ..] [--skip-networks]

The cost volume is compared with one sampler call per plane, as published. All candidates take turns and the smallest
processor time of each counts, which keeps other load on the machine out of the ratios as far as that goes; load on the
other half of a core is not kept out.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor
from torch.nn import functional as F

from kinodepth import methods
from kinodepth.geometry.cost_volume import plane_sweep_volume
from kinodepth.geometry.depth import plane_depths
from kinodepth.geometry.pose import euler_to_matrix, pose_matrix
from kinodepth.inference.model import load
from kinodepth.methods.base import Predictor
from kinodepth.methods.weights import read_weights
from kinodepth.types import Camera, Frame, Prediction
from sc_depth import in_turns, reference_forward

HEIGHT, WIDTH, VIEWS, PLANES = 256, 320, 2, 64
CAMERA = Camera(270.0, 280.0, 160.0, 128.0, WIDTH, HEIGHT)
MOVES = (((0.0, 0.05, 0.0), (0.13, 0.05, 0.06)), ((0.02, 0.0, 0.03), (-0.1, 0.1, 0.02)))  # Euler angles, metres


def one_call_per_plane(
    reference: Tensor, measurements: Tensor, moves: Tensor, intrinsics: Tensor, depths: Tensor
) -> Tensor:
    """The cost volume the obvious way, B = 1: 64 sampler calls per view, each followed by product and sum."""
    height, width = reference.shape[-2:]
    y, x = torch.meshgrid(torch.arange(height).float(), torch.arange(width).float(), indexing="ij")
    pixels = torch.stack((x, y, torch.ones_like(x))).flatten(1)
    volume = torch.zeros(1, len(depths), height, width)
    for view, move in zip(measurements[0], moves[0]):
        rays = intrinsics[0] @ move[:3, :3] @ torch.linalg.inv(intrinsics[0]) @ pixels
        shift = intrinsics[0] @ move[:3, 3:]
        for i, depth in enumerate(depths):
            q = rays + shift / depth
            z = q[2] + 1e-8
            grid = torch.stack((q[0] / z / (width / 2) - 1, q[1] / z / (height / 2) - 1), -1)
            warped = F.grid_sample(view[None], grid.view(1, height, width, 2), align_corners=True)
            volume[:, i] += (warped * reference).sum(1) / reference.shape[1] / measurements.shape[1]
    return volume


def volumes() -> dict[str, Callable[[], object]]:
    torch.manual_seed(0)
    height, width = HEIGHT // 2, WIDTH // 2
    moves = torch.stack([pose_matrix(euler_to_matrix(torch.tensor(r)), torch.tensor(t)) for r, t in MOVES])[None]
    intrinsics = (CAMERA.matrix() * torch.tensor([[0.5], [0.5], [1.0]]))[None]
    reference, measured = torch.randn(1, 32, height, width), torch.randn(1, VIEWS, 32, height, width)
    inputs = (reference, measured, moves, intrinsics, plane_depths(PLANES, 0.25, 20))
    ours, plain = plane_sweep_volume(*inputs, "published"), one_call_per_plane(*inputs)
    print(f"cost volumes agree within {float((ours - plain).abs().max() / plain.abs().max()):.1e} of the largest score")

    def run(function: Callable[..., Tensor], *more: str) -> Callable[[], object]:
        def task() -> object:
            with torch.inference_mode():
                return function(*inputs, *more)

        return task

    return {
        "cost volume, a call per plane": run(one_call_per_plane),
        "cost volume, ours": run(plane_sweep_volume, "published"),
    }


def predictor_of(name: str, weights: list[Path]) -> Predictor:
    """A predictor with those of ``weights`` that are for this net, else untrained."""
    method = methods.load(name)
    network = method.build(method.config(pretrained=False))
    for file in weights:
        if read_weights(file)[0] == name:
            network = load(name, file).network
    return method.predictor(network)


def keyframe(predictor: Predictor, precision: torch.dtype) -> Callable[[], Prediction]:
    """One keyframe with two measurement frames that were encoded before."""
    state, frames = predictor.init(), []
    generator = torch.Generator().manual_seed(0)
    for i in range(4):
        pose = torch.eye(4, dtype=torch.float64)
        pose[0, 3] = 0.13 * i
        image = torch.rand(3, HEIGHT, WIDTH, generator=generator)
        frames.append(Frame(str(i), image, None, CAMERA, pose))
    narrow = torch.autocast("cpu", precision, enabled=precision != torch.float32)
    with narrow:
        for frame in frames[:3]:
            _, state = predictor.step(frame, state)

    def task() -> Prediction:
        with narrow:
            prediction, _ = predictor.step(frames[3], replace(state))
        assert prediction is not None
        return prediction

    return task


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument(
        "--weights", type=Path, nargs="+", default=[], help="our files; without, networks are untrained"
    )
    parser.add_argument("--skip-networks", action="store_true")
    options = parser.parse_args()
    torch.set_num_threads(1)
    tasks = {"timm resnet18 forward, float32": reference_forward(HEIGHT, WIDTH), **volumes()}
    targets = {"deep_video_mvs, float32": 5.0, "deep_video_mvs, bfloat16": 2.5}
    for name in () if options.skip_networks else ("deep_video_mvs_pair", "deep_video_mvs"):
        predictor = predictor_of(name, options.weights)
        full, half = (keyframe(predictor, dtype) for dtype in (torch.float32, torch.bfloat16))
        tasks |= {f"{name}, float32": full, f"{name}, bfloat16": half}
        change = (half().depth / full().depth - 1).abs()
        mean, most = 100 * change.mean(), 100 * change.max()
        print(f"{name}: bfloat16 changes depth by {mean:.3f} % on average, {most:.2f} % at most")
    print(f"{HEIGHT} x {WIDTH}, {VIEWS} measurement frames, one thread, {torch.backends.cpu.get_cpu_capability()}")
    times = in_turns(tasks, options.rounds)
    for name, seconds in times.items():
        ratio, wanted = seconds / times["timm resnet18 forward, float32"], targets.get(name)
        verdict = "" if wanted is None else f"   target <= {wanted}: {'met' if ratio <= wanted else 'MISSED'}"
        print(f"{name:32s} {seconds * 1e3:9.1f} ms   ratio {ratio:6.2f}{verdict}")
    gain = times["cost volume, a call per plane"] / times["cost volume, ours"]
    print(f"cost volume: {gain:.2f} times faster   target >= 4: {'met' if gain >= 4 else 'MISSED'}")


if __name__ == "__main__":
    main()
