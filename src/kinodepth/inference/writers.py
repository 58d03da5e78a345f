"""One prediction to one file, whole or not at all. Each says what its numbers are: quantity, scale, unit."""

from __future__ import annotations

import math
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch
import trimesh
from PIL import Image
from PIL.PngImagePlugin import PngInfo
from torch import Tensor
from torch.nn import functional as F

from kinodepth.data.files import atomic
from kinodepth.geometry import camera as camera_geometry
from kinodepth.geometry import pose, sampling
from kinodepth.types import Camera, InputError, Prediction

_CAMERA = ("fx", "fy", "cx", "cy", "width", "height")


def meaning(prediction: Prediction) -> dict[str, str]:
    """What the numbers of a prediction are: quantity, depth_kind, scale, unit."""
    return {"quantity": "depth", "depth_kind": "z", "scale": prediction.scale, "unit": prediction.unit}


def safe_name(name: str) -> str:
    """A frame name as a file stem: folders in it are joined by ``_``."""
    return name.replace("/", "_").replace("\\", "_")


def row(prediction: Prediction) -> dict[str, Any]:
    """The line of frames.jsonl: what is known of the frame."""
    matrix = prediction.cam_to_world
    return {
        "name": safe_name(prediction.name),
        "timestamp": prediction.timestamp,
        "camera": None if prediction.camera is None else asdict(prediction.camera),
        "cam_to_world": None if matrix is None else matrix.tolist(),
    }


def write_npz(path: Path, prediction: Prediction) -> None:
    """Write ``depth`` (H x W float32), what it means, camera, pose, time and confidence where known, and further
    outputs (C x H x W float32 or bool) as ``output_<name>``."""
    arrays: dict[str, np.ndarray] = {"depth": prediction.depth[0].float().cpu().numpy()}
    arrays |= {key: np.array(value) for key, value in meaning(prediction).items()}
    if prediction.camera is not None:
        arrays["camera"] = np.array([getattr(prediction.camera, key) for key in _CAMERA], np.float64)
    if prediction.cam_to_world is not None:
        arrays["cam_to_world"] = prediction.cam_to_world.double().cpu().numpy()
    if prediction.timestamp is not None:
        arrays["timestamp"] = np.array(prediction.timestamp, np.float64)
    if prediction.confidence is not None:
        arrays["confidence"] = prediction.confidence[0].float().cpu().numpy()
    for name, values in prediction.outputs.items():
        values = values if values.dtype == torch.bool else values.float()
        arrays[f"output_{name}"] = values.cpu().numpy()
    with atomic(path) as temporary:
        np.savez(temporary, **arrays)  # type: ignore[arg-type]


def read_npz(path: Path) -> Prediction:
    """Read what ``write_npz`` wrote, named after the file."""
    with np.load(path, allow_pickle=False) as file:
        data = {key: file[key] for key in file.files}
    camera = data.get("camera")
    confidence = data.get("confidence")
    return Prediction(
        path.stem,
        torch.from_numpy(data["depth"])[None],
        str(data["scale"]),  # type: ignore[arg-type]
        str(data["unit"]),
        None if camera is None else Camera(*camera[:4].tolist(), *camera[4:].astype(int).tolist()),
        torch.from_numpy(data["cam_to_world"]) if "cam_to_world" in data else None,
        float(data["timestamp"]) if "timestamp" in data else None,
        None if confidence is None else torch.from_numpy(confidence)[None],
        {key.removeprefix("output_"): torch.from_numpy(data[key]) for key in data if key.startswith("output_")},
    )


def png16_divisor(largest: float) -> float:
    """The finest of 1, 2, 5 times a power of ten with which ``largest`` still fits 16 bits: depth = value / divisor."""
    room = 65535 / largest
    power = 10.0 ** math.floor(math.log10(room))
    return max(step * power for step in (1, 2, 5) if step * power <= room)


