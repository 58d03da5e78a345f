"""Metres for predictions of unknown scale: how many metres a scene unit is, frame by frame, from something known.

Each ``by_...`` yields (frame, metres per unit; NaN where the frame says nothing). ``write_metric`` applies one factor.
"""

from __future__ import annotations

import json
import math
import os
import shutil
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from kinodepth.data import open_sequence
from kinodepth.data.checks.geometry import VISIBLE, depth_ratios
from kinodepth.data.checks.survey import survey
from kinodepth.data.files import atomic
from kinodepth.data.predictions import Predictions
from kinodepth.data.records import by_stem, depth_maps
from kinodepth.geometry import pose, sampling
from kinodepth.geometry.ground import ground_plane
from kinodepth.inference.writers import safe_name, write_npz
from kinodepth.types import Camera, InputError, Sequence

GROUND = 0.3  # of the lower part of the picture must be one plane for it to be called the ground
Factors = Iterator[tuple[str, float]]


class Factor(NamedTuple):
    """Metres per unit: the median over ``frames`` frames, the quarter and three-quarter points, and the standard
    deviation of its logarithm over them (0.1: about 10 %)."""

    value: float
    low: float
    high: float
    spread: float
    frames: int


def summary(factors: Mapping[str, float]) -> Factor:
    """The factor of a clip. Raises ``InputError`` where no frame knows it."""
    known = np.array([value for value in factors.values() if math.isfinite(value) and value > 0])
    if not len(known):
        raise InputError(
            f"none of the {len(factors)} frames tells the scale; expected some that show what is known (a flat "
            "ground below, parallax, measured pixels); look at the depth first, or scale by something else"
        )
    low, value, high = np.quantile(known, [0.25, 0.5, 0.75])
    return Factor(float(value), float(low), float(high), float(np.log(known).std()), len(known))


def by_height(predictions: Predictions, metres: float, field_of_view: float | None = None) -> Factors:
    """The camera is ``metres`` above the ground that the lower part of the picture shows."""
    for name in predictions:
        found = predictions[name]
        camera = found.camera or _guess(found.depth, field_of_view)
        if camera is None:
            raise InputError(
                f"the predictions have no camera (frame {name}); expected one for the ground plane; give --fov DEGREES"
            )
        ground = ground_plane(found.depth, camera.matrix())
        yield name, metres / ground.height if ground.on >= GROUND else math.nan


def by_distance(predictions: Predictions, name: str, x: int, y: int, metres: float) -> Factors:
    """Pixel (x, y) of the depth map of frame ``name`` is ``metres`` from the camera; along the optical axis where the
    camera is not known."""
    if name not in predictions:
        some = ", ".join(list(predictions)[:3])
        raise InputError(f"there is no prediction of frame {name!r}; expected one such as {some}; correct --frame")
    found = predictions[name]
    height, width = found.depth.shape[-2:]
    if not (0 <= x < width and 0 <= y < height):
        raise InputError(f"pixel {x},{y} is outside of {width} x {height}; expected one of the depth map; correct it")
    near = found.depth[0, max(0, y - 2) : y + 3, max(0, x - 2) : x + 3]
    ray = 1.0
    if found.camera is not None:
        ray = math.hypot(1, (x - found.camera.cx) / found.camera.fx, (y - found.camera.cy) / found.camera.fy)
    depth = float(near[near > 0].median()) if bool((near > 0).any()) else math.nan
    yield name, metres / ray / depth


def measured_depth(path: Path, divisor: float | None) -> dict[str, Callable[[], Tensor]]:
    """Readers of depth in metres by frame name, from a folder of maps or a recording with depth."""
    files = by_stem(path)
    if not files:
        return {record.name: record.load["depth"] for record in open_sequence(path).records if "depth" in record.load}
    if divisor is None and any(file.suffix not in (".npy", ".npz") for file in files.values()):
        raise InputError(
            f"{path} holds integers; expected to know how many make a metre; add --depth-divisor, or give the recording"
        )
    return depth_maps(path, divisor or 1.0)


