"""Weights for posed video from rendered rooms alone: pair net, then fusion net, ready for ``kinodepth predict``.

    python examples/deep_video_mvs_weights.py [--out posed] [--processes 2]

Every step but the last is a ``kinodepth`` command; it is printed before it runs. What is done is not done again: a
folder of recordings that is complete is kept, a run is resumed. pair.safetensors and fusion.safetensors lie in OUT in
the end.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import torch
from demo import step

import kinodepth as kd
from kinodepth.methods.weights import save_weights

SIZE = ("--kind", "room", "--size", "320x256", "--frames", "30", "--extra=no")
SENSOR = ("--noise", "0.01", "--blur", "0.5", "--exposure", "0.1")
WORSE = ("--noise", "0.015", "--blur", "0.6", "--exposure", "0.15")
HELD_OUT = "held_out"
# Folder: number of recordings, and how they are taken.
ROOMS: dict[str, tuple[int, tuple[str, ...]]] = {
    "walking": (50, ("--seed", "1000", "--motion", "walking", "--fps", "6", *SENSOR)),
    "close": (25, ("--seed", "2000", "--motion", "handheld", "--fps", "6", "--shake", "2", "--scale", "0.5", *WORSE)),
    "still": (25, ("--seed", "3000", "--motion", "walking", "--fps", "5", "--movers=no", "--blur", "0.3")),
    "handheld": (50, ("--seed", "4000", "--motion", "handheld", "--fps", "5", "--shake", "2", *WORSE)),
    "robot": (25, ("--seed", "5000", "--motion", "driving", "--fps", "5", *SENSOR)),
    "held": (25, ("--seed", "6000", "--motion", "handheld", "--fps", "5", "--shake", "3", "--scale", "0.7",
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


def halfway(pair: Path, fusion: Path, out: Path) -> None:
    """Write the mean of the fusion net's weights when its training began, from the pair net, and when it ended.

    What is learnt from rendered rooms alone fits other places better halfway (Wortsman et al., CVPR 2022, who do it
    with large image models). Half is their rule; other shares were not tried.
    """
    network = kd.load("deep_video_mvs", fusion, device="cpu").network
    start = kd.methods.load("deep_video_mvs").build(replace(network.config, pretrained=str(pair))).state_dict()
    with torch.no_grad():
        for name, values in network.state_dict().items():
            if values.is_floating_point():
                values.copy_((values + start[name]) / 2)
    save_weights(out, network, "deep_video_mvs", {"halfway_between": [pair.name, fusion.name]}, half=True)


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
    step("convert", "deep_video_mvs_pair", pair, out / "pair.safetensors", "--half")
    fusion = train("deep_video_mvs", out, "fusion", given, "--set", f"pretrained={out / 'pair.safetensors'}")
    halfway(out / "pair.safetensors", fusion, out / "fusion.safetensors")


if __name__ == "__main__":
    main()
