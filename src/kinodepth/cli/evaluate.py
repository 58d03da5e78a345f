"""``kinodepth evaluate``: score a folder of predictions, or a checkpoint, under a named protocol."""

from __future__ import annotations

from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from kinodepth.data.predictions import Predictions
    from kinodepth.evaluation import Protocol, Result
    from kinodepth.types import Prediction, Sequence

EXAMPLES = """
kinodepth evaluate depth --data drive --protocol generic
kinodepth evaluate run --data kitti_0013 --protocol kitti_eigen_raw --baseline constant,row_median
kinodepth evaluate depths --data sevenscenes --protocol deep_video_mvs
kinodepth evaluate their_npy --data testing --protocol sc_depth_ddad --seg-mask testing/seg_mask
"""


def run(
    predictions: str,
    data: str | None = None,
    protocol: str = "generic",
    out: str | None = None,
    format: str | None = None,
    mask: str | None = None,
    seg_mask: str | None = None,
    split: str | None = None,
    baseline: str = "",
    baseline_data: str | None = None,
    quantity: str | None = None,
    scale: str | None = None,
    unit: str | None = None,
    png_divisor: float | None = None,
    device: str = "auto",
) -> int:
    """Score predictions against recorded depth: every alignment, region and averaging, with the protocol.

    Leaves evaluation.json, frames.csv (one row per frame, alignment and region) and report.html. Predictions are
    matched to frames by name. A checkpoint is first predicted to disk, then scored. Where the data are several
    recordings, each is scored (the predictions are folders of their names), and all their frames together.

    Args:
        predictions: folder of predictions (ours, or any npz, npy, png by frame name), weights, run folder or method
        data: recording with depth, or a folder of several
        protocol: what to compare how; docs/protocols.md lists the names
        out: output folder; default: the name of the predictions with _evaluation
        format: format of the data; default: detected
        mask: which mask makes the regions: dynamic, instances or movable; default: dynamic, else instances
        seg_mask: folder of RGB segmentation masks with dynamic_colors.txt, matched by name
        split: text file with the names of the frames to score, one a line; its hash is stored
        baseline: trivial predictors to compare with: constant, row_median or both
        baseline_data: recording the row medians are learnt on; default: the data themselves
        quantity: what a foreign folder holds: depth or inverse_depth
        scale: how far a foreign folder can be trusted: metric, up_to_scale or affine
        unit: unit of a foreign folder, e.g. m
        png_divisor: stored value / divisor = depth in a foreign folder of 16-bit PNG
        device: where to run a checkpoint: auto, cpu, cuda, cuda:N or mps
    """
    from kinodepth.cli._scores import show
    from kinodepth.data import open_sequences
    from kinodepth.evaluation import protocols
    from kinodepth.types import InputError

    if data is None:
        raise InputError("no data given; expected a recording with depth to score against; add --data PATH")
    task = _Task(
        data, protocols.get(protocol), mask, seg_mask, split, _baseline_names(baseline), baseline_data,
        quantity, scale, unit, png_divisor, device,
    )  # fmt: skip
    sequences = open_sequences(data, format=format)
    folder = Path(out) if out is not None else Path(f"{Path(predictions).resolve().stem}_evaluation")
    if len(sequences) > 1:
        _score_all(task, Path(predictions), sequences, folder)
        return 0
    show(_score(task, Path(predictions), sequences[0], folder))
    print(f"tables, rows and pictures: {folder / 'report.html'}")
    return 0


class _Task(NamedTuple):
    """What ``run`` was told, whatever the recording."""

    data: str
    protocol: Protocol
    mask: str | None
    seg_mask: str | None
    split: str | None
    baselines: list[str]
    baseline_data: str | None
    quantity: str | None
    scale: str | None
    unit: str | None
    png_divisor: float | None
    device: str


