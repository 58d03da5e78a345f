"""Predictions on disk: the folder ``kinodepth predict`` writes, or anybody's maps named after the frames."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, Literal, get_args

import torch
from PIL import Image
from torch import Tensor

from kinodepth.data.calibration import read_json, read_text
from kinodepth.data.images import read_depth
from kinodepth.data.records import MAP_SUFFIXES, by_stem
from kinodepth.types import SCALES, Camera, InputError, Prediction, Scale

Quantity = Literal["depth", "inverse_depth"]


class Predictions(Mapping[str, Prediction]):
    """Predictions by frame name, read when asked for. ``about`` is what the folder says of itself."""

    def __init__(
        self,
        files: dict[str, Path],
        quantity: Quantity,
        scale: Scale,
        unit: str,
        divisor: float | None,
        frames: dict[str, dict[str, Any]],
        about: dict[str, Any],
    ) -> None:
        self.files, self.quantity, self.scale, self.unit = files, quantity, scale, unit
        self.divisor, self.frames, self.about = divisor, frames, about

    def __len__(self) -> int:
        return len(self.files)

    def __iter__(self) -> Iterator[str]:
        return iter(self.files)

    def __getitem__(self, name: str) -> Prediction:
        """The prediction of frame ``name`` as depth, 1 x H x W; 0 where an inverse depth is 0 or missing."""
        depth, row = self.stored(name), self.frames.get(name, {})
        if self.quantity == "inverse_depth":
            depth = torch.where(depth > 0, 1 / depth, 0.0)
        pose = row.get("cam_to_world")
        return Prediction(
            name,
            depth,
            self.scale,
            self.unit,
            Camera(**row["camera"]) if row.get("camera") else None,
            None if pose is None else torch.tensor(pose, dtype=torch.float64),
            row.get("timestamp"),
        )

    def stored(self, name: str, read: Callable[[Path, float], Tensor] = read_depth) -> Tensor:
        """The values of frame ``name`` in the folder's ``quantity``, 1 x H x W; 0 where there is none."""
        path = self.files[name]
        return read(path, self._divisor(path))

    def _divisor(self, path: Path) -> float:
        if path.suffix in (".npy", ".npz"):
            return 1.0
        if self.divisor is None:
            with Image.open(path) as image:
                stated = getattr(image, "text", {}).get("divisor")
            if stated is None:
                raise InputError(f"{path} does not say what its integers mean; expected a divisor; give --png-divisor")
            return float(stated)
        return self.divisor


def open_predictions(
    path: str | Path,
    quantity: str | None = None,
    scale: str | None = None,
    divisor: float | None = None,
    unit: str | None = None,
) -> Predictions:
    """Open a folder of predictions. What ``prediction.json`` states can be overridden.

    Without that file, .npy, .npz or .png maps named after the frames are taken as ``quantity`` (default depth) and
    ``scale`` (default up_to_scale); integers need a ``divisor``.

    Raises ``InputError`` for an empty folder or an unknown word.
    """
    path = Path(path)
    about = _about(path)
    files = next((found for found in (by_stem(path / kind) for kind in ("npz", "png16", "depth", ".")) if found), {})
    if not files:
        raise InputError(
            f"{path} has no predictions; expected {', '.join(MAP_SUFFIXES[:3])} named by frame; check the path"
        )
    quantity = quantity or str(about.get("quantity", "depth"))
    scale = scale or str(about.get("scale", "up_to_scale"))
    if quantity not in get_args(Quantity):
        raise InputError(f"quantity {quantity!r} is unknown; expected {' or '.join(get_args(Quantity))}")
    if scale not in SCALES:
        raise InputError(f"scale {scale!r} is unknown; expected one of {', '.join(SCALES)}")
    unit = unit or about.get("unit") or ("m" if scale == "metric" else "scene unit")
    kind: Quantity = "depth" if quantity == "depth" else "inverse_depth"
    return Predictions(files, kind, scale, unit, divisor or about.get("png16_divisor"), _frames(path), about)


def _about(path: Path) -> dict[str, Any]:
    if not path.is_dir():
        raise InputError(
            f"{path} is no folder; expected predictions as kinodepth predict writes them, or npz, npy or 16-bit png by "
            "frame name; check the path"
        )
    file = path / "prediction.json"
    return read_json(file) if file.is_file() else {}


def _frames(path: Path) -> dict[str, dict[str, Any]]:
    file = path / "frames.jsonl"
    if not file.is_file():
        return {}
    try:
        rows: list[dict[str, Any]] = [json.loads(line) for line in read_text(file).splitlines() if line]
        return {row["name"]: row for row in rows}
    except (json.JSONDecodeError, TypeError, KeyError):
        raise InputError(
            f'{file} has a line that is not {{"name": ...}}; expected JSON per frame; predict again or remove it'
        ) from None
