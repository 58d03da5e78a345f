"""Small text files about frames: intrinsics, poses, time stamps. Every error is one sentence that names the file."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from kinodepth.types import Camera, InputError

KEYS = ("fx", "fy", "cx", "cy")


def read_numbers(path: Path) -> list[list[float]]:
    """The rows of a text file of numbers separated by blanks or commas; lines that start with # are comments."""
    rows = []
    for number, line in enumerate(read_text(path).splitlines(), 1):
        words = line.replace(",", " ").split()
        if words and not words[0].startswith("#"):
            try:
                rows.append([float(word) for word in words])
            except ValueError:
                raise InputError(
                    f"{path} line {number} reads {line.strip()[:60]!r}; expected numbers; correct that line"
                ) from None
    return rows


def read_text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError:
        raise InputError(f"{path} is not text; expected a text file; check which file was given") from None


def read_json(path: Path) -> dict[str, Any]:
    """The object in a JSON file. Raises ``InputError`` for anything else."""
    try:
        data = json.loads(read_text(path))
    except json.JSONDecodeError as error:
        raise InputError(f"{path} is not JSON ({error.msg}, line {error.lineno}); correct or remove it") from None
    if not isinstance(data, dict):
        raise InputError(f"{path} holds a {type(data).__name__}; expected an object {{...}}; correct or remove it")
    return data


def read_camera(path: Path, width: int, height: int) -> Camera:
    """The camera for images of ``width`` x ``height`` from an intrinsics file.

    Forms: a 3 x 3 matrix or the four numbers ``fx fy cx cy`` in pixels of these images; JSON with fx, fy, cx, cy and
    the width, height they belong to (rescaled to the images), or with ``fov``, the horizontal field of view in degrees.
    """
    if path.suffix == ".json":
        return camera_from_json(read_json(path), path, width, height)
    values = np.array([v for row in read_numbers(path) for v in row])
    if values.size in (9, 12):
        matrix = values.reshape(3, -1)
        four = [matrix[0, 0], matrix[1, 1], matrix[0, 2], matrix[1, 2]]
    elif values.size == 4:
        four = values.tolist()
    else:
        raise InputError(f"{path} holds {values.size} numbers; expected 3 x 3 or fx fy cx cy; correct the file")
    return _fits(path, [float(v) for v in four], width, height)


def camera_from_json(data: Any, path: Path | str, width: int, height: int) -> Camera:
    """The camera of what JSON at ``path`` says: the object of ``read_camera`` or ``[fx, fy, cx, cy]``."""
    if isinstance(data, list) and len(data) == 4 and all(_is_number(v) for v in data):
        return _fits(path, [float(v) for v in data], width, height)
    if not isinstance(data, dict):
        raise InputError(f"{path} holds {data!r}; expected [fx, fy, cx, cy] or an object with these; correct it")
    wrong = [key for key in ("fov", *KEYS, "width", "height") if not _is_number(data.get(key, 0.0))]
    if wrong:
        raise InputError(f"{path}: {wrong[0]} is {data[wrong[0]]!r}; expected a finite number; correct it")
    if "fov" in data:
        if not 1 < data["fov"] < 179:
            raise InputError(
                f"{path}: a field of view of {data['fov']} is not usable; expected horizontal degrees, such as 60"
            )
        focal = width / (2 * math.tan(math.radians(data["fov"]) / 2))
        return Camera(focal, focal, (width - 1) / 2, (height - 1) / 2, width, height)
    missing = [key for key in KEYS if key not in data]
    if missing:
        raise InputError(f"{path} lacks {', '.join(missing)}; expected fx, fy, cx, cy, width, height or fov; add them")
    four = [float(data[key]) for key in KEYS]
    if "width" not in data or "height" not in data:
        return _fits(path, four, width, height)
    stated = Camera(four[0], four[1], four[2], four[3], int(data["width"]), int(data["height"]))
    if abs(stated.width / stated.height - width / height) > 0.02 * width / height:
        raise InputError(
            f"{path} is for {stated.width} x {stated.height} images, found {width} x {height} of another shape; "
            "expected intrinsics of the uncropped images at some size; correct width and height there"
        )
    return stated if (stated.width, stated.height) == (width, height) else stated.resize(width, height)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _fits(path: Path | str, four: list[float], width: int, height: int) -> Camera:
    """The camera, unless its principal point says that it belongs to images of another size."""
    camera = Camera(four[0], four[1], four[2], four[3], width, height)
    if not (0.2 * width < camera.cx < 0.8 * width and 0.2 * height < camera.cy < 0.8 * height):
        raise InputError(
            f"{path}: principal point ({camera.cx:g}, {camera.cy:g}) is far from the centre of {width} x {height} "
            "images; expected intrinsics in pixels of these images; rescale them, or give JSON with width and height"
        )
    return camera


