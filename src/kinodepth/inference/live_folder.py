"""Predictions of a stream on disk: complete after every frame, readable by whatever reads ``kinodepth predict``'s."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from kinodepth.data.folder import write_text
from kinodepth.inference import writers
from kinodepth.inference.job import describe
from kinodepth.inference.model import DepthModel, Resolution
from kinodepth.types import Frame, InputError, Prediction

FORMATS = ("npz", "png16", "ply")
DIVISOR = 1000.0  # of png16 in metres: millimetres, up to 65.5 m; the largest depth of a stream is not known beforehand


class LiveFolder:
    """A context that writes predictions into a new folder ``out``, and in the end says that it is complete."""

    def __init__(
        self, out: Path, model: DepthModel, source: str, save: tuple[str, ...], resolution: Resolution, command: str
    ) -> None:
        unknown = [name for name in save if name not in FORMATS]
        if unknown or not save:
            raise InputError(
                f"format {', '.join(unknown) or 'none'} cannot be written live; expected some of {','.join(FORMATS)}; "
                "make others of the folder later"
            )
        if out.exists() and (not out.is_dir() or any(out.iterdir())):
            raise InputError(f"{out} is not empty; expected a new folder; choose another --out")
        self.out, self.save = out, save
        self.about: dict[str, Any] = describe(model, source, resolution) | {"command": command, "saved": list(save)}
        self.frames = 0

    def __enter__(self) -> LiveFolder:
        self.out.mkdir(parents=True, exist_ok=True)
        self._tell(complete=False)
        self.rows = (self.out / "frames.jsonl").open("a", encoding="utf-8")
        return self

    def write(self, frame: Frame, prediction: Prediction) -> None:
        """Write one frame, its files first, then its line."""
        stem = writers.safe_name(prediction.name)
        if "npz" in self.save:
            writers.write_npz(self.out / "npz" / f"{stem}.npz", prediction)
        if "png16" in self.save:
            if prediction.unit != "m":
                raise InputError(
                    f"depth in {prediction.unit} has no fixed steps for png16; expected metric depth; save npz instead"
                )
            writers.write_png16(self.out / "png16" / f"{stem}.png", prediction, DIVISOR)
        if "ply" in self.save:
            writers.write_ply(self.out / "ply" / f"{stem}.ply", prediction, frame.image)
        if not self.frames:
            self.about |= {"scale": prediction.scale, "unit": prediction.unit}
            self.about |= {"png16_divisor": DIVISOR} if "png16" in self.save else {}
            self._tell(complete=False)
        self.rows.write(json.dumps(writers.row(prediction)) + "\n")
        self.rows.flush()
        self.frames += 1

    def __exit__(self, *error: object) -> None:
        self.rows.close()
        self._tell(complete=True)

    def _tell(self, complete: bool) -> None:
        about = {**self.about, "frames": self.frames, "complete": complete}
        write_text(self.out / "prediction.json", json.dumps(about, indent=2, default=str) + "\n")
