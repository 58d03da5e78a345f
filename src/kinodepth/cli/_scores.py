"""What ``kinodepth evaluate`` shows and leaves of one recording."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    import numpy as np
    from rich.console import Console

    from kinodepth.data.predictions import Predictions
    from kinodepth.evaluation import Result
    from kinodepth.types import Sequence

_PICTURES = 6


def wide_console() -> Console:
    """A console on which no table is cut; a narrow terminal wraps."""
    from rich.console import Console

    return Console(highlight=False, width=max(Console().width, 200))


def show(results: Mapping[str, Result]) -> None:
    """Tables of the first result, and the comparison if there are more."""
    from kinodepth.evaluation import report

    result = results["predictions"]
    own = result.protocol.averaging
    tables = [
        report.rich_table(*report.ladder_table(result), f"mean over {own}; * is the alignment of the protocol"),
        report.rich_table(*report.comparison_table(results), "under the protocol"),
    ]
    console = wide_console()
    console.print(result.protocol.summary, *tables, sep="\n\n")
    for name, value in report.scalars(result).items():
        console.print(f"{name} {value:.6g}", soft_wrap=True)
    for line in result.warnings:
        console.print(f"WARNING: {line}", style="bold red", soft_wrap=True)


def write(
    out: Path,
    results: Mapping[str, Result],
    predictions: Predictions,
    sequence: Sequence,
    facts: dict[str, Any],
) -> None:
    """evaluation.json, frames.csv and report.html, each replaced as a whole."""
    import platform

    import torch

    from kinodepth._version import __version__
    from kinodepth.data.files import atomic
    from kinodepth.evaluation import report
    from kinodepth.visualization.run_page import evaluation_page

    result = results["predictions"]
    versions = {"kinodepth": __version__, "torch": torch.__version__, "python": platform.python_version()}
    evaluation = {**facts, **report.as_dict(result), "versions": versions}
    if len(results) > 1:
        evaluation["compared"] = {
            label: {region: other.average(region=region) for region in other.regions}
            for label, other in results.items()
        }
    text = report.to_json(evaluation)
    page = evaluation_page(json.loads(text), _pictures(result, predictions, sequence))
    for name, content in (("evaluation.json", text), ("frames.csv", report.frame_csv(result)), ("report.html", page)):
        with atomic(out / name) as temporary:
            temporary.write_text(content, encoding="utf-8")


def _pictures(result: Result, predictions: Predictions, sequence: Sequence) -> Iterator[tuple[str, np.ndarray]]:
    """Some frames as image, prediction (brought to the clip's scale), ground truth and relative error."""
    import numpy as np
    from scipy import ndimage

    from kinodepth.geometry.sampling import resize
    from kinodepth.visualization import colormap, panels

    scale = result.clip_scale if np.isfinite(result.clip_scale) else 1.0
    place = {record.name: index for index, record in enumerate(sequence.records)}
    chosen = np.unique(np.linspace(0, len(result.names) - 1, _PICTURES).round().astype(int))
    frames = [sequence.records[place[result.names[i]]] for i in chosen]
    statistics = colormap.ClipRange()
    for record in frames:
        statistics.add(record.load["depth"]())
    span = statistics.range()
    for record in frames:
        truth = record.load["depth"]()[0].numpy()
        depth = resize(predictions[record.name].depth.float()[None], truth.shape)[0, 0].numpy() * scale
        if (truth > 0).mean() < 0.2:  # sparse points would not be seen; the scores do not use this
            truth = ndimage.grey_dilation(truth, (5, 5))
        parts = [
            (panels.to_picture(record.load["image"]()), "image"),
            (colormap.colorize(depth, span), f"prediction x {scale:.3g}"),
            (colormap.colorize(truth, span), f"depth {span[0]:.3g} to {span[1]:.3g} m"),
            (panels.error_map(depth, truth), "relative error 0 to 0.5"),
        ]
        fitted = [panels.label(panels.fit(picture, 640, 480), text) for picture, text in parts]
        yield record.name, panels.contact_sheet(fitted, columns=2)
