"""Peak memory of predicting a short and a long recording, each in its own process: the ratio should be 1.

    python benchmarks/memory.py [--method sc_depth_v1] [--short 100] [--long 2000]
    python benchmarks/memory.py --live --method deep_video_mvs --long 10000 --size 96x64

Reading, prediction and the writers npz and mp4 take part. Frames are made when they are read. ``--live`` streams frames
and poses (a camera that walks round in a circle, a pose a line) through what ``kinodepth live`` is made of, npz
included, in one process, and compares its resident size after the short and the long stretch.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import subprocess
import sys
import tempfile
import warnings
from collections.abc import Iterator
from functools import partial
from pathlib import Path

HEIGHT, WIDTH = 128, 416


def measure(method: str, frames: int) -> int:
    """Predict that many frames in this process and return its peak resident size in bytes."""
    import torch

    import kinodepth as kd
    from kinodepth.inference.job import Options, predict_folder
    from kinodepth.types import Camera, Record, Sequence

    def read(index: int) -> torch.Tensor:
        return torch.rand(3, HEIGHT, WIDTH, generator=torch.Generator().manual_seed(index))

    warnings.simplefilter("ignore")
    camera = Camera(300, 300, WIDTH / 2, HEIGHT / 2, WIDTH, HEIGHT)
    records = [Record(f"{i:06d}", {"image": partial(read, i)}, i / 10, camera) for i in range(frames)]
    model = kd.load(method, config=network_size(method))
    with tempfile.TemporaryDirectory() as folder:
        *_, summary = predict_folder(model, Sequence("made", records), Path(folder) / "out", Options(("npz", "mp4")))
    return summary.peak_bytes or 0


def network_size(method: str) -> dict[str, int]:
    """Settings for a network of the size of the frames, where a method has them (a width alone is another width)."""
    import kinodepth as kd

    size = {"height": HEIGHT, "width": WIDTH}
    return size if set(size) <= set(kd.methods.load(method).config.__dataclass_fields__) else {}


class Walk:
    """Poses as lines of JSON, a few at a time: once round a circle of 1 m in 125 frames, looking outwards."""

    ended = False

    def __init__(self) -> None:
        self.sent = 0

    def poll(self) -> list[str]:
        lines = []
        for number in range(self.sent, self.sent + 8):
            angle = 2 * math.pi * number / 125
            s, c = math.sin(angle), math.cos(angle)
            matrix = [c, 0, s, s, 0, 1, 0, 0, -s, 0, c, c, 0, 0, 0, 1]
            lines.append(json.dumps({"timestamp": number / 10, "cam_to_world": matrix}))
        self.sent += len(lines)
        return lines


def resident() -> int:
    """The resident size of this process in bytes."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


def stream(method: str, short: int, long: int) -> list[int]:
    """Stream ``long`` frames and return the resident size at frame ``short`` and at the last."""
    import torch

    import kinodepth as kd
    from kinodepth.data.trajectory import PoseFeed
    from kinodepth.inference import live
    from kinodepth.inference.live_folder import LiveFolder
    from kinodepth.types import Camera, Frame

    warnings.simplefilter("ignore")
    camera = Camera(0.9 * WIDTH, 0.9 * WIDTH, WIDTH / 2, HEIGHT / 2, WIDTH, HEIGHT)
    model = kd.load(method, config=network_size(method))
    sizes: list[int] = []

    def frames() -> Iterator[tuple[int, Frame]]:
        for number in range(long):
            if number in (short, long - 1):  # while it runs: in the end the predictor is let go
                sizes.append(resident())
            image = torch.rand(3, HEIGHT, WIDTH, generator=torch.Generator().manual_seed(number))
            yield number, Frame(f"{number:06d}", image, number / 10, camera)

    counters = live.Counters()
    taken = live.posed(live.every(frames(), counters), counters, PoseFeed(Walk(), "json"))
    with (
        tempfile.TemporaryDirectory() as folder,
        LiveFolder(Path(folder) / "out", model, "made", ("npz",), "network", "") as out,
    ):
        for frame, prediction in live.live(model, taken, counters, "network"):
            out.write(frame, prediction)
    print(counters.sentence())
    return sizes


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--method", default="sc_depth_v1")
    parser.add_argument("--short", type=int, default=100)
    parser.add_argument("--long", type=int, default=2000)
    parser.add_argument("--live", action="store_true", help="stream frames and poses, compare resident sizes")
    parser.add_argument("--size", help="WIDTHxHEIGHT of the frames and the network")
    parser.add_argument("--frames", type=int, help="measure that many in this process and print bytes")
    options = parser.parse_args()
    if options.size:
        globals().update(zip(("WIDTH", "HEIGHT"), map(int, options.size.split("x"))))
    if options.live:
        sizes = stream(options.method, options.short, options.long)
        for frames, size in zip((options.short, options.long), sizes):
            print(f"{frames:6d} frames: resident {size / 2**20:7.1f} MiB")
        print(f"ratio {sizes[1] / sizes[0]:.3f}")
        return
    if options.frames:
        print(measure(options.method, options.frames))
        return
    peaks = []
    for frames in (options.short, options.long):
        command = [sys.executable, __file__, "--method", options.method, "--frames", str(frames)]
        command += ["--size", options.size] if options.size else []
        peaks.append(int(subprocess.run(command, check=True, capture_output=True, text=True).stdout.split()[-1]))
        print(f"{frames:6d} frames: peak {peaks[-1] / 2**20:7.1f} MiB", flush=True)
    print(f"ratio {peaks[1] / peaks[0]:.3f}")


if __name__ == "__main__":
    main()
