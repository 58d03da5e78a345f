"""The one folder contract (docs/data.md): images or a video, and what is known about them, matched by file stem.

images/<stem>.jpg or video.mp4 · intrinsics.json or .txt · poses.txt (stem and 16 numbers, cam_to_world, NaN = lost)
timestamps.txt (stem seconds) · depth/<stem>.png, .npy or .npz · masks/<kind>/<stem>.png · prior/<stem>.*
prior/prior.json (what the prior is) · extra/<name>/<stem>.npz · sequence.json (depth_divisor, prior_divisor, ...)
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from torch import Tensor

from kinodepth.data import video
from kinodepth.data.calibration import pose_from_row, read_camera, read_json, read_named
from kinodepth.data.files import atomic
from kinodepth.data.images import image_size, read_depth, read_map
from kinodepth.data.records import array_maps, depth_maps, images_in, joined, mask_maps, sequence_of
from kinodepth.geometry.depth import invert_depth, relative_inverse_to_depth
from kinodepth.types import Frame, InputError, Sequence

PRIOR = {
    "quantity": ("depth", "inverse_depth"),
    "scale": ("affine", "metric"),
}  # in prior.json; the first is the default


def is_folder(path: Path) -> bool:
    """Whether ``path`` looks like the folder contract."""
    return (path / "sequence.json").is_file() or (
        ((path / "images").is_dir() or (path / "video.mp4").is_file())
        and any((path / name).exists() for name in ("intrinsics.json", "intrinsics.txt", "masks"))
    )


def open_folder(path: Path) -> Sequence:
    """The recording in a folder of the contract. Raises ``InputError`` for what does not fit together."""
    sequence, width, height = _pictures(path)
    about = read_about(path)
    known = [p for p in (path / "intrinsics.json", path / "intrinsics.txt") if p.is_file()]
    camera = read_camera(known[0], width, height) if known else None
    poses = None
    if (path / "poses.txt").is_file():
        rows = read_named(path / "poses.txt")
        lost = {stem for stem, row in rows.items() if row and not np.isfinite(row).all()}
        poses = {
            stem: pose_from_row(row, f"{path / 'poses.txt'}, frame {stem}")
            for stem, row in rows.items()
            if stem not in lost or len(lost) == len(rows)
        }
        without = [record.name for record in sequence.records if record.name not in rows]
        if without:
            raise InputError(
                f"{path / 'poses.txt'} has no pose for {len(without)} of {len(sequence)} frames, such as {without[0]}; "
                "expected one row per image, of NaN where tracking was lost; complete it or remove those images"
            )
    times: dict[str, list[float]] = {}
    if (path / "timestamps.txt").is_file():
        times = read_named(path / "timestamps.txt")
        odd = next((stem for stem, row in times.items() if len(row) != 1 or not math.isfinite(row[0])), None)
        if odd is not None:
            raise InputError(
                f"{path / 'timestamps.txt'}, frame {odd}: found {times[odd]}; expected the time in seconds; correct it"
            )
    maps = {"depth": depth_maps(path / "depth", _divisor(path, about, "depth_divisor", 1000.0))}
    maps["prior_depth"] = prior_maps(path / "prior", _divisor(path, about, "prior_divisor", 1.0))
    for kind in _children(path / "masks"):
        maps[f"mask:{kind.name}"] = mask_maps(kind, ids=kind.name == "instances")
    for kind in _children(path / "extra"):
        maps[f"extra:{kind.name}"] = array_maps(kind)
    return joined(
        sequence, camera, poses, {k: row[0] for k, row in times.items()}, {k: v for k, v in maps.items() if v}
    )


def prior_maps(folder: Path, divisor: float = 1.0) -> dict[str, Callable[[], Tensor]]:
    """Readers, by stem, of another network's depth: larger where farther, 0 = none.

    prior.json says what the files hold: {"quantity": "depth" or "inverse_depth", "scale": "metric" or "affine"};
    without it depth up to factor and shift. Inverse depth becomes depth: 1 / value where it is metric (none at 0 and
    below), else as ``relative_inverse_to_depth``.
    """
    about = read_json(folder / "prior.json") if (folder / "prior.json").is_file() else {}
    found = []
    for key, known in PRIOR.items():
        found.append(about.get(key, known[0]))
        if found[-1] not in known:
            raise InputError(
                f"{folder / 'prior.json'}: {key} is {found[-1]!r}; expected one of {', '.join(known)}; correct it"
            )
    if found[0] == "depth":
        return depth_maps(folder, divisor)
    is_metric = found[1] == "metric"
    readers = depth_maps(folder, divisor, read_depth if is_metric else read_map)
    convert = invert_depth if is_metric else relative_inverse_to_depth
    return {stem: partial(_converted, read, convert) for stem, read in readers.items()}


def _converted(read: Callable[[], Tensor], convert: Callable[[Tensor], Tensor]) -> Tensor:
    return convert(read())


def home(sequence: Sequence) -> Path:
    """The folder in which the files that go with ``sequence``, as it was opened from disk, lie."""
    source = Path(sequence.source)
    return source.parent if source.name == "video.mp4" and is_folder(source.parent) else source


def _pictures(path: Path) -> tuple[Sequence, int, int]:
    """The recording without what is known about it, and the width and height of its first picture."""
    name = path.resolve().name
    if (path / "images").is_dir() or not (path / "video.mp4").is_file():
        images = images_in(path / "images")
        return sequence_of(name, images, path), *image_size(images[0])
    film = video.open_video(path / "video.mp4", name)
    height, width = film.read(0).image.shape[-2:]
    return film, width, height


def read_about(path: Path) -> dict[str, Any]:
    """The content of sequence.json, empty if there is none."""
    file = path / "sequence.json"
    if not file.is_file():
        return {}
    return read_json(file)


def _divisor(path: Path, about: dict[str, Any], key: str, default: float) -> float:
    value = about.get(key, default)
    if not isinstance(value, int | float) or not value > 0:
        raise InputError(f"{path / 'sequence.json'}: {key} is {value!r}; expected a number above 0; correct it")
    return float(value)


def write_folder(
    frames: Iterator[Frame], out: Path, about: dict[str, Any], depth_divisor: float = 1000.0, quality: int = 95
) -> Iterator[str]:
    """Write ``frames`` into the folder ``out`` and yield their names; frames that are there already are kept.

    Images become JPEG of ``quality`` (4:4:4), depth 16-bit PNG in steps of 1 / ``depth_divisor``. Small text files and
    sequence.json come last: with them the folder is complete.
    """
    poses, times, camera, lost = [], [], None, True
    for frame in frames:
        _write_frame(frame, out, depth_divisor, quality)
        camera = camera or frame.camera
        known = frame.cam_to_world is not None
        lost = lost and not known
        pose = [math.nan] * 16 if frame.cam_to_world is None else frame.cam_to_world.double().flatten().tolist()
        poses.append(" ".join([frame.name, *(f"{v:.17g}" for v in pose)]))
        if frame.timestamp is not None:
            times.append(f"{frame.name} {frame.timestamp!r}")
        yield frame.name
    if camera is not None:
        write_text(out / "intrinsics.json", json.dumps(asdict(camera), indent=1) + "\n")
    for name, rows in (("poses.txt", [] if lost else poses), ("timestamps.txt", times)):
        if rows:
            write_text(out / name, "\n".join(rows) + "\n")
    write_text(out / "sequence.json", json.dumps({**about, "depth_divisor": depth_divisor}, indent=1) + "\n")


def write_text(path: Path, text: str) -> None:
    with atomic(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def _write_frame(frame: Frame, out: Path, divisor: float, quality: int) -> None:
    pixels = (frame.image * 255).round().clamp(0, 255).byte().permute(1, 2, 0).numpy()
    _save(out / "images" / f"{frame.name}.jpg", pixels, quality=quality, subsampling=0)
    if frame.depth is not None:
        steps = np.rint(frame.depth[0].numpy().astype(np.float64) * divisor)
        _save(out / "depth" / f"{frame.name}.png", np.where(steps > 65535, 0, steps).astype(np.uint16))
    if frame.prior_depth is not None:
        path = out / "prior" / f"{frame.name}.npy"
        if not path.exists():
            with atomic(path) as temporary:
                np.save(temporary, frame.prior_depth[0].numpy())
    for kind, mask in frame.masks.items():
        values = mask[0].numpy()
        as_stored = values.astype(np.uint8) * 255 if values.dtype == bool else values.astype(np.uint16)
        _save(out / "masks" / kind / f"{frame.name}.png", as_stored)


def _save(path: Path, values: np.ndarray, **options: Any) -> None:
    if not path.exists():
        with atomic(path) as temporary:
            Image.fromarray(values).save(temporary, **options)


def _children(folder: Path) -> list[Path]:
    return sorted(p for p in folder.iterdir() if p.is_dir()) if folder.is_dir() else []
