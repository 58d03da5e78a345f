"""DeepVideoMVS on real recordings that it was never trained on: eight errors beside those of trivial predictors.

    python benchmarks/deep_video_mvs_real.py [--data ../shared/data] [--pair FILE] [--fusion FILE] [--size 320x256]

Protocol deep_video_mvs: no alignment, ground truth from 0.5 m on, resized to the prediction, mean over keyframes, then
over all keyframes of all recordings. constant: the median of the recording's own ground truth, which no predictor
knows. best plane: of the 64 planes that where colours differ least, mean over a window of 7 x 7 pixels and both
measurement frames. Without files the shipped weights are used.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from rich.console import Console
from rich.table import Table
from torch import Tensor
from torch.nn import functional as F

import kinodepth as kd
from kinodepth.data.keyframes import keyframe_rows
from kinodepth.evaluation.metrics import DEEP_VIDEO_MVS, deep_video_mvs_errors
from kinodepth.geometry.camera import plane_rays
from kinodepth.geometry.depth import plane_depths
from kinodepth.geometry.pose import move_between
from kinodepth.geometry.sampling import resize, sample
from kinodepth.geometry.warp import homography
from kinodepth.types import Camera, Frame, Sequence

RECORDINGS = ("hololens_000", "sevenscenes_redkitchen", "tum_fr1_rpy")
# The focal length of 7-Scenes' colour camera (the published test uses it too); the usual 585 is the depth camera's.
FOCAL = {"sevenscenes_redkitchen": 525.0}
WINDOW = 7


def frames(sequence: Sequence) -> Iterator[Frame]:
    focal = FOCAL.get(sequence.name)
    for frame in sequence.frames(("camera", "cam_to_world", "depth")):
        camera = frame.camera
        if focal is not None and camera is not None:
            camera = replace(camera, fx=focal, fy=focal)
        yield replace(frame, camera=camera)


def best_plane(reference: Frame, others: list[Frame], width: int, height: int) -> Tensor:
    """Depth 1 x H x W of the plane on which the colours of ``others`` fit ``reference`` best."""
    depths = plane_depths(64, 0.25, 20)
    images = [resize(frame.image[None], (height, width), antialias=True) for frame in (reference, *others)]
    assert isinstance(reference.camera, Camera)
    intrinsics = reference.camera.resize(width, height).matrix()
    cost = torch.zeros(len(depths), height, width)
    for frame, image in zip(others, images[1:]):
        assert frame.cam_to_world is not None
        assert reference.cam_to_world is not None
        move = move_between(frame.cam_to_world, reference.cam_to_world).float()
        rays = plane_rays(homography(move[:3, :3], intrinsics, intrinsics), height, width)
        shift = (intrinsics @ move[:3, 3])[:, None, None]
        for i, depth in enumerate(depths):
            q = rays + shift / depth
            pixels = torch.where(q[2] > 0, q[:2] / q[2], -2.0)[None]
            inside = sample(torch.ones(1, 1, height, width), pixels)[0, 0]
            difference = (sample(image, pixels) - images[0]).abs().mean(1)[0]
            cost[i] += torch.where(inside > 0.99, difference, 1.0)
    cost = F.avg_pool2d(cost[None], WINDOW, 1, WINDOW // 2, count_include_pad=False)[0]
    return depths[cost.argmin(0)][None]


def scores(sequence: Sequence, models: dict[str, kd.DepthModel], width: int, height: int) -> dict[str, np.ndarray]:
    """Errors K x 8 of the keyframes, per predictor."""
    recording = list(frames(sequence))
    by_name = {frame.name: frame for frame in recording}
    truth: dict[str, Tensor] = {}
    for frame in recording:
        assert frame.depth is not None
        truth[frame.name] = resize(frame.depth[None], (height, width), "nearest_floor")[0]
    _, rows = keyframe_rows((frame.cam_to_world for frame in recording if frame.cam_to_world is not None), 2)
    keyframes = [row for row in rows if not isinstance(row, str)]
    names = [recording[row[0]].name for row in keyframes]
    median = torch.cat([values[values >= 0.5] for values in truth.values()]).median()
    found = {
        "constant": [torch.full_like(truth[name], float(median)) for name in names],
        "best plane": [
            best_plane(recording[k], [recording[i] for i in others], width, height) for k, *others in keyframes
        ],
    }
    for name, model in models.items():
        predictions = {p.name: p.depth for p in model.predict(by_name.values(), resolution="network")}
        found[name] = [predictions[keyframe] for keyframe in names]
    return {
        name: np.array([list(deep_video_mvs_errors(depth, truth[key]).values()) for key, depth in zip(names, depths)])
        for name, depths in found.items()
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--data", type=Path, default=Path(os.environ.get("KINODEPTH_DATA", "../shared/data")))
    parser.add_argument("--pair", help="weights of the pair net; default: shipped")
    parser.add_argument("--fusion", help="weights of the fusion net; default: shipped; none leaves it out")
    parser.add_argument("--size", default="320x256", help="of the networks' input, WIDTHxHEIGHT")
    parser.add_argument("--recordings", default=",".join(RECORDINGS))
    options = parser.parse_args()
    width, height = map(int, options.size.split("x"))
    size = {"width": width, "height": height}
    models = {"pair": kd.load("deep_video_mvs_pair", options.pair, config=size)}
    if options.fusion != "none":
        models["fusion"] = kd.load("deep_video_mvs", options.fusion, config=size)
    collected: dict[str, list[np.ndarray]] = {}
    for recording in options.recordings.split(","):
        found = scores(kd.open_sequence(options.data / recording), models, width, height)
        show(f"{recording}, {options.size}", found)
        for name, rows in found.items():
            collected.setdefault(name, []).append(rows)
    show(f"all keyframes, {options.size}", {name: np.concatenate(rows) for name, rows in collected.items()})


def show(title: str, found: dict[str, np.ndarray]) -> None:
    table = Table("predictor", "keyframes", *DEEP_VIDEO_MVS, title=title)
    for name, rows in found.items():
        table.add_row(name, str(len(rows)), *(f"{value:.4f}" for value in np.nanmean(rows, 0)))
    Console(width=140).print(table)


if __name__ == "__main__":
    main()