def _score(task: _Task, predictions: Path, sequence: Sequence, folder: Path) -> dict[str, Result]:
    """Results of the predictions and the baselines on one recording, written to ``folder``."""
    import sys

    from kinodepth.cli._scores import write
    from kinodepth.data.predictions import open_predictions
    from kinodepth.evaluation import evaluate

    protocol = task.protocol
    if task.seg_mask is not None:
        sequence = _with_color_masks(sequence, Path(task.seg_mask))
    if task.split is not None:
        sequence, protocol = _split(sequence, protocol, Path(task.split))
    folder.mkdir(parents=True, exist_ok=True)
    source = _predictions_folder(str(predictions), sequence, folder, task.device)
    ours = open_predictions(source, task.quantity, task.scale, task.png_divisor, task.unit)
    with _progress(f"score {sequence.name}") as progress:
        results = {"predictions": evaluate(ours, sequence, protocol, task.mask, progress)}
    scored = set(results["predictions"].names)
    same = sequence.select([index for index, record in enumerate(sequence.records) if record.name in scored])
    for label, trivial in _baselines(task.baselines, same, task.baseline_data).items():
        with _progress(label) as progress:
            results[label] = evaluate(trivial, same, protocol, task.mask, progress)
    about: dict[str, Any] = {
        key: ours.about[key] for key in ("method", "weights", "weights_sha256") if key in ours.about
    }
    facts: dict[str, Any] = {"predictions": str(source), "data": task.data, **about}
    facts["command"] = " ".join(["kinodepth", *sys.argv[1:]])
    predicts_poses = "poses" in ours.about.get("outputs", {}) or "poses_by" in ours.about
    if predicts_poses and (errors := _trajectory(ours, sequence)):
        facts["trajectory"] = errors
        print("predicted trajectory: " + ", ".join(f"{name} {value:.6g}" for name, value in errors.items()))
    write(folder, results, ours, sequence, facts)
    return results


def _trajectory(predictions: Predictions, sequence: Sequence) -> dict[str, float]:
    """Errors of the predicted poses where the recording has some too; nothing for fewer than two."""
    import torch

    from kinodepth.evaluation.trajectory import trajectory_errors

    poses = {name: row["cam_to_world"] for name, row in predictions.frames.items() if row.get("cam_to_world")}
    both = [(poses[record.name], record.cam_to_world) for record in sequence.records if record.name in poses]
    pairs = [(torch.tensor(own, dtype=torch.float64), true) for own, true in both if true is not None]
    known = [(own, true) for own, true in pairs if own.isfinite().all() and true.isfinite().all()]
    return trajectory_errors(*map(torch.stack, zip(*known))) if len(known) > 1 else {}


def _score_all(task: _Task, predictions: Path, sequences: list[Sequence], folder: Path) -> None:
    """Score each recording into a folder of its name below ``folder``, then all frames of all of them together."""
    import sys

    from kinodepth.cli._scores import wide_console
    from kinodepth.data.files import atomic
    from kinodepth.evaluation import joined, report
    from kinodepth.types import InputError

    are_depth = predictions.is_dir() and not (predictions / "checkpoints").is_dir()
    places = {name: (predictions / name if are_depth else predictions) for name in _names(sequences, task.data)}
    missing = [name for name, place in places.items() if not place.exists()]
    if len(missing) == len(places):
        raise InputError(
            f"{predictions} has no folder for any of {len(places)} recordings; expected one each, such as "
            f"{missing[0]}; predict them into folders of their names"
        )
    pairs = [(name, place, sequence) for (name, place), sequence in zip(places.items(), sequences)]
    results = {name: _score(task, p, s, folder / name)["predictions"] for name, p, s in pairs if name not in missing}
    whole = joined(results)
    table = report.rich_table(*report.recordings_table(results, whole), whole.protocol.summary)
    console = wide_console()
    console.print(table)
    for line in [*whole.warnings, *(f"{name} has NO PREDICTIONS and is not scored." for name in missing)]:
        console.print(f"WARNING: {line}", style="bold red", soft_wrap=True)
    each = {name: result.average() for name, result in results.items()}
    facts = {"data": task.data, "command": " ".join(["kinodepth", *sys.argv[1:]]), "not_scored": missing}
    text = report.to_json({**facts, **report.as_dict(whole), "recordings": each})
    for name, content in (("evaluation.json", text), ("frames.csv", report.frame_csv(whole))):
        with atomic(folder / name) as temporary:
            temporary.write_text(content, encoding="utf-8")
    print(f"all recordings: {folder / 'evaluation.json'}; each: {folder}/NAME/report.html")


