"""A recording in, a predictions folder out: ``predict_folder``. Interrupted jobs continue where they stopped.

The frames are walked twice, so that all of them share one colour range and one PNG divisor without being held in
memory: first depth is predicted and written as npz, then pictures are made from these files (which are removed in the
end if nobody asked for them).
"""

from __future__ import annotations

import hashlib
import json
import shutil
import sys
from collections import deque
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field, replace
from itertools import pairwise
from pathlib import Path
from statistics import median
from typing import Any, get_args

import numpy as np

from kinodepth._version import __version__
from kinodepth.data import video
from kinodepth.data.files import atomic
from kinodepth.data.folder import write_text
from kinodepth.inference import outputs, stream, writers
from kinodepth.inference.model import DepthModel, Resolution
from kinodepth.types import Frame, InputError, Prediction, Sequence
from kinodepth.visualization import colormap, panels, run_page

FORMATS = ("npz", "png16", "mp4", "ply")
_OURS = ("npz", "png16", "ply", ".spool", "video.mp4", "frames.jsonl", "prediction.json", "report.html",
         "flow", "motion", "mask", *outputs.POSES)  # fmt: skip
_PICTURES = 8  # in the report


@dataclass(frozen=True)
class Options:
    """``save`` names formats of ``FORMATS``; ``span`` fixes the colour range; ``overwrite`` drops other predictions."""

    save: tuple[str, ...] = ("npz",)
    resolution: Resolution = "image"
    span: colormap.Range | None = None
    overwrite: bool = False
    command: str = ""


@dataclass
class Summary:
    """What a job did: frames in the folder, frames computed now, their latency, colour range, largest depth, bytes."""

    frames: int = 0
    computed: int = 0
    latency: stream.Latency = field(default_factory=stream.Latency)
    span: colormap.Range = (1.0, 1.0)
    divisor: float | None = None
    peak_bytes: int | None = None
    largest: outputs.Largest = field(default_factory=outputs.Largest)

    def numbers(self) -> dict[str, Any]:
        """The cost of the job by name, for the report and the terminal."""
        peak = None if self.peak_bytes is None else f"{self.peak_bytes / 2**20:,.0f} MiB"
        return {"frames": self.frames, "computed now": self.computed, **self.latency.summary(), "peak memory": peak}


def predict_folder(model: DepthModel, sequence: Sequence, out: Path, options: Options) -> Iterator[Summary]:
    """Predict ``sequence`` into the folder ``out``; yields the growing summary after each frame, the last is complete.

    Raises ``InputError`` for unknown formats, a recording that lacks what the method needs, an ``out`` that holds
    something else, depth that is not finite, or point clouds without camera or of affine depth.
    """
    _check_options(options)
    model.check(sequence)
    if "ply" in options.save and "camera" not in sequence.provides:
        raise InputError(
            f"{sequence.source or sequence.name} has no camera, which point clouds need; expected intrinsics; add them "
            "to the folder, or give --fov DEGREES"
        )
    names = [writers.safe_name(record.name) for record in sequence.records]
    if len(set(names)) < len(names):
        raise InputError(
            f"{sequence.source} has frames of the same name; expected one name per frame; rename the files"
        )
    metadata = _metadata(model, sequence, options)
    _open_folder(out, metadata, options)
    depth_folder = out / ("npz" if "npz" in options.save else ".spool")
    summary, statistics = Summary(), colormap.ClipRange()
    largest, scale = 0.0, ("", "")
    with atomic(out / "frames.jsonl") as temporary, temporary.open("w", encoding="utf-8") as rows:
        for prediction, is_new in _first_pass(model, sequence, names, depth_folder, out / "ply", options, summary):
            statistics.add(prediction.depth)
            summary.largest.add(prediction)
            largest, scale = max(largest, float(prediction.depth.max())), (prediction.scale, prediction.unit)
            rows.write(json.dumps(writers.row(prediction)) + "\n")
            summary.frames += 1
            summary.computed += is_new
            yield summary
    if not summary.frames:
        raise InputError(
            f"{sequence.source} gave no prediction in {len(names)} frames; {model.method.name} needs more, or "
            "for posed video a camera that moves; check the recording with kinodepth check"
        )
    summary.span = options.span or statistics.range()
    summary.divisor = writers.png16_divisor(largest) if "png16" in options.save else None
    metadata |= {"scale": scale[0], "unit": scale[1], "frames": summary.frames, "complete": True}
    metadata |= {"png16_divisor": summary.divisor, "color_range": list(summary.span), "saved": list(options.save)}
    if "poses" in model.outputs:
        outputs.write_trajectory(out, out / "frames.jsonl")
    pictures = _second_pass(sequence, names, depth_folder, out, options, summary, bool(model.outputs - {"poses"}))
    summary.peak_bytes = peak_memory()
    write_text(out / "prediction.json", json.dumps(metadata, indent=2) + "\n")
    write_text(out / "report.html", _page(metadata, pictures, summary, out))
    shutil.rmtree(out / ".spool", ignore_errors=True)
    yield summary


