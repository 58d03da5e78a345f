"""What a method predicts besides depth, as files: pictures of flow, motion and mask, and the trajectory as text."""

from __future__ import annotations

import json
from collections.abc import Collection
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from kinodepth.data.files import atomic
from kinodepth.evaluation.trajectory import kitti_text, tum_text
from kinodepth.geometry import sampling
from kinodepth.types import Prediction
from kinodepth.visualization.flow import colorize_flow, colorize_motion, tint_mask

POSES = ("poses_tum.txt", "poses_kitti.txt")
# What the numbers of an output are, for prediction.json.
MEANING = {
    "flow": "optical flow from each frame to the one before, x right and y down, pixels of this size; 0 in the first",
    "motion": "3-D motion of objects from each frame to the one before, in the axes of that one's camera after "
    "the camera's own motion, in the unit of the depth; 0 in the first",
    "mask": "1 where a pixel moves by itself",
    "poses": "predicted camera to world, the first frame's camera is the world, translation in the unit of the depth",
}


class Largest:
    """The range of colours of a whole clip: of each output the largest 99th percentile of length in any frame."""

    def __init__(self) -> None:
        self.values: dict[str, float] = {}

    def add(self, prediction: Prediction) -> None:
        for name in ("flow", "motion"):
            if name in prediction.outputs:
                length = prediction.outputs[name].float().norm(dim=0).flatten()
                high = float(np.percentile(length.cpu().numpy(), 99))
                self.values[name] = max(self.values.get(name, 0.0), high)


def pictures(image: Tensor, prediction: Prediction, largest: Largest) -> dict[str, np.ndarray]:
    """The maps of a prediction in colour by name; the mask is drawn on ``image`` (3 x H x W of any size)."""
    found = {}
    for name, values in prediction.outputs.items():
        if name == "mask":
            sized = sampling.resize(image[None].float(), values.shape[-2:], antialias=True)[0]
            found[name] = tint_mask(sized, values)
        else:
            draw = colorize_flow if name == "flow" else colorize_motion
            found[name] = draw(values, largest.values.get(name, 0.0))
    return found


def write_pictures(out: Path, stem: str, drawn: dict[str, np.ndarray]) -> None:
    """One PNG per output in the folder of its name."""
    for name, picture in drawn.items():
        with atomic(out / name / f"{stem}.png") as temporary:
            Image.fromarray(picture).save(temporary, "PNG", compress_level=3)


def write_trajectory(out: Path, rows: Path) -> None:
    """The poses in frames.jsonl ``rows`` as TUM and KITTI text; TUM has the frame's number where there is no time."""
    texts: dict[str, list[str]] = {name: [] for name in POSES}
    with rows.open(encoding="utf-8") as file:
        for number, line in enumerate(file):
            row = json.loads(line)
            pose = torch.tensor(row["cam_to_world"], dtype=torch.float64)[None]
            time = row["timestamp"]
            texts[POSES[0]].append(tum_text([float(number) if time is None else time], pose))
            texts[POSES[1]].append(kitti_text(pose))
    for name, lines in texts.items():
        with atomic(out / name) as temporary:
            temporary.write_text("".join(lines), encoding="utf-8")


def described(outputs: Collection[str]) -> dict[str, dict[str, str]]:
    """What prediction.json says about ``outputs``; nothing without any."""
    return {"outputs": {name: MEANING.get(name, name) for name in sorted(outputs)}} if outputs else {}
