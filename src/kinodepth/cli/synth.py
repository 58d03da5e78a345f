"""``kinodepth synth``: recordings of made-up places, with everything about them known exactly."""

from __future__ import annotations

from typing import Literal

EXAMPLES = """
kinodepth synth clip --kind street --frames 60 --size 416x128
kinodepth synth rooms --kind room --clips 20 --motion walking --fov 70 --noise 0.01
"""


def run(
    out: str,
    kind: Literal["room", "street"] = "room",
    seed: int = 0,
    frames: int = 30,
    size: str = "320x256",
    motion: Literal["handheld", "walking", "driving", "rotation", "static"] | None = None,
    clips: int = 1,
    fps: float | None = None,
    fov: float | None = None,
    shake: float = 1.0,
    movers: bool = True,
    scale: float = 1.0,
    exposure: float = 0.0,
    noise: float = 0.0,
    blur: float = 0.0,
    extra: bool = True,
) -> int:
    """Render seeded rooms or streets with moving objects: images, depth, poses, flow, object motion, masks.

    Args:
        out: folder to write; with --clips above 1 a folder of recordings
        kind: room or street
        seed: the same seed and settings give the same bytes
        frames: frames per recording
        size: image size, WIDTHxHEIGHT in pixels
        motion: path of the camera; default: handheld in a room, driving in a street
        clips: number of recordings, with seeds SEED, SEED + 1, ...
        fps: frames per second; default: 10 for driving, else 15
        fov: horizontal field of view in degrees; default: drawn from the seed
        shake: how much the camera trembles; 1 is natural, 0 none
        movers: whether anything but the camera moves
        scale: of all lengths, the camera's path among them; 0.4 makes a room a doll's house, for close-range depth
        exposure: largest relative drift of the brightness, e.g. 0.2
        noise: image noise, standard deviation of 1, e.g. 0.01
        blur: image blur, pixels, e.g. 0.7
        extra: also write flow, object motion and exact depth as npz (2 MB per frame of 320x256)
    """
    from pathlib import Path

    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    from kinodepth.data.synthetic import Scene
    from kinodepth.data.synthetic.write import write
    from kinodepth.types import InputError

    width, _, height = size.partition("x")
    if not (width.isdigit() and height.isdigit()):
        raise InputError(f"--size {size!r} is not a size; expected WIDTHxHEIGHT; write for example --size 320x256")
    if clips < 1:
        raise InputError(f"--clips {clips} asks for nothing; expected 1 or more; leave it out for one recording")
    columns = (TextColumn("render"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True)) as progress:
        task = progress.add_task("", total=frames * clips)
        for number in range(seed, seed + clips):
            scene = Scene(
                number, kind, frames, int(width), int(height), motion,
                fps, fov, shake, movers, scale, exposure, noise, blur,
            )  # fmt: skip
            folder = Path(out) / f"{kind}_{number:04d}" if clips > 1 else Path(out)
            for _ in write(scene, folder, extra):
                progress.advance(task)
    Console(highlight=False).print(f"{clips} x {frames} frames of {size} pixels: {out}", soft_wrap=True)
    return 0
