"""Posed depth maps with their pictures, one after the other: what point clouds and meshes are made of."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from itertools import chain

import torch
from torch import Tensor

from kinodepth.data import open_sequence
from kinodepth.data.predictions import Predictions
from kinodepth.geometry import pose, sampling
from kinodepth.geometry.warp import inside, reproject
from kinodepth.inference.writers import depth_edges, safe_name
from kinodepth.types import Camera, Convention, InputError, Sequence

DARK = 10 / 255  # mean intensity below which a border pixel is no picture (spec deep_video_mvs 8)
BORDER = 10  # pixels
JUMP = 0.1  # of the depth: between surfaces, but not where two walls meet


@dataclass(frozen=True)
class View:
    """``depth`` 1 x H x W (0 = none) in the unit of ``cam_to_world`` (4 x 4), of ``camera`` and with ``image``
    3 x H x W in [0, 1], both of its size."""

    name: str
    depth: Tensor
    camera: Camera
    cam_to_world: Tensor
    image: Tensor


@dataclass(frozen=True)
class Filters:
    """Which depth is left out: beyond ``max_depth``; at ``edges`` between two surfaces; where neither neighbour agrees
    within the share ``consistency`` (0 = do not ask); dark pixels near the border (``dark_border``, pictures that were
    warped). The published rule has the cap alone, and the dark border for ScanNet (spec deep_video_mvs 8)."""

    max_depth: float = 5.0
    edges: bool = True
    consistency: float = 0.05
    dark_border: bool = False


@dataclass(frozen=True)
class Source:
    """One frame that can be fused: how to read its depth and picture, its camera (of any size) and pose."""

    name: str
    depth: Callable[[], Tensor]
    image: Callable[[], Tensor]
    camera: Camera
    cam_to_world: Tensor


def recorded_depth(sequence: Sequence) -> list[Source]:
    """The frames of ``sequence`` with recorded depth, camera and pose. Raises ``InputError`` where there is none."""
    found = [
        Source(record.name, record.load["depth"], record.load["image"], record.camera, record.cam_to_world)
        for record in sequence.records
        if "depth" in record.load and record.camera is not None and record.cam_to_world is not None
    ]
    if not found:
        raise InputError(
            f"{sequence.name} has no frame with recorded depth, camera and pose; expected an RGB-D recording with "
            "poses; give a folder of predictions instead"
        )
    return found


def predicted_depth(predictions: Predictions, data: str | None, format: str | None = None) -> list[Source]:
    """The frames of the recording ``data`` (default: what was predicted) that have a prediction, camera and pose.

    Camera and pose are those of the prediction where it has them. Raises ``InputError`` unless the depth is metric.
    """
    if predictions.scale != "metric":
        raise InputError(
            f"the predictions are {predictions.scale}; expected metric depth, in the unit of the poses; make it so "
            "with kinodepth scale --poses, or say --scale metric if it is"
        )
    place = data or predictions.about.get("source")
    if not place:
        raise InputError("the predictions do not say what they were made from; expected its images; give --data PATH")
    found = []
    sequence = open_sequence(place, format=format)
    for record in sequence.records:
        name = safe_name(record.name)
        if name not in predictions:
            continue
        row = predictions.frames.get(name, {})
        stated = row.get("cam_to_world")
        pose_ = record.cam_to_world if stated is None else torch.tensor(stated, dtype=torch.float64)
        camera = Camera(**row["camera"]) if row.get("camera") else record.camera
        if camera is not None and pose_ is not None:
            depth = _reader(predictions, name)
            found.append(Source(record.name, depth, record.load["image"], camera, pose_))
    if not found:
        raise InputError(
            f"no frame of {sequence.name} has a prediction by its name, a camera and a pose; expected all three; give "
            "--data the posed recording that was predicted"
        )
    return found


def _reader(predictions: Predictions, name: str) -> Callable[[], Tensor]:
    return lambda: predictions[name].depth


def views(sources: Iterable[Source], filters: Filters, convention: Convention = "exact") -> Iterator[View]:
    """Read ``sources`` one at a time (three while neighbours have to agree) and leave out what ``filters`` say.

    ``published`` takes the nearest pixel of the picture and scales the camera without the half pixel.
    """
    read = (_read(source, filters, convention) for source in sources)
    if filters.consistency <= 0:
        yield from read
        return
    before: View | None = None
    here: View | None = None
    for after in chain(read, (None,)):
        if here is not None:
            yield _agreeing(here, [view for view in (before, after) if view is not None], filters.consistency)
        before, here = here, after


def _read(source: Source, filters: Filters, convention: Convention) -> View:
    depth, image = source.depth().float(), source.image()
    height, width = depth.shape[-2:]
    if convention == "published":
        image = sampling.resize(image[None], (height, width), mode="nearest_floor")[0]
    else:
        image = sampling.resize(image[None], (height, width), antialias=True)[0].clamp(0, 1)
    bad = ~depth.isfinite() | (depth <= 0) | (depth > filters.max_depth)
    if filters.edges:
        bad |= depth_edges(depth[None], JUMP)[0]
    if filters.dark_border:
        near_border = torch.ones_like(bad)
        near_border[:, BORDER:-BORDER, BORDER:-BORDER] = False
        bad |= near_border & (image.mean(0, keepdim=True) < DARK)
    camera = source.camera
    if (camera.width, camera.height) != (width, height):
        camera = camera.resize(width, height, convention)
    return View(source.name, torch.where(bad, 0.0, depth), camera, source.cam_to_world, image)


def _agreeing(view: View, neighbours: list[View], tolerance: float) -> View:
    """``view`` with only the depth that one of ``neighbours`` confirms: its own depth there is within the share
    ``tolerance``. A view without neighbours stays as it is."""
    if not neighbours:
        return view
    confirmed = torch.zeros_like(view.depth, dtype=torch.bool)
    intrinsics = view.camera.matrix()[None]
    for other in neighbours:
        other_from_view = pose.relative(other.cam_to_world, view.cam_to_world).float()[None]
        pixels, z = reproject(view.depth[None], other_from_view, intrinsics, other.camera.matrix()[None])
        there = sampling.sample(other.depth[None], pixels, mode="nearest")
        agrees = (there > 0) & ((there - z).abs() <= tolerance * z) & inside(pixels, z, other.depth.shape)
        confirmed |= agrees[0]
    return replace(view, depth=torch.where(confirmed, view.depth, 0.0))
