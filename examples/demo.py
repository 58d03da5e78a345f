"""From nothing to scored depth: shipped weights on a recording with poses, then training on a clip without.

    python examples/demo.py [--clip PATH] [--out demo_output] [--steps N]

Every step is a ``kinodepth`` command; it is printed before it runs, so that you can run it yourself.
"""

from __future__ import annotations

import argparse
import shlex
import shutil
import sys
import time
from pathlib import Path

from kinodepth import open_sequence
from kinodepth.cli.main import main as kinodepth

STEPS = 130  # about two minutes on two cores


def step(*arguments: str | Path) -> None:
    """Print and run one command; a failed one ends the demo."""
    words = [str(a) for a in arguments]
    print(f"\n$ kinodepth {shlex.join(words)}", flush=True)
    status = kinodepth(words)
    if status:
        sys.exit(status)


def posed(room: Path, out: Path) -> None:
    """Metric depth, point cloud and mesh of a recording with camera poses, from the weights that kinodepth ships."""
    depth = out / "room_depth"
    step("predict", room, "--out", depth, "--save", "npz,mp4")
    if "depth" in open_sequence(room).provides:
        against = ("--data", room, "--protocol", "deep_video_mvs", "--baseline", "constant")
        step("evaluate", depth, *against, "--out", out / "room_evaluation")
    step("pointcloud", depth, "--out", out / "room.ply")
    step("mesh", depth, "--out", out / "room.glb", "--voxel", "0.04")


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--clip", type=Path, help="a video or folder of your own (default: a rendered street)")
    parser.add_argument("--out", type=Path, default=Path("demo_output"))
    parser.add_argument("--steps", type=int, default=STEPS)
    options = parser.parse_args()
    start = time.monotonic()
    out: Path = options.out
    if out.exists() and not (out / "demo").exists():
        sys.exit(f"{out} exists and is not a demo's output; choose another --out")
    shutil.rmtree(out, ignore_errors=True)
    out.mkdir(parents=True)
    (out / "demo").touch()
    clip = options.clip or out / "clip"
    room = options.clip or out / "room"
    if options.clip is None:
        walk = ("--kind", "room", "--motion", "walking", "--movers", "false", "--extra", "false")
        step("synth", room, *walk, "--frames", "40", "--seed", "11")
    if {"camera", "cam_to_world"} <= open_sequence(room).provides:
        posed(room, out)
        print(f"\nposed video to depth, points and mesh in {time.monotonic() - start:.0f} s; now depth without poses")
    if options.clip is None:
        step("synth", clip, "--kind", "street", "--frames", "60", "--size", "384x128", "--seed", "7")
    step("check", clip)
    recipe = ("--preset", "demo", "--steps", str(options.steps))
    step("train", "sc_depth_v1", "--data", clip, "--out", out / "run", *recipe)
    step("predict", out / "run", clip, "--out", out / "depth", "--save", "npz,mp4")
    page = out / "depth" / "report.html"
    if "depth" in open_sequence(clip).provides:
        against = ("--data", clip, "--protocol", "generic", "--baseline", "constant")
        step("evaluate", out / "depth", *against, "--out", out / "evaluation")
        page = out / "evaluation" / "report.html"
    print(f"\ndone in {time.monotonic() - start:.0f} s; look at {page.resolve()}")


if __name__ == "__main__":
    main()
