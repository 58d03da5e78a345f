"""SC-Depth's own layout: training/<scene>/*.jpg with cam.txt, depth/, leres_depth/; testing/{color, depth, seg_mask}.

Everything is matched by stem, not by position. 16-bit depth is in 1/5000 m for NYU, 1/1000 m for BONN and TUM, arrays
are in metres; NYU is known by its name in the path of the data set, ``depth_divisor`` overrides it. Only the scenes of
train.txt and val.txt are opened where these exist; training honours frame_index.txt (data/selection.py).
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from torch import Tensor

from kinodepth.data.calibration import read_camera, read_text
from kinodepth.data.images import image_size, list_images
from kinodepth.data.records import color_masks, depth_maps, sequence_of
from kinodepth.types import InputError, Sequence


def detect(path: Path) -> bool:
    training = path / "training"
    return (
        any(training.glob("*/cam.txt"))
        or (training / "train.txt").is_file()
        or (path / "testing" / "color").is_dir()
        or (path / "cam.txt").is_file()
    )


def open(path: Path, depth_divisor: float | None = None) -> list[Sequence]:
    """All training scenes, and the test images as the recording ``testing``."""
    if (path / "cam.txt").is_file():
        return [_scene(path, depth_divisor)]
    training = path / "training"
    named = [
        name for file in ("train.txt", "val.txt") if (training / file).is_file() for name in _lines(training / file)
    ]
    scenes = [training / name for name in named] or [file.parent for file in sorted(training.glob("*/cam.txt"))]
    missing = [scene for scene in scenes if not scene.is_dir()]
    if missing:
        raise InputError(
            f"{missing[0]} does not exist but is listed in train.txt or val.txt; expected a scene; correct it"
        )
    found = [_scene(scene, depth_divisor) for scene in scenes]
    if (path / "testing" / "color").is_dir():
        found.append(_testing(path / "testing", depth_divisor))
    return found


def _scene(folder: Path, divisor: float | None) -> Sequence:
    images = list_images(folder)
    if not images:
        raise InputError(f"{folder} has no images; expected .jpg files beside cam.txt; check the scene")
    camera = read_camera(folder / "cam.txt", *image_size(images[0]))
    maps = {"depth": _depths(folder / "depth", divisor), "prior_depth": depth_maps(folder / "leres_depth")}
    name = folder.resolve().name
    return sequence_of(name, images, folder, camera, maps={k: v for k, v in maps.items() if v})


def _testing(folder: Path, divisor: float | None) -> Sequence:
    maps: dict[str, dict[str, Callable[[], Tensor]]] = {"depth": _depths(folder / "depth", divisor)}
    if (folder / "seg_mask" / "dynamic_colors.txt").is_file():
        maps["mask:dynamic"] = color_masks(folder / "seg_mask")
    maps = {key: value for key, value in maps.items() if value}
    return sequence_of("testing", list_images(folder / "color"), folder, maps=maps)


def _depths(folder: Path, divisor: float | None) -> dict[str, Callable[[], Tensor]]:
    nyu = any("nyu" in part.lower() for part in folder.resolve().parts[-4:])
    return depth_maps(folder, divisor or (5000.0 if nyu else 1000.0))


def _lines(file: Path) -> list[str]:
    return [line.strip() for line in read_text(file).splitlines() if line.strip()]
