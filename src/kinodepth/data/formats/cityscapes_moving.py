"""Cityscapes with depth and moving objects: gt_depths/<split>_gt_depths/<frame>.npy (metres, 0 = unknown),
gt_dynamic_object_mask/<split>_mask_class/<city>/<frame>/<i>.png, leftImg8bit/<split>/<city>/<frame>_leftImg8bit.png and
camera_trainvaltest/camera or camera/<split>/<city>/<frame>_camera.json (spec mining_supervision 2.2, 12).

Frames are those that have depth, without the bottom quarter, which shows the car itself. Moving is what covers at least
0.005 of the whole picture; no folder of masks means that nothing moves. A recording is a split.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path

import torch
from torch import Tensor

from kinodepth.data.calibration import read_json
from kinodepth.data.images import image_size, read_depth, read_image, read_mask
from kinodepth.types import Camera, InputError, Record, Sequence

KEPT = 0.75  # of the rows, from the top
LEAST = 0.005  # of the picture: smaller moving objects do not count


def detect(path: Path) -> bool:
    return next(path.glob("gt_depths/*_gt_depths/*.npy"), None) is not None


def open(path: Path) -> list[Sequence]:
    """The splits of ``path``, each as one recording."""
    folders = sorted(path.glob("gt_depths/*_gt_depths"))
    return [_split(path, folder, folder.name.removesuffix("_gt_depths")) for folder in folders]


def _split(path: Path, folder: Path, split: str) -> Sequence:
    records = [_record(path, split, file) for file in sorted(folder.glob("*.npy"))]
    return Sequence(split, records, str(folder))


def _record(path: Path, split: str, depth: Path) -> Record:
    frame, city = depth.stem, depth.stem.partition("_")[0]
    image = path / "leftImg8bit" / split / city / f"{frame}_leftImg8bit.png"
    if not image.is_file():
        raise InputError(f"{image} does not exist but {depth.name} does; expected its picture; complete the data")
    width, height = image_size(image)
    masks = path / "gt_dynamic_object_mask" / f"{split}_mask_class" / city / frame
    load = {
        "image": partial(_image, image),
        "depth": partial(_depth, depth),
        "mask:instances": partial(_instances, masks, height, width),
        "mask:dynamic": partial(_dynamic, masks, height, width),
    }
    return Record(frame, load, None, _camera(path, split, city, frame, width, height))


def _camera(path: Path, split: str, city: str, frame: str, width: int, height: int) -> Camera | None:
    for home in (path / "camera_trainvaltest" / "camera", path / "camera"):
        if (file := home / split / city / f"{frame}_camera.json").is_file():
            try:
                fx, fy, cx, cy = (float(read_json(file)["intrinsic"][key]) for key in ("fx", "fy", "u0", "v0"))
            except (KeyError, TypeError, ValueError):
                raise InputError(
                    f"{file} lacks intrinsic fx, fy, u0, v0; expected a Cityscapes camera; restore it"
                ) from None
            return Camera(fx, fy, cx, cy, width, height).crop(0, 0, width, int(KEPT * height))
    return None


def _image(file: Path) -> Tensor:
    return _upper(read_image(file))


def _depth(file: Path) -> Tensor:
    return _upper(read_depth(file))


def _upper(whole: Tensor) -> Tensor:
    return whole[:, : int(KEPT * whole.shape[1])].contiguous()


def _instances(folder: Path, height: int, width: int, least: float = 0.0) -> Tensor:
    """Ids 1.. of the moving objects that cover at least ``least`` of the whole picture, 1 x H x W int32."""
    ids = torch.zeros(1, height, width, dtype=torch.int32)
    for number, file in enumerate(sorted(folder.glob("*.png"), key=lambda f: (len(f.stem), f.stem)), 1):
        mask = read_mask(file)
        if mask.shape != ids.shape:
            raise InputError(f"{file} is {tuple(mask.shape[1:])}; expected {height} x {width}; restore it")
        if mask.float().mean() >= least:
            ids[mask] = number
    return _upper(ids)


def _dynamic(folder: Path, height: int, width: int) -> Tensor:
    return _instances(folder, height, width, LEAST) != 0
