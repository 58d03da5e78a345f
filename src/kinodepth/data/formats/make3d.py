"""Make3D test set: Test134/img-<name>.jpg and Gridlaserdata/depth_sph_corr-<name>.mat (55 x 305 depths).

Image and depth are cut to the central part twice as wide as high, as depth is scored on it (spec rm_depth 8). Depth
keeps its own coarse size.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path

import torch
from scipy.io import loadmat
from scipy.io.matlab import MatReadError
from torch import Tensor

from kinodepth.data.images import read_image
from kinodepth.types import InputError, Record, Sequence

IMAGES, DEPTHS = "Test134", "Gridlaserdata"


def detect(path: Path) -> bool:
    return (path / IMAGES).is_dir() and (path / DEPTHS).is_dir()


def open(path: Path) -> list[Sequence]:
    records = []
    for image in sorted((path / IMAGES).glob("img-*.jpg")):
        name = image.stem.removeprefix("img-")
        load = {"image": partial(_middle_image, image)}
        depth = path / DEPTHS / f"depth_sph_corr-{name}.mat"
        if depth.is_file():
            load["depth"] = partial(_depth, depth, image)
        records.append(Record(name, load))
    if not records:
        raise InputError(f"{path / IMAGES} has no img-*.jpg; expected the Make3D test images; check the folder")
    return [Sequence("make3d", records, str(path))]


def _rows(height: int, share: float) -> slice:
    """The central ``share`` of ``height`` rows, to the nearest row."""
    top = round(height * (1 - share) / 2)
    return slice(top, round(height * (1 + share) / 2))


def _share(image: Tensor) -> float:
    """How much of the height is half the width."""
    return min(1.0, image.shape[-1] / 2 / image.shape[-2])


def _middle_image(file: Path) -> Tensor:
    image = read_image(file)
    return image[:, _rows(image.shape[-2], _share(image))]


def _depth(file: Path, image: Path) -> Tensor:
    """1 x rows x columns float32 metres of the part that the image shows."""
    try:
        grid = loadmat(file)["Position3DGrid"]
    except (KeyError, ValueError, OSError, NotImplementedError, MatReadError):
        raise InputError(f"{file} has no Position3DGrid; expected a Make3D laser grid; download it again") from None
    depth = torch.from_numpy(grid[..., 3].astype("float32"))[None]
    return depth[:, _rows(depth.shape[-2], _share(read_image(image)))].contiguous()