def pose_from_row(values: list[float], where: str) -> Tensor:
    """4 x 4 float64 ``cam_to_world`` of 16 (or 12) numbers, row-major. Rows of NaN or inf raise ``InputError``."""
    if len(values) not in (12, 16):
        raise InputError(
            f"{where} has {len(values)} numbers; expected the 16 of a 4 x 4 camera-to-world matrix; correct it"
        )
    matrix = torch.eye(4, dtype=torch.float64)
    matrix[: len(values) // 4] = torch.tensor(values, dtype=torch.float64).reshape(-1, 4)
    if not torch.isfinite(matrix).all():
        raise InputError(f"{where} holds NaN or inf; expected finite numbers; remove that frame or its pose")
    rotation = matrix[:3, :3]
    if (rotation @ rotation.T - torch.eye(3, dtype=torch.float64)).abs().max() > 0.02 or torch.det(rotation) < 0:
        raise InputError(
            f"{where} is not a rotation and translation; expected an orthonormal 3 x 3 block; correct the poses"
        )
    return matrix


def read_pose_rows(path: Path, count: int) -> list[Tensor]:
    """``cam_to_world`` per image, for layouts in which row i belongs to the i-th image by name; counts must agree."""
    rows = read_numbers(path)
    if len(rows) != count:
        raise InputError(f"{path} has {len(rows)} poses for {count} images; expected one row per image; complete it")
    return [pose_from_row(row, f"{path} row {number}") for number, row in enumerate(rows, 1)]


def known_poses(rows: list[list[float]], stems: list[str], path: Path) -> dict[str, Tensor]:
    """``cam_to_world`` by name, for layouts in which row i belongs to the i-th name and NaN or inf means that tracking
    was lost: those frames have none. Raises ``InputError`` for another number of rows and where all are lost."""
    if len(rows) != len(stems):
        raise InputError(
            f"{path} has {len(rows)} poses for {len(stems)} images; expected one row per image; complete it"
        )
    finite = [np.isfinite(row).all() for row in rows]
    keep = finite if any(finite) else [True] * len(rows)
    return {
        stem: pose_from_row(row, f"{path} row {number}")
        for number, (stem, row, known) in enumerate(zip(stems, rows, keep), 1)
        if known
    }


def read_named(path: Path) -> dict[str, list[float]]:
    """Rows ``stem number ...`` by stem. Raises ``InputError`` for words instead of numbers, and for a stem twice."""
    named: dict[str, list[float]] = {}
    for number, line in enumerate(read_text(path).splitlines(), 1):
        words = line.replace(",", " ").split()
        if not words or words[0].startswith("#"):
            continue
        if words[0] in named:
            raise InputError(f"{path} line {number} is about {words[0]} again; expected one row each; remove one")
        try:
            named[words[0]] = [float(word) for word in words[1:]]
        except ValueError:
            raise InputError(
                f"{path} line {number} reads {line.strip()[:60]!r}; expected a frame name and numbers"
            ) from None
    return named
