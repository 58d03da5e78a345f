"""Weights for posed video from rendered rooms alone: pair net, then fusion net, ready for ``kinodepth predict``.

    python examples/deep_video_mvs_weights.py [--out posed] [--processes 2]

Every step is a ``kinodepth`` command; it is printed before it runs. What is done is not done again: a folder of
recordings that is complete is kept, a run is resumed. pair.safetensors and fusion.safetensors lie in OUT in the end.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
from pathlib import Path

from demo import step

SIZE = ("--kind", "room", "--size", "320x256", "--frames", "30", "--extra=no")
SENSOR = ("--noise", "0.01", "--blur", "0.5", "--exposure", "0.1")
WORSE = ("--noise", "0.015", "--blur", "0.6", "--exposure", "0.15")
HELD_OUT = "held_out"
# Folder: number of recordings, and how they are taken.
ROOMS: dict[str, tuple[int, tuple[str, ...]]] = {
    "walking": (40, ("--seed", "1000", "--motion", "walking", "--fps", "6", *SENSOR)),
    "close": (20, ("--seed", "2000", "--motion", "handheld", "--fps", "6", "--shake", "2", "--scale", "0.5", *WORSE)),
    "still": (20, ("--seed", "3000", "--motion", "walking", "--fps", "5", "--movers=no", "--blur", "0.3")),
    "handheld": (40, ("--seed", "4000", "--motion", "handheld", "--fps", "5", "--shake", "2", *WORSE)),
    "robot": (20, ("--seed", "5000", "--motion", "driving", "--fps", "5", *SENSOR)),
    "held": (20, ("--seed", "6000", "--motion", "handheld", "--fps", "5", "--shake", "3", "--scale", "0.7",
                  "--movers=no", "--noise", "0.005")),
    HELD_OUT: (6, ("--seed", "9000", "--motion", "walking", "--fps", "6", *SENSOR)),
}  # fmt: skip


def train(method: str, out: Path, name: str, processes: int, *words: str) -> Path:
    """Train ``method`` in the run ``name`` on all rooms but the held out ones, or go on; its best weights."""
    rooms, run = out / "rooms", out / name
    data = ",".join(str(rooms / name) for name in ROOMS if name != HELD_OUT)
    command = ["train", method, "--data", data, "--validation", str(rooms / HELD_OUT), "--preset", "small"]
    command += ["--skip-checks", "--out", str(run), *words]
    command += ["--resume"] if (run / "run.json").exists() else []
    if processes == 1:
        step(*command)
    else:
        launcher = ["torch.distributed.run", "--standalone", f"--nproc-per-node={processes}"]
        command = ["-m", *launcher, "-m", "kinodepth.cli.main", *command]
        print("\n$ python", *command, flush=True)
        status = subprocess.call([sys.executable, *command], env={"OMP_NUM_THREADS": "1", **os.environ})
        if status:
            sys.exit(status)
    return run / "checkpoints" / "best.safetensors"


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--out", type=Path, default=Path("posed"))
    parser.add_argument("--processes", type=int, default=1, choices=(1, 2), help="as many as cores or GPUs")
    options = parser.parse_args()
    out: Path = options.out
    for name, (count, how) in ROOMS.items():
        if len(list((out / "rooms" / name).glob("*/timestamps.txt"))) < count:  # written last
            step("synth", out / "rooms" / name, *SIZE, "--clips", str(count), *how)
    given = options.processes
    pair = train("deep_video_mvs_pair", out, "pair", given)
    train("deep_video_mvs", out, "fusion", given, "--set", f"pretrained={pair}")
    for method, name in (("deep_video_mvs_pair", "pair"), ("deep_video_mvs", "fusion")):
        step("convert", method, out / name, out / f"{name}.safetensors", "--half")


if __name__ == "__main__":
    main()