def peak_memory() -> int | None:
    """The largest resident size of this process so far in bytes, None where the system does not tell."""
    try:
        import resource
    except ImportError:  # Windows
        return None
    size = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return size if sys.platform == "darwin" else size * 1024


def frame_rate(sequence: Sequence, default: float = 25.0) -> float:
    """Frames per second by the median time between frames."""
    times = [record.timestamp for record in sequence.records]
    steps = [b - a for a, b in pairwise(times) if a is not None and b is not None and b > a]
    return min(max(1 / median(steps), 1.0), 120.0) if steps else default


def _check_options(options: Options) -> None:
    unknown = [name for name in options.save if name not in FORMATS]
    if unknown or not options.save:
        raise InputError(
            f"format {', '.join(unknown) or 'none'} is unknown; expected one or more of {','.join(FORMATS)}"
        )
    if options.resolution not in get_args(Resolution):
        raise InputError(f"resolution {options.resolution!r} is unknown; expected image or network")


def describe(model: DepthModel, source: str, resolution: Resolution) -> dict[str, Any]:
    """What prediction.json says of predictions before there are any."""
    config = getattr(model.network, "config", None)
    return {
        "kinodepth": __version__,
        "method": model.method.name,
        "weights": model.source,
        "weights_sha256": model.weights_sha256,
        "source": source,
        "quantity": "depth",
        "depth_kind": "z",
        "resolution": resolution,
        "precision": model.precision,
        "device": model.device.type,
        "config": asdict(config) if config is not None else None,
        **({} if model.odometry is None else {"poses_by": describe(model.odometry, source, resolution)}),
        **outputs.described(model.outputs),
    }


def _metadata(model: DepthModel, sequence: Sequence, options: Options) -> dict[str, Any]:
    source = Path(sequence.source).resolve() if sequence.source else Path(sequence.name)
    described = describe(model, str(source), options.resolution)
    frames = [record.name for record in sequence.records]
    size = source.stat().st_size if source.is_file() else None
    known = {**described, "weights": None, "frames": frames, "size": size}
    if "poses_by" in known:
        known["poses_by"] = {**known["poses_by"], "weights": None}  # wherever they lie: their hash is there
    told = json.dumps(known, sort_keys=True, default=str)
    return {**described, "settings": hashlib.sha256(told.encode()).hexdigest(), "command": options.command}


def _open_folder(out: Path, metadata: Mapping[str, Any], options: Options) -> None:
    """Make ``out`` ready to be written or continued. Nothing that this tool did not write is ever removed."""
    out.mkdir(parents=True, exist_ok=True)
    stored = out / "prediction.json"
    if stored.is_file():
        try:
            before = json.loads(stored.read_text(encoding="utf-8"))
        except ValueError:
            before = {}
        if before.get("settings") != metadata["settings"]:
            if not options.overwrite:
                raise InputError(
                    f"{out} holds predictions of {before.get('source')} by {before.get('method')} with other settings; "
                    "expected the same job or an empty folder; choose another --out or add --overwrite"
                )
            _remove(out)
        elif options.overwrite:
            _remove(out)
    elif any(out.iterdir()):
        raise InputError(f"{out} holds files that are not predictions; expected an empty folder; choose another --out")
    for path in (out / name for name in _OURS):  # what a killed job was writing
        torn = path.parent.glob(f".{path.stem}.*{path.suffix}") if path.suffix else path.glob(".*.*")
        for file in torn:
            file.unlink()
    write_text(stored, json.dumps({**metadata, "complete": False}, indent=2, default=str) + "\n")