def _names(sequences: list[Sequence], data: str) -> list[str]:
    """The names of the recordings, with the folders they are in below ``data`` where the names alone repeat."""
    from kinodepth.types import InputError

    names = [sequence.name for sequence in sequences]
    if len(set(names)) < len(names):
        root = Path(data).resolve()
        places = [Path(sequence.source).resolve() for sequence in sequences]
        names = [place.relative_to(root).as_posix() for place in places if place.is_relative_to(root)]
    if len(set(names)) < len(sequences):
        raise InputError(f"{data} holds recordings of one name; expected different ones; evaluate them one by one")
    return names


def _predictions_folder(predictions: str, sequence: Sequence, out: Path, device: str) -> Path:
    """The folder to score: the one given, or the depth of the given weights, predicted below ``out``."""
    path = Path(predictions)
    if path.is_dir() and not (path / "checkpoints").is_dir():
        return path
    from kinodepth.inference.job import Options, predict_folder
    from kinodepth.inference.model import load

    model = load(predictions, device=device)
    with _progress("predict") as progress:
        for summary in predict_folder(model, sequence, out / "predictions", Options(overwrite=True)):
            progress(summary.frames, len(sequence))
    return out / "predictions"


def _with_color_masks(sequence: Sequence, folder: Path) -> Sequence:
    """The sequence with dynamic masks from RGB masks in ``folder`` and its dynamic_colors.txt (spec sc_depth 13.4)."""
    from dataclasses import replace

    from kinodepth.data.records import color_masks
    from kinodepth.evaluation.regions import match_by_stem
    from kinodepth.types import Sequence

    masks = color_masks(folder)
    scored = [record for record in sequence.records if "depth" in record.load]
    match_by_stem([record.name for record in scored], map(Path, masks), "segmentation mask")
    masked = [replace(record, load={**record.load, "mask:dynamic": masks[record.name]}) for record in scored]
    return Sequence(sequence.name, masked, sequence.source)


def _split(sequence: Sequence, protocol: Protocol, path: Path) -> tuple[Sequence, Protocol]:
    """The frames that ``path`` names, and the protocol with the hash of that list."""
    from dataclasses import replace

    from kinodepth.evaluation.clip import frames_sha256
    from kinodepth.types import InputError

    names = path.read_text(encoding="utf-8").split()
    place = {record.name: index for index, record in enumerate(sequence.records)}
    unknown = [name for name in names if name not in place]
    if unknown or not names:
        raise InputError(
            f"{path} names {len(names)} frames of which {len(unknown)} are not in {sequence.name} "
            f"({', '.join(unknown[:3])}); expected frame names, one a line; correct the list"
        )
    return sequence.select([place[name] for name in names]), replace(protocol, split_sha256=frames_sha256(names))


def _baseline_names(text: str) -> list[str]:
    from kinodepth.types import InputError

    names = [part.strip() for part in text.split(",") if part.strip()]
    for name in names:
        if name not in ("constant", "row_median"):
            raise InputError(f"there is no baseline {name!r}; expected constant, row_median or both with a comma")
    return names


def _baselines(names: list[str], sequence: Sequence, learnt_on: str | None) -> dict[str, Mapping[str, Prediction]]:
    """The trivial predictors asked for, by label."""
    from kinodepth.data import open_sequence
    from kinodepth.evaluation.baselines import Baseline, RowMedians, read_depths

    found: dict[str, Mapping[str, Prediction]] = {}
    for name in names:
        if name == "constant":
            found["constant"] = Baseline(sequence)
        else:
            other = sequence if learnt_on is None else open_sequence(learnt_on)
            found[f"row_median of {other.name}"] = Baseline(sequence, RowMedians(read_depths(other)))
    return found


@contextmanager
def _progress(label: str) -> Iterator[Callable[[int, int], None]]:
    """A progress bar as a function of (done, total)."""
    import sys

    from rich.console import Console
    from rich.progress import Progress

    with Progress(console=Console(file=sys.stderr), transient=True) as bar:
        task = bar.add_task(label)
        yield lambda done, total: bar.update(task, completed=done, total=total)
