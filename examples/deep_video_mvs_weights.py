"""Weights for posed video from rendered rooms alone: pair net, then fusion net, ready for ``kinodepth predict``.

    python examples/deep_video_mvs_weights.py [--out posed] [--pair-steps N] [--fusion-steps N] [--processes 2]

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
# Wide scales: with the published range of 1.5 the pair net learnt how large rooms are, and failed in real ones.
SETTINGS = ("largest_scale=2.5", "matching_weight=0.3", "learning_rate=3e-4")


def train(method: str, rooms: Path, run: Path, steps: int, processes: int, *settings: str) -> None:
    """Train ``method`` on all rooms but the held out ones, or go on."""
    data = ",".join(str(rooms / name) for name in ROOMS if name != HELD_OUT)
    words = ["train", method, "--data", data, "--validation", str(rooms / HELD_OUT), "--preset", "small"]
    words += ["--batch", str(2 * processes), "--steps", str(steps), "--skip-checks", "--out", str(run)]
    words += [word for setting in (*SETTINGS, *settings) for word in ("--set", setting)]
    words += ["--resume"] if (run / "run.json").exists() else []
    if processes == 1:
        step(*words)
        return
    launcher = ["torch.distributed.run", "--standalone", f"--nproc-per-node={processes}", "-m", "kinodepth.cli.main"]
    print("\n$ torchrun", *launcher[1:], *words, flush=True)
    status = subprocess.call([sys.executable, "-m", *launcher, *words], env={"OMP_NUM_THREADS": "1", **os.environ})
    if status:
        sys.exit(status)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--out", type=Path, default=Path("posed"))
    parser.add_argument("--pair-steps", type=int, default=8000)
    parser.add_argument("--fusion-steps", type=int, default=4000)
    parser.add_argument("--processes", type=int, default=1, help="as many as cores or GPUs; the batch grows with them")
    options = parser.parse_args()
    out: Path = options.out
    for name, (count, how) in ROOMS.items():
        if len(list((out / "rooms" / name).glob("*/timestamps.txt"))) < count:  # written last
            step("synth", out / "rooms" / name, *SIZE, "--clips", str(count), *how)
    given = options.processes
    train("deep_video_mvs_pair", out / "rooms", out / "pair", options.pair_steps, given)
    start = out / "pair" / "checkpoints" / "best.safetensors"
    train("deep_video_mvs", out / "rooms", out / "fusion", options.fusion_steps, given, f"pretrained={start}")
    for method, name in (("deep_video_mvs_pair", "pair"), ("deep_video_mvs", "fusion")):
        step("convert", method, out / name, out / f"{name}.safetensors", "--half")


if __name__ == "__main__":
    main()