def write_png16(path: Path, prediction: Prediction, divisor: float) -> None:
    """Write 16-bit grey PNG, depth = value / ``divisor``, exact to half a step; 0 would mean no depth."""
    values = np.rint(prediction.depth[0].cpu().numpy().astype(np.float64) * divisor).clip(1, 65535)
    text = PngInfo()
    for key, value in {**meaning(prediction), "divisor": f"{divisor:g}"}.items():
        text.add_text(key, value)
    with atomic(path) as temporary:
        Image.fromarray(values.astype(np.uint16)).save(temporary, "PNG", pnginfo=text, compress_level=3)


def write_ply(path: Path, prediction: Prediction, image: Tensor | None = None, edges: bool = False) -> None:
    """Write a binary point cloud in world coordinates where the pose is known, else in those of the camera.

    ``image`` (3 x H x W in [0, 1], any size) gives the colours. Points at depth edges, which hang in the air between
    two surfaces, are left out unless ``edges``. Raises ``InputError`` without a camera or if the depth is affine.
    """
    if prediction.scale == "affine":
        raise InputError(
            f"frame {prediction.name}: depth up to factor and shift makes bent point clouds; expected metric or "
            "up_to_scale depth; save npz or png16 instead"
        )
    if prediction.camera is None:
        raise InputError(
            f"frame {prediction.name} has no camera; a point cloud needs one; add intrinsics to the folder, or save npz"
        )
    depth = prediction.depth[None].cpu().double()
    points = camera_geometry.back_project(depth, prediction.camera.matrix(torch.float64)[None])
    if prediction.cam_to_world is not None:
        points = pose.transform(prediction.cam_to_world.cpu().double()[None], points)
    keep = torch.ones_like(depth[0, 0], dtype=torch.bool) if edges else ~depth_edges(depth)[0, 0]
    colors = None
    if image is not None:
        sized = sampling.resize(image[None].float().cpu(), depth.shape[-2:], antialias=True)[0]
        colors = (sized.clamp(0, 1) * 255).round().to(torch.uint8)[:, keep].T.numpy()
    about = " ".join(f"{key}={value}" for key, value in meaning(prediction).items())
    write_points(path, points[0][:, keep].T.numpy(), colors, about)


def write_points(path: Path, points: np.ndarray, colors: np.ndarray | None, about: str) -> None:
    """Write ``points`` N x 3 with ``colors`` N x 3 uint8 as binary PLY; ``about`` becomes a comment in its header."""
    data = trimesh.PointCloud(points, colors).export(file_type="ply")
    with atomic(path) as temporary:
        temporary.write_bytes(ply_comment(data, about))


def ply_comment(data: bytes, about: str) -> bytes:
    """PLY that says ``about`` what it is."""
    return data.replace(b"comment https://github.com/mikedh/trimesh", b"comment " + about.encode(), 1)


def depth_edges(depth: Tensor, threshold: float = 0.03) -> Tensor:
    """Where B x 1 x H x W depth (0 = none) jumps from one surface to another: B x 1 x H x W bool.

    Inverse depth is linear on any plane, however slanted, so its second difference (over 1, 2 and 4 pixels, relative
    to its value) marks jumps and not slopes; the pixels within 2 of a mark belong to it. A hole is no jump.
    """
    inverse = 1 / torch.where(depth > 0, depth, torch.nan)
    jump = torch.zeros_like(inverse)
    for step in (1, 2, 4):
        padded = F.pad(inverse, (step,) * 4, mode="replicate")
        height, width = inverse.shape[-2:]
        rows, columns = slice(step, step + height), slice(step, step + width)
        across = padded[..., rows, :width] + padded[..., rows, 2 * step :] - 2 * inverse
        along = padded[..., :height, columns] + padded[..., 2 * step :, columns] - 2 * inverse
        across[..., :step] = across[..., -step:] = 0  # one-sided at the border
        along[..., :step, :] = along[..., -step:, :] = 0
        steepest = torch.maximum(across.abs().nan_to_num(0), along.abs().nan_to_num(0))
        jump = torch.maximum(jump, (steepest / inverse).nan_to_num(0))
    return F.max_pool2d((jump > threshold).to(depth.dtype), 5, 1, 2) > 0
