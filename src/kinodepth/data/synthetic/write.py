"""Synthetic recordings on disk, in the folder contract, with the exact fields beside it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from kinodepth._version import __version__
from kinodepth.data.files import atomic
from kinodepth.data.folder import write_text
from kinodepth.data.synthetic.plan import Scene
from kinodepth.data.synthetic.render import render
from kinodepth.data.synthetic.world import make_world
from kinodepth.types import Frame, InputError

DIVISORS = {"room": 4000.0, "street": 256.0}  # png depth: up to 16 m in steps of 0.25 mm, up to 255 m in steps of 4 mm


def write(scene: Scene, folder: Path, extra: bool = True) -> Iterator[Frame]:
    """Render ``scene`` into ``folder`` and yield every frame once it is written.

    ``extra`` adds optical_flow, object_motion and exact_depth as float32 npz (key ``values``). A folder that this
    scene was written to before is written again with the same bytes; ``InputError`` when it holds anything else.
    """
    divisor = DIVISORS[scene.kind]
    about = {"kinodepth": __version__, "source": "synthetic", "depth_divisor": divisor, "scale": "metric", "unit": "m",
             "fps": scene.rate, "scene": asdict(scene)}  # fmt: skip
    text = json.dumps(about, indent=1)
    known = folder / "sequence.json"
    if folder.exists() and any(folder.iterdir()) and not (known.exists() and known.read_text(encoding="utf-8") == text):
        raise InputError(
            f"{folder} is not empty and holds something else; expected a new or empty folder; choose another"
        )
    write_text(known, text)
    world = make_world(scene)
    camera = asdict(world.camera)
    write_text(folder / "intrinsics.json", json.dumps(camera, indent=1))
    poses, times = [], []
    for frame in render(world):
        _frame(folder, frame, divisor, extra)
        assert frame.cam_to_world is not None
        poses.append(" ".join([frame.name, *(repr(float(v)) for v in frame.cam_to_world.reshape(-1))]))
        times.append(f"{frame.name} {frame.timestamp!r}")
        yield frame
    write_text(folder / "poses.txt", "\n".join(poses) + "\n")
    write_text(folder / "timestamps.txt", "\n".join(times) + "\n")


def _frame(folder: Path, frame: Frame, divisor: float, extra: bool) -> None:
    assert frame.depth is not None
    _png(folder / "images" / f"{frame.name}.png", (frame.image.permute(1, 2, 0).numpy() * 255 + 0.5).astype(np.uint8))
    depth = frame.depth[0].numpy()
    steps = np.rint(depth.astype(np.float64) * divisor)
    steps[steps > 65535] = 0  # too far for the file: no measurement
    _png(folder / "depth" / f"{frame.name}.png", steps.astype(np.uint16))
    for kind in ("dynamic", "static", "movable"):
        _png(folder / "masks" / kind / f"{frame.name}.png", frame.masks[kind][0].numpy().astype(np.uint8) * 255)
    _png(folder / "masks" / "instances" / f"{frame.name}.png", frame.masks["instances"][0].numpy().astype(np.uint16))
    fields = {"exact_depth": frame.depth, **frame.extra} if extra else {}
    for name, values in fields.items():
        path = folder / "extra" / name / f"{frame.name}.npz"
        with atomic(path) as temporary:
            np.savez(temporary, values=values.numpy())


def _png(path: Path, values: NDArray[np.uint8] | NDArray[np.uint16]) -> None:
    with atomic(path) as temporary:
        Image.fromarray(values).save(temporary, compress_level=3)
