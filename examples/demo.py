"""From nothing to scored depth: render (or take) a clip, check it, train on it, predict, evaluate.

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
