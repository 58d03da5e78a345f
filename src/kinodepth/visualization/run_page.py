"""The pages that commands leave: a training run, a folder of predictions, an evaluation. They take what the files of
such a folder say (dicts as parsed from JSON) and pictures, and return HTML."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from kinodepth.visualization import html
from kinodepth.visualization.html import Section

Pictures = Iterable[tuple[str, np.ndarray | bytes]]
Curve = tuple[list[float], list[float]]
FILM_BYTES = 4_000_000  # larger videos are not put into a page
_SMOOTHING = 200  # at most so many points per loss curve, each the mean of the steps around it


def training_page(
    run: Mapping[str, Any],
    log: Iterable[Mapping[str, Any]],
    pictures: Pictures = (),
    evaluations: Iterable[Mapping[str, Any]] = (),
) -> str:
    """The page of a run: ``run.json``, the rows of ``log.jsonl``, captioned pictures, ``evaluation.json`` dicts."""
    rows = list(log)
    losses, validation = _loss_curves(rows), _validation_curves(rows)
    blocks = [html.chart(losses, y_label="loss", title="training losses (unweighted terms, weighted total)")]
    if validation:
        blocks += [html.chart({name: curve}, y_label=name, title="validation") for name, curve in validation.items()]
    sections = [Section("Curves", [html.charts(*blocks)] if losses else [html.paragraph("No step was logged.")])]
    scores = [(name, y[0], y[-1], min(y), max(y)) for name, (_, y) in validation.items()]
    if scores:
        sections.append(Section("Validation", [html.table(["score", "first", "last", "lowest", "highest"], scores)]))
    sections += evaluation_sections(evaluations)
    shown = list(pictures)
    if shown:
        sections.append(Section("Pictures", [html.gallery(shown)]))
    plain = {k: v for k, v in run.items() if k not in ("config", "versions")}
    sections.append(Section("Run", [html.facts(plain)]))
    sections += [Section(k.capitalize(), [html.facts(run[k])]) for k in ("config", "versions") if run.get(k)]
    return html.page(f"Training {run.get('method', '')}", sections, _subtitle(run, "data", "preset"))


def predictions_page(
    metadata: Mapping[str, Any],
    pictures: Pictures,
    numbers: Mapping[str, Any] | None = None,
    legend: np.ndarray | None = None,
    film: bytes | None = None,
    evaluations: Iterable[Mapping[str, Any]] = (),
) -> str:
    """The page of a predictions folder: ``prediction.json``, captioned pictures, cost numbers, the colour legend."""
    unit, scale = metadata.get("unit", "?"), metadata.get("scale", "?")
    meaning = {
        "metric": f"Depth is in {unit}.",
        "up_to_scale": f"Depth is known up to one unknown factor; the numbers are in {unit}s, not in metres.",
        "affine": "Depth is known up to an unknown factor and shift; distances and point clouds cannot be made of it.",
    }.get(scale, "It is not known what the numbers mean.")
    blocks = [html.paragraph(f"{meaning} z along the optical axis; one colour range for all frames, near is warm.")]
    if metadata.get("weights") == "untrained":
        blocks.append(html.paragraph("The network is untrained: this depth means nothing."))
    if legend is not None:
        blocks.append(html.picture(legend, f"depth in {unit}s" if unit != "m" else "depth in m", lossless=True))
    sections = [Section("Pictures", [*blocks, html.gallery(pictures)])]
    if film is not None:
        sections.append(Section("Video", [html.video(film, "image and depth")]))
    sections += evaluation_sections(evaluations)
    if numbers:
        sections.append(Section("Cost", [html.facts(numbers)]))
    sections.append(Section("Metadata", [html.facts(metadata)]))
    return html.page(f"Depth by {metadata.get('method', 'unknown method')}", sections, _subtitle(metadata, "source"))


def evaluation_page(evaluation: Mapping[str, Any], pictures: Pictures = ()) -> str:
    """The page of an evaluation: its ``evaluation.json`` and captioned pictures."""
    sections = evaluation_sections([evaluation])
    shown = list(pictures)
    if shown:
        sections.append(Section("Pictures", [html.gallery(shown)]))
    return html.page("Evaluation", sections, _subtitle(evaluation, "predictions", "data"))


def evaluation_sections(evaluations: Iterable[Mapping[str, Any]]) -> list[Section]:
    """One section per evaluation: what is tabular becomes a table, the rest (protocol, provenance) is listed."""
    sections = []
    for evaluation in evaluations:
        protocol = evaluation.get("protocol", {})
        name = protocol.get("name", "") if isinstance(protocol, Mapping) else str(protocol)
        tables, plain = [], {}
        for key, value in evaluation.items():
            rows = _table_rows(value)
            if rows:
                columns = list(dict.fromkeys(column for _, row in rows for column in row))
                header = [""] * max(len(path) for path, _ in rows) + [c.replace("_", " ") for c in columns]
                cells = [[*path, *(row.get(column) for column in columns)] for path, row in rows]
                tables.append(html.table(header, cells, key.replace("_", " ")))
            else:
                plain[key.replace("_", " ")] = value
        sections.append(Section(f"Evaluation, protocol {name}", [*tables, html.facts(plain)]))
    return sections


def _table_rows(value: Any, path: tuple[str, ...] = ()) -> list[tuple[tuple[str, ...], Mapping[str, Any]]]:
    """Rows of a list of dicts, or of dicts nested in dicts (with the keys on the way to each row); else none."""
    if isinstance(value, list):
        return [((), row) for row in value] if all(isinstance(row, Mapping) for row in value) else []
    if not isinstance(value, Mapping) or not value:
        return []
    if all(isinstance(inner, Mapping) for inner in value.values()):
        return [row for key, inner in value.items() for row in _table_rows(inner, (*path, str(key)))]
    return [(path, value)] if path else []


def _subtitle(values: Mapping[str, Any], *keys: str) -> str:
    return " · ".join(html.format_value(values[key]) for key in keys if values.get(key))


def _loss_curves(rows: list[Mapping[str, Any]]) -> dict[str, Curve]:
    curves: dict[str, Curve] = {}
    for row in rows:
        if "total" in row:
            for name, value in {"total": row["total"], **row.get("loss", {})}.items():
                steps, values = curves.setdefault(name, ([], []))
                steps.append(row["step"])
                values.append(value)
    return {name: (_thin(steps), _thin(values)) for name, (steps, values) in curves.items()}


def _validation_curves(rows: list[Mapping[str, Any]]) -> dict[str, Curve]:
    curves: dict[str, Curve] = {}
    for row in rows:
        for name, value in (row.get("validation") or {}).items():
            if isinstance(value, (int, float)) and math.isfinite(value):
                steps, values = curves.setdefault(name, ([], []))
                steps.append(row["step"])
                values.append(value)
    return curves


def _thin(values: list[float]) -> list[float]:
    if len(values) <= _SMOOTHING:
        return values
    return [float(part.mean()) for part in np.array_split(np.asarray(values, float), _SMOOTHING)]
