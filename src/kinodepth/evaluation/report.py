"""Evaluation results as tables (rich for the terminal, Markdown), CSV and JSON text. Writing files is the caller's."""

from __future__ import annotations

import csv
import io
import json
import math
from collections.abc import Mapping
from typing import Any

import torch
from rich import box
from rich.table import Table

from kinodepth.evaluation.clip import Result
from kinodepth.evaluation.protocols import ALIGNMENTS

Rows = list[list[str | float | int]]


def ladder_table(result: Result, averaging: str | None = None) -> tuple[list[str], Rows]:
    """Header and rows: every alignment x region with images, pixels, mean errors; ``*`` marks the protocol's rung."""
    rows: Rows = []
    for alignment in ALIGNMENTS:
        for region in result.regions:
            mark = " *" if alignment == result.protocol.alignment else ""
            errors = result.average(alignment, region, averaging)
            rows.append([alignment + mark, region, *counts(result, region).values(), *errors.values()])
    return ["alignment", "region", "images", "pixels", *result.protocol.errors], rows


def counts(result: Result, region: str) -> dict[str, int]:
    """How many images have scored pixels of ``region``, and how many pixels that are."""
    pixels = result.pixels[:, result.regions.index(region)]
    return {"images": int((pixels > 0).sum()), "pixels": int(pixels.sum())}


def comparison_table(results: Mapping[str, Result]) -> tuple[list[str], Rows]:
    """Header and rows: results under the protocol's alignment, e.g. beside trivial baselines, in both averagings."""
    first = next(iter(results.values()))
    rows: Rows = [
        [label, region, averaging, *result.average(region=region, averaging=averaging).values()]
        for label, result in results.items()
        for region in result.regions
        for averaging in ("images", "pixels")
    ]
    return ["predictions", "region", "mean over", *first.protocol.errors], rows


def recordings_table(results: Mapping[str, Result], whole: Result) -> tuple[list[str], Rows]:
    """Header and rows: each recording under the protocol, then ``whole`` (all frames of all), then their plain mean."""
    rows: Rows = [
        [label, *counts(result, "all").values(), *result.average().values()]
        for label, result in {**results, "all frames": whole}.items()
    ]
    means = torch.tensor([list(result.average().values()) for result in results.values()]).nanmean(0)
    rows.append(["mean of recordings", *rows[-1][1:3], *means.tolist()])
    return ["recording", "images", "pixels", *whole.protocol.errors], rows


def scalars(result: Result) -> dict[str, float]:
    """The numbers of a result that are not in the ladder: scale, drift, temporal consistency, holes."""
    spread = float(result.scales[result.scales.isfinite()].std(correction=0)) if len(result.scales) else math.nan
    scale = {"clip_scale": result.clip_scale, "frame_scale_std": spread, "scale_drift_log": result.scale_drift}
    return {**scale, **result.temporal, **result.holes}


def frame_csv(result: Result) -> str:
    """One line per frame, alignment and region: pixels, the frame's scale, and all errors in full precision."""
    file = io.StringIO()
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow(["frame", "alignment", "region", "pixels", "median_ratio", *result.protocol.errors])
    for f, name in enumerate(result.names):
        for a, alignment in enumerate(ALIGNMENTS):
            for r, region in enumerate(result.regions):
                numbers = [repr(v) for v in result.errors[f, a, r].tolist()]
                writer.writerow([name, alignment, region, int(result.pixels[f, r]), float(result.scales[f]), *numbers])
    return file.getvalue()


def as_dict(result: Result) -> dict[str, Any]:
    """Everything but the per-frame rows, ready for JSON; both averagings."""
    tables = {
        averaging: {
            alignment: {region: result.average(alignment, region, averaging) for region in result.regions}
            for alignment in ALIGNMENTS
        }
        for averaging in ("images", "pixels")
    }
    return {
        "warnings": list(result.warnings),
        "protocol": result.protocol.as_dict(),
        "provenance": dict(result.provenance),
        "prediction_scale": result.prediction_scale,
        "mask": result.mask,
        "result": {region: {**counts(result, region), **result.average(region=region)} for region in result.regions},
        "errors_mean_over": tables,
        "scalars": scalars(result),
        "missing_predictions": list(result.missing),
        "unused_predictions": list(result.unused),
        "frames_without_depth": list(result.without_depth),
    }


def to_json(value: Any) -> str:
    """JSON text in which NaN and infinity are null."""

    def plain(item: Any) -> Any:
        if isinstance(item, Mapping):
            return {str(key): plain(v) for key, v in item.items()}
        if isinstance(item, (list, tuple)):
            return [plain(v) for v in item]
        return None if isinstance(item, float) and not math.isfinite(item) else item

    return json.dumps(plain(value), indent=2) + "\n"


def _cells(row: list[str | float | int]) -> list[str]:
    return [f"{v:.4f}" if isinstance(v, float) else f"{v:,}" if isinstance(v, int) else v for v in row]


def rich_table(header: list[str], rows: Rows, title: str = "") -> Table:
    """The table for a terminal; a line between groups of equal first cells."""
    table = Table(title=title, title_justify="left", box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0))
    for index, name in enumerate(header):
        number = bool(rows) and not isinstance(rows[0][index], str)
        table.add_column(name, justify="right" if number else "left", no_wrap=True)
    for index, row in enumerate(rows):
        last = index + 1 == len(rows) or rows[index + 1][0] != row[0]
        first = index == 0 or rows[index - 1][0] != row[0]
        cells = _cells(row)
        table.add_row(cells[0] if first else "", *cells[1:], end_section=last)
    return table


def markdown_table(header: list[str], rows: Rows) -> str:
    """The same as Markdown."""
    lines = [header, ["---"] * len(header), *(_cells(row) for row in rows)]
    return "".join("| " + " | ".join(line) + " |\n" for line in lines)
