"""KITTI odometry as Dynamic-multiframe-depth is trained and scored on it (spec dynamic_multiframe 11), 256 x 512.

As ``kitti_odometry`` beside poses_dvso/NN.txt, sequences/NN/image_depth_annotated/NNNNNN.png (16 bit, 1/256 m) and
sequences/NN/mvobj_mask/NNNNNN.npy (of 256 x 512 pixels). Frames without annotated depth have an empty map. Only with
``--format``: the same folder in its own size, and with its true camera, is ``kitti_odometry``.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from kinodepth.data.centre_crop import Box, centre_crop, sparse_resize
from kinodepth.data.formats import kitti_odometry
from kinodepth.data.images import image_size, read_array, read_depth
from kinodepth.data.kitti import matrix, read_calibration
from kinodepth.data.records import by_stem, images_in, joined
from kinodepth.types import Camera, Record, Sequence

TRAIN, TEST = ("01", "02", "06", "08", "09", "10"), ("00", "04", "05", "07")  # sequences, as published


def detect(path: Path) -> bool:
    return False


def open(
    path: Path,
    poses: Literal["dvso", "official"] = "dvso",
    size: tuple[int, int] = (256, 512),
    gray: bool = False,
) -> list[Sequence]:
    """The recordings of ``path`` at ``size`` (height, width); ``gray`` reads camera 0. Poses are used as they are.

    Raises ``InputError`` for a sequence without that pose file.
    """
    return [_sequence(folder, poses, size, gray) for folder in kitti_odometry.folders(path)]


def _sequence(folder: Path, poses: Literal["dvso", "official"], size: tuple[int, int], gray: bool) -> Sequence:
    images = images_in(folder / ("image_0" if gray else "image_2"))
    file = folder / "calib.txt"
    projection = matrix(read_calibration(file), "P0" if gray else "P2", file)
    height, width = size
    native = Camera.from_matrix(projection[:3, :3], *image_size(images[0]))
    box, camera = centre_crop(native, width, height, "published")
    stems = [image.stem for image in images]
    depths = by_stem(folder / "image_depth_annotated", (".png",))
    masks = by_stem(folder / "mvobj_mask", (".npy",))
    maps = {
        "depth": {s: partial(read_sparse, depths.get(s), box, size) for s in stems} if depths else {},
        "mask:dynamic": {s: partial(_mask, path) for s, path in masks.items()},
    }
    records = [Record(image.stem, {"image": partial(_image, image, box, size)}) for image in images]
    sequence = Sequence(folder.resolve().name, records, str(folder))
    found = kitti_odometry.read_poses(folder, stems, poses)
    return joined(
        sequence, camera, found, kitti_odometry.read_times(folder, stems), {k: v for k, v in maps.items() if v}
    )


def _image(path: Path, box: Box, size: tuple[int, int]) -> Tensor:
    with Image.open(path) as image:
        small = image.convert("RGB").crop(box).resize((size[1], size[0]), Image.Resampling.BILINEAR)
    return torch.from_numpy(np.array(small)).permute(2, 0, 1).contiguous().float().div_(255)


def read_sparse(path: Path | None, box: Box, size: tuple[int, int]) -> Tensor:
    """Annotated depth of the window ``box`` at ``size``, 1 x H x W metres, as published; empty without a file."""
    if path is None:
        return torch.zeros(1, *size)
    left, top, right, bottom = box
    return sparse_resize(read_depth(path, 256.0)[None, :, top:bottom, left:right], *size, "published")[0]


def _mask(path: Path) -> Tensor:
    return torch.from_numpy(read_array(path) > 0.5).reshape(1, *read_array(path).shape[-2:])
