"""How the weights that kinodepth ships were made: from rendered rooms alone, with commands that anybody can run.

    python examples/shipped_weights.py [--out shipped] [--pair-steps N] [--fusion-steps N]

Every step is a ``kinodepth`` command; it is printed before it runs. What is done is not done again: a recording that is
complete is kept, a run is resumed. The files for src/kinodepth/methods/deep_video_mvs/weights lie in OUT in the end.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from demo import step

SIZE = ("--kind", "room", "--size", "320x256", "--frames", "30", "--extra=no")
SENSOR = ("--noise", "0.01", "--blur", "0.5", "--exposure", "0.1")
WORSE = ("--noise", "0.015", "--blur", "0.6", "--exposure", "0.15")
# Folder: number of recordings, and how they are taken.
ROOMS: dict[str, tuple[int, tuple[str, ...]]] = {
    "walking": (40, ("--seed", "1000", "--motion", "walking", "--fps", "6", *SENSOR)),
    "close": (20, ("--seed", "2000", "--motion", "handheld", "--fps", "6", "--shake", "2", "--scale", "0.5", *WORSE)),
    "still": (20, ("--seed", "3000", "--motion", "walking", "--fps", "5", "--movers=no", "--blur", "0.3")),
    "handheld": (40, ("--seed", "4000", "--motion", "handheld", "--fps", "5", "--shake", "2", *WORSE)),
    "robot": (20, ("--seed", "5000", "--motion", "driving", "--fps", "5", *SENSOR)),
    "held": (20, ("--seed", "6000", "--motion", "handheld", "--fps", "5", "--shake", "3", "--scale", "0.7",
                  "--movers=no", "--noise", "0.005")),
    "held_out": (6, ("--seed", "9000", "--motion", "walking", "--fps", "6", *SENSOR)),
}  # fmt: skip


def train(method: str, rooms: Path, run: Path, steps: int, *settings: str) -> None:
    resume = ("--resume",) if (run / "run.json").exists() else ()
    data = ",".join(str(rooms / name) for name in ROOMS if name != "held_out")
    given = ("--data", data, "--validation", rooms / "held_out", "--preset", "small", "--skip-checks")
    step("train", method, *given, "--steps", str(steps), "--out", run, *settings, *resume)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--out", type=Path, default=Path("shipped"))
    parser.add_argument("--pair-steps", type=int, default=4200)
    parser.add_argument("--fusion-steps", type=int, default=2000)
    options = parser.parse_args()
    out: Path = options.out
    for name, (count, how) in ROOMS.items():
        if len(list((out / "rooms" / name).glob("*/timestamps.txt"))) < count:  # written last
            step("synth", out / "rooms" / name, *SIZE, "--clips", str(count), *how)
    train("deep_video_mvs_pair", out / "rooms", out / "pair", options.pair_steps)
    start = out / "pair" / "checkpoints" / "best.safetensors"
    train("deep_video_mvs", out / "rooms", out / "fusion", options.fusion_steps, "--set", f"pretrained={start}")
    step("convert", "deep_video_mvs_pair", out / "pair", out / "pair.safetensors", "--half")
    step("convert", "deep_video_mvs", out / "fusion", out / "fusion.safetensors", "--half")


if __name__ == "__main__":
    main()
