"""Peak memory of predicting a short and a long recording, each in its own process: the ratio should be 1.

    python benchmarks/memory.py [--method sc_depth_v1] [--short 100] [--long 2000]

Reading, prediction and the writers npz and mp4 take part. Frames are made when they are read.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import warnings
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
    known = kd.methods.load(method).config.__dataclass_fields__
    model = kd.load(method, config={k: v for k, v in (("height", HEIGHT), ("width", WIDTH)) if k in known})
    with tempfile.TemporaryDirectory() as folder:
        *_, summary = predict_folder(model, Sequence("made", records), Path(folder) / "out", Options(("npz", "mp4")))
    return summary.peak_bytes or 0


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--method", default="sc_depth_v1")
    parser.add_argument("--short", type=int, default=100)
    parser.add_argument("--long", type=int, default=2000)
    parser.add_argument("--frames", type=int, help="measure that many in this process and print bytes")
    options = parser.parse_args()
    if options.frames:
        print(measure(options.method, options.frames))
        return
    peaks = []
    for frames in (options.short, options.long):
        command = [sys.executable, __file__, "--method", options.method, "--frames", str(frames)]
        peaks.append(int(subprocess.run(command, check=True, capture_output=True, text=True).stdout.split()[-1]))
        print(f"{frames:6d} frames: peak {peaks[-1] / 2**20:7.1f} MiB", flush=True)
    print(f"ratio {peaks[1] / peaks[0]:.3f}")


if __name__ == "__main__":
    main()
