"""``kinodepth predict``: depth for an image, a folder, a video or any recording we read."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from collections.abc import Iterator

    from kinodepth.inference.job import Summary
    from kinodepth.inference.model import DepthModel
    from kinodepth.types import Sequence

EXAMPLES = """
kinodepth predict posed_recording --save npz,mp4
kinodepth predict run drive.mp4 --out depth --save npz,mp4
kinodepth predict run drive.mp4 --fov 80 --outputs depth,flow,motion,mask,poses
kinodepth predict run drive.mp4 --fov 80 --poses rm_depth_run
kinodepth predict sc_depth_v1 photos/ --weights published.ckpt --save png16,ply --range 1,40
"""
OPTIONAL = {"source": "image, folder of images, video, or a recording in any format we read"}
REPEATED = {"set": "override one setting of the method, e.g. --set width=640; may be given again"}


def run(
    model: str,
    source: str | None = None,
    out: str | None = None,
    weights: str | None = None,
    save: str = "npz",
    outputs: str = "depth",
    device: str = "auto",
    precision: Literal["fp32", "bf16"] = "fp32",
    resolution: Literal["image", "network"] = "image",
    range: str | None = None,
    format: str | None = None,
    fov: float | None = None,
    poses: str | None = None,
    overwrite: bool = False,
    set: list[str] | None = None,
) -> int:
    """Predict depth, frame by frame in constant memory; leaves a folder with report.html.

    The same command again continues an interrupted job.

    With the recording alone, the weights that kinodepth ships for recordings with poses are used.

    Args:
        model: a run folder or weights file of kinodepth, or the name of a method; may be left out for a posed source
        out: output folder; default: the name of the source with _depth
        weights: weights for a method given by name: ours, a run folder or a published checkpoint
        save: any of npz,png16,mp4,ply
        outputs: what to predict, as far as the method can: depth,flow,motion,mask,poses
        device: auto, cpu, cuda, cuda:N or mps
        precision: fp32 or bf16
        resolution: size of the depth: image or network
        range: near,far of the colours in the unit of the depth; default: percentiles of the clip
        format: format of the source; default: detected
        fov: horizontal field of view in degrees, for a source without intrinsics
        poses: run folder or weights file whose poses to use, for a method that needs some and a video without; depth is
            then known up to one factor (dynamic_multiframe)
        overwrite: drop predictions of another source or with other settings in the output folder
    """
    import sys
    from pathlib import Path

    from rich.console import Console

    from kinodepth.cli._settings import key_values
    from kinodepth.data import open_sequence
    from kinodepth.engine.recordings import with_camera
    from kinodepth.inference.job import Options, predict_folder
    from kinodepth.inference.model import load, load_odometry, with_odometry, with_outputs
    from kinodepth.visualization.colormap import parse_range

    if source is None:
        model, source = _default_model(model, format), model
        print(
            f"{model} with the weights that kinodepth ships; `kinodepth methods --name {model}`: what they are good for"
        )
    loaded = load(model, weights, device=device, precision=precision, config=key_values(set or []))
    loaded = with_outputs(loaded, [part.strip() for part in outputs.split(",") if part.strip()])
    if poses is not None:
        loaded = with_odometry(loaded, load_odometry(poses, loaded))
    sequence = open_sequence(source, format=format)
    if fov is not None:
        sequence = with_camera(sequence, fov)
    _warn_of_poses(loaded, sequence)
    folder = Path(out) if out is not None else Path(f"{Path(source).resolve().stem}_depth")
    options = Options(
        tuple(part.strip() for part in save.split(",") if part.strip()),
        resolution,
        None if range is None else parse_range(range),
        overwrite,
        " ".join(["kinodepth", *sys.argv[1:]]),
    )
    summary = _followed(predict_folder(loaded, sequence, folder, options), len(sequence))
    console = Console(highlight=False)
    console.print(", ".join(f"{name} {_short(value)}" for name, value in summary.numbers().items()), soft_wrap=True)
    console.print(f"depth and report: {folder / 'report.html'}", soft_wrap=True)
    return 0


def _followed(summaries: Iterator[Summary], frames: int) -> Summary:
    """The last of ``summaries``, whose progress towards ``frames`` is shown."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("predict"), BarColumn(), MofNCompleteColumn(), TextColumn("{task.fields[cost]}"))
    with Progress(*columns, TimeRemainingColumn(), console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task("", total=frames, cost="")
        for summary in summaries:
            cost = summary.latency.summary().get("mean_ms")
            progress.update(task, completed=summary.frames, cost="" if cost is None else f"{cost:.0f} ms/frame")
    return summary


def _default_model(source: str, format: str | None) -> str:
    """The method whose shipped weights fit ``source``."""
    from pathlib import Path

    from kinodepth import methods
    from kinodepth.data import open_sequence
    from kinodepth.types import InputError

    if source in methods.available() or (Path(source) / "checkpoints").is_dir():
        raise InputError(
            f"{source} is a model and no source was given; expected both: kinodepth predict {source} SOURCE"
        )
    sequence = open_sequence(source, format=format)
    for name in methods.available():
        method = methods.load(name)
        if method.shipped and not method.requires.missing(method.requires.inference, sequence):
            return name
    raise InputError(
        f"{source} has no camera poses and no model was named; expected poses for the weights that kinodepth ships, or "
        f"a model; train one, then: kinodepth predict RUN {source}"
    )


def _warn_of_poses(model: DepthModel, sequence: Sequence) -> None:
    """Look at the poses before a method relies on them."""
    import warnings

    from kinodepth.data.checks.geometry import REACH
    from kinodepth.data.checks.poses import look_at_poses

    if "cam_to_world" in model.needs and "cam_to_world" in sequence.provides_somewhere:
        config = getattr(model.network, "config", None)
        reach = (getattr(config, "near", REACH[0]), getattr(config, "far", REACH[1]))
        for finding in look_at_poses(sequence, reach):
            warnings.warn(finding.message, stacklevel=2)


def _short(value: object) -> str:
    return f"{value:.1f}" if isinstance(value, float) else str(value)
