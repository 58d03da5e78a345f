"""``kinodepth train``: any method on any recording."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Callable, Mapping
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from accelerate import Accelerator
    from torch import Tensor

    from kinodepth.engine.train import Options, Progress
    from kinodepth.methods.base import Method
    from kinodepth.types import Sequence

Say = Callable[[str], None]

FIELD_OF_VIEW = 60.0  # degrees, horizontal: between a phone (65) and a compact camera; only when nothing is known
EXAMPLES = """
kinodepth train sc_depth_v1 --data drive.mp4 --out run
kinodepth train sc_depth_v1 --data kitti/ --preset kitti --set learning_rate=5e-5 --out run --resume
"""
REPEATED = {"set": "override one setting of the method, e.g. --set width=640; may be given again"}


def run(
    method: str,
    data: str | None = None,
    out: str | None = None,
    preset: str | None = None,
    steps: int | None = None,
    batch: int | None = None,
    device: str = "auto",
    precision: str = "auto",
    accumulate: int = 1,
    clip_norm: float | None = None,
    workers: int | None = None,
    seed: int = 0,
    resume: bool = False,
    weights: str | None = None,
    validation: str | None = None,
    validate_every: int | None = None,
    validate_frames: int = 40,
    save_every: int | None = None,
    fov: float | None = None,
    format: str | None = None,
    skip_checks: bool = False,
    set: list[str] | None = None,
) -> int:
    """Train a method on your recordings; leaves checkpoints, a log, pictures and report.html in the run folder.

    Several processes: torchrun --standalone --nproc-per-node=N -m kinodepth.cli.main train ... (the guide says more).

    Args:
        method: what to train; kinodepth methods lists them
        data: video, folder of images, recording in any format we read, or a folder of these; several with commas
        out: the run folder; default: runs/METHOD-DATA
        preset: settings of the method for a dataset; kinodepth methods --name METHOD lists them
        steps: optimiser steps in all; default: the method's
        batch: samples per step over all processes; default: the method's
        device: auto, cpu or cuda
        precision: of the networks: fp32, bf16, or auto: bf16 where the device has units for it; losses are always fp32
        accumulate: portions each batch is worked through in, to save memory
        clip_norm: largest gradient norm; default: no clipping
        workers: processes that read data; default: one per spare core, up to four
        seed: of every random draw
        resume: continue the run in the run folder, to the same numbers as if it had not stopped
        weights: start from these: ours, a run folder or a published checkpoint
        validation: recordings to validate on; default: the last tenth of each training recording
        validate_every: steps between validations; default: five of them in a run, at most 1000 steps apart
        validate_frames: frames in a validation, at most
        save_every: steps between checkpoints; default: after each validation and every ten minutes
        fov: horizontal field of view in degrees, for recordings without intrinsics
        format: format of the data; default: detected
        skip_checks: train without looking at the data first
    """
    given = locals()
    from rich.console import Console

    from kinodepth import methods
    from kinodepth.engine.processes import start_processes
    from kinodepth.engine.run import check_free
    from kinodepth.engine.settings import resolve
    from kinodepth.engine.train import Options, train

    chosen = methods.load(method)
    config = resolve(chosen, preset, set or ())
    folder = Path(out or f"runs/{method}-{Path((data or '').split(',')[0]).resolve().stem}")
    processes = start_processes(device, accumulate)
    say = Console(stderr=True, quiet=not processes.is_main_process, highlight=False, soft_wrap=True).print
    if processes.is_main_process:
        check_free(folder, resume)
    named_alike = {field.name: given[field.name] for field in fields(Options) if field.name in given}
    options = Options(**named_alike, command=_command(resume=True))
    start = _weights(method, weights)
    training, held = _recordings(chosen, config, given, folder / "data", processes, say)
    config, told = chosen.adapt(config, training) if chosen.adapt else (config, [])
    told = [*told, f"{method} on {_size(training)}, {_size(held)} held out for validation; run folder {folder}"]
    say("\n".join(told))
    note = {"preset": preset, "data": data, "weights": weights, "command": _command(resume=False)}
    progress = train(chosen, config, training, held, folder, options, start, note)
    if processes.is_main_process:
        _conclude(progress, folder, options, say)
    return 130 if progress.interrupted else 0


def _recordings(
    method: Method, config: Any, given: Mapping[str, Any], videos: Path, processes: Accelerator, say: Say
) -> tuple[list[Sequence], list[Sequence]]:
    """What to train on, checked, and what to validate on; videos are decoded into ``videos`` once for all processes."""
    from kinodepth.engine import recordings

    with processes.main_process_first():
        training = _open(given["data"], given["format"], given["fov"], videos, say)
        held = _open(given["validation"], given["format"], given["fov"], videos, say) if given["validation"] else []
    recordings.require(method, training)
    if processes.is_main_process and not given["skip_checks"]:
        _check(training, say)
    return (training, held) if held else recordings.hold_out(training, method.stages(config)[0])


def _conclude(progress: Progress, folder: Path, options: Options, say: Say) -> None:
    """Leave the page of the run and say what to do next."""
    from kinodepth.cli import report

    report.write(folder)
    if progress.interrupted:
        say(f"stopped after step {progress.step}, all is saved; continue with: {options.command}")
    else:
        say(f"trained {progress.step} steps; look at {folder / 'report.html'}; use: kinodepth predict {folder} CLIP")


def _open(paths: str | None, format: str | None, fov: float | None, folder: Path, say: Say) -> list[Sequence]:
    """The recordings at ``paths`` (several with commas), with cameras; videos are decoded into ``folder``."""
    from kinodepth.data import open_sequences
    from kinodepth.data.selection import training_frames
    from kinodepth.engine.recordings import decoded, with_camera
    from kinodepth.types import InputError

    if not paths:
        raise InputError("there is nothing to train on; expected a video or a folder of images; add --data PATH")
    found = [training_frames(s) for path in paths.split(",") for s in open_sequences(path, format=format)]
    blind = [sequence.name for sequence in found if "camera" not in sequence.provides]
    if blind:
        guess = fov or FIELD_OF_VIEW
        source = "as given" if fov else "a guess; give yours with --fov, or intrinsics in the folder"
        say(f"{', '.join(blind)}: no intrinsics, so a horizontal field of view of {guess:g} degrees is used ({source})")
        found = [with_camera(sequence, guess) if sequence.name in blind else sequence for sequence in found]
    return [decoded(sequence, folder, say) for sequence in found]


def _check(sequences: list[Sequence], say: Say) -> None:
    """Print what is wrong with the data; stop if it cannot teach anything."""
    from kinodepth.data.checks import check
    from kinodepth.types import InputError

    for sequence in sequences:
        for finding in check(sequence):
            if finding.severity == "fatal":
                raise InputError(f"{sequence.name}: {finding.message}; --skip-checks trains all the same")
            say(f"{sequence.name}: {finding.severity}: {finding.message}")


def _weights(method: str, path: str | None) -> Mapping[str, Tensor] | None:
    """The state dict of a weights file of ``method``."""
    if path is None:
        return None
    from kinodepth.inference.model import load

    return load(method, path, device="cpu").network.state_dict()


def _command(resume: bool) -> str:
    """This command line, to run it again."""
    words = [word for word in sys.argv[1:] if word != "--resume"]
    return shlex.join(["kinodepth", *words, *(["--resume"] if resume else [])])


def _size(sequences: list[Sequence]) -> str:
    frames = sum(len(sequence) for sequence in sequences)
    return f"{frames} frames of {len(sequences)} recording{'' if len(sequences) == 1 else 's'}"