def _remove(out: Path) -> None:
    for name in _OURS:
        path = out / name
        shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)


def _first_pass(
    model: DepthModel, sequence: Sequence, names: list[str], folder: Path, ply: Path, options: Options, summary: Summary
) -> Iterator[tuple[Prediction, bool]]:
    """Yield all predictions in order, and whether each is new: those not yet there are computed and written."""
    clouds = "ply" in options.save

    def finished(index: int) -> bool:
        files = [folder / f"{names[index]}.npz"] + ([ply / f"{names[index]}.ply"] if clouds else [])
        return all(file.is_file() for file in files)

    alone = stream.is_stateless(model.predictor)
    todo = [i for i in range(len(names)) if not (alone and finished(i))]
    recent: deque[Frame] = deque(maxlen=2)

    def frames() -> Iterator[Frame]:
        for frame in model.frames(sequence, todo):
            recent.append(frame)
            yield frame

    computed = model.predict(frames(), options.resolution, summary.latency)
    waiting = set(todo)
    for index, name in enumerate(names):
        if index not in waiting:
            yield replace(writers.read_npz(folder / f"{name}.npz"), name=sequence.records[index].name), False
            continue
        prediction = next(computed, None)
        if prediction is None:  # a method may need some frames before its first prediction
            break
        stem = writers.safe_name(prediction.name)
        if clouds:
            image = next((frame.image for frame in recent if frame.name == prediction.name), None)
            writers.write_ply(ply / f"{stem}.ply", prediction, image)
        writers.write_npz(folder / f"{stem}.npz", prediction)
        yield prediction, True


def _second_pass(
    sequence: Sequence,
    names: list[str],
    folder: Path,
    out: Path,
    options: Options,
    summary: Summary,
    has_maps: bool = False,
) -> list[tuple[str, np.ndarray]]:
    """Write what needs the whole clip: PNG by its divisor, video in its range. Returns the pictures of the report."""
    indices = [i for i, name in enumerate(names) if (folder / f"{name}.npz").is_file()]
    shown = set(np.linspace(0, len(indices) - 1, min(_PICTURES, len(indices))).round().astype(int).tolist())
    pictures: list[tuple[str, np.ndarray]] = []

    def film() -> Iterator[np.ndarray]:
        for place, index in enumerate(indices):
            drawn = "mp4" in options.save or place in shown
            if not drawn and summary.divisor is None and not has_maps:
                continue
            prediction = writers.read_npz(folder / f"{names[index]}.npz")
            if prediction.outputs:
                image = sequence.read(index, ()).image
                outputs.write_pictures(out, names[index], outputs.pictures(image, prediction, summary.largest))
            if summary.divisor is not None:
                writers.write_png16(out / "png16" / f"{names[index]}.png", prediction, summary.divisor)
            if not drawn:
                continue
            picture = panels.image_and_depth(sequence.read(index, ()).image, prediction.depth, summary.span)
            if place in shown:
                pictures.append((sequence.records[index].name, panels.fit(picture, 720, 720)))
            yield picture

    if "mp4" in options.save:
        video.write_video(out / "video.mp4", film(), frame_rate(sequence))
    else:
        deque(film(), maxlen=0)
    return pictures


def _page(metadata: Mapping[str, Any], pictures: list[tuple[str, np.ndarray]], summary: Summary, out: Path) -> str:
    film = out / "video.mp4"
    small = "mp4" in metadata["saved"] and film.stat().st_size <= run_page.FILM_BYTES
    legend = panels.depth_legend(summary.span)
    return run_page.predictions_page(
        metadata, pictures, summary.numbers(), legend, film.read_bytes() if small else None
    )