def by_depth(predictions: Predictions, maps: Mapping[str, Callable[[], Tensor]]) -> Factors:
    """Measured depth in metres, however sparse: the median ratio over the measured pixels of each frame."""
    shared = [name for name in predictions if name in maps]
    if not shared:
        raise InputError(
            f"there is no measured depth of a predicted frame such as {next(iter(predictions))}; expected png, npy or "
            "npz by frame name, or a recording with depth; check --depth"
        )
    for name in shared:
        measured = maps[name]()
        predicted = predictions[name].depth
        if predicted.shape != measured.shape:
            predicted = sampling.resize(predicted[None], measured.shape[-2:])[0]
        both = (measured > 0) & (predicted > 0)
        yield name, float(np.median(measured[both] / predicted[both])) if bool(both.any()) else math.nan


def by_poses(predictions: Predictions, sequence: Sequence) -> Factors:
    """The poses of ``sequence`` (its frames are the predicted ones) are metric: points that can be followed from frame
    to frame are triangulated with them and compared with the predicted depth."""
    if not {"cam_to_world", "camera"} <= sequence.provides:
        raise InputError(
            f"{sequence.name} has no pose and camera for every frame; expected both to triangulate; give --poses FILE "
            "and intrinsics in the folder"
        )
    for pair in survey(sequence).far:
        name = safe_name(sequence.records[pair.first].name)
        if not pair.usable or name not in predictions or pair.parallax <= VISIBLE * pair.tracks.flow:
            continue
        a, b = (sequence.records[i].cam_to_world for i in (pair.first, pair.second))
        assert a is not None
        assert b is not None
        b_from_a = pose.relative(b.double(), a.double()).numpy()
        ratios = depth_ratios(pair, b_from_a, predictions[name].depth[0].numpy())
        yield name, 1 / float(np.median(ratios)) if len(ratios) else math.nan


def with_baseline(poses: Mapping[str, Tensor], metres: float) -> dict[str, Tensor]:
    """``poses`` of any unit, scaled so that the first and the last camera are ``metres`` apart."""
    ends = [poses[name][:3, 3] for name in (next(iter(poses)), list(poses)[-1])]
    apart = float((ends[1] - ends[0]).norm())
    if not apart > 0:
        raise InputError("the first and the last pose are in one place; expected them apart; measure another stretch")
    scale = torch.tensor([metres / apart] * 3 + [1.0], dtype=torch.float64)
    scaled = {name: matrix.double().clone() for name, matrix in poses.items()}
    for matrix in scaled.values():
        matrix[:, 3] *= scale
    return scaled


def _guess(depth: Tensor, field_of_view: float | None) -> Camera | None:
    if field_of_view is None:
        return None
    height, width = depth.shape[-2:]
    focal = width / (2 * math.tan(math.radians(field_of_view) / 2))
    return Camera(focal, focal, (width - 1) / 2, (height - 1) / 2, width, height)


def write_metric(
    predictions: Predictions, factor: Factor, out: Path, how: str, poses: Mapping[str, Tensor] | None = None
) -> Iterator[str]:
    """Write ``predictions`` times the factor as a new predictions folder in metres; yields the frame names. ``poses``
    replace those of the predictions. The folder appears when it is complete."""
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise InputError(f"{out} exists; expected a new or empty folder; choose another --out")
    building = out.with_name(f".{out.name}.building")
    shutil.rmtree(building, ignore_errors=True)
    rows = []
    for name in predictions:
        found = predictions[name]
        own = (poses or {}).get(name, found.cam_to_world)
        metric = replace(found, depth=found.depth * factor.value, scale="metric", unit="m", cam_to_world=own)
        write_npz(building / "npz" / f"{name}.npz", metric)
        row: dict[str, Any] = {"name": name, "timestamp": found.timestamp}
        row["camera"] = None if found.camera is None else asdict(found.camera)
        rows.append({**row, "cam_to_world": None if own is None else own.tolist()})
        yield name
    span = predictions.about.get("color_range")
    about = {**predictions.about, "quantity": "depth", "scale": "metric", "unit": "m", "settings": None}
    about |= {"frames": len(predictions), "complete": True, "saved": ["npz"], "png16_divisor": None}
    about |= {"color_range": [value * factor.value for value in span]} if span else {}
    about["scaled"] = {"by": how, "factor": factor.value, **{k: v for k, v in factor._asdict().items() if k != "value"}}
    _text(building / "frames.jsonl", "".join(json.dumps(row) + "\n" for row in rows))
    _text(building / "prediction.json", json.dumps(about, indent=2) + "\n")
    if out.is_dir():
        out.rmdir()
    os.replace(building, out)


def _text(path: Path, text: str) -> None:
    with atomic(path) as temporary:
        temporary.write_text(text, encoding="utf-8")
