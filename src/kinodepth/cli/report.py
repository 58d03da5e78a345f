"""``kinodepth report``: one self-contained HTML page of a training run, of predictions or of an evaluation."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np

EXAMPLES = """
kinodepth report run
kinodepth report depth --out drive.html
"""
_STEPS, _FRAMES = 8, 8  # of so many validations and frames pictures are shown


def run(path: str, out: str | None = None) -> int:
    """Write the HTML page of a training run, a folder of predictions or an evaluation anew.

    Args:
        path: the folder that train, predict or evaluate wrote
        out: where to write the page; default: report.html in that folder
    """
    target = write(Path(path), None if out is None else Path(out))
    print(f"report: {target}")
    return 0


def write(folder: Path, target: Path | None = None) -> Path:
    """Write the page of ``folder`` to ``target`` (default: its report.html) and return where it is."""
    from kinodepth.data.files import atomic
    from kinodepth.types import InputError
    from kinodepth.visualization import run_page

    if folder.is_file():
        folder = folder.parent
    target = target or folder / "report.html"
    if (folder / "run.json").is_file():
        log = _rows(folder / "log.jsonl")
        page = run_page.training_page(
            _json(folder / "run.json"), log, _validation_pictures(folder), _evaluations(folder)
        )
    elif (folder / "prediction.json").is_file():
        page = _predictions_page(folder)
    elif (folder / "evaluation.json").is_file():
        kept = target if target.is_file() else folder / "report.html"
        page = run_page.evaluation_page(_json(folder / "evaluation.json"), _embedded_pictures(kept))
    else:
        raise InputError(
            f"{folder} has no run.json, prediction.json or evaluation.json; expected the output folder of kinodepth "
            "train, predict or evaluate; check the path"
        )
    with atomic(target) as temporary:
        temporary.write_text(page, encoding="utf-8")
    return target


def _json(path: Path) -> dict[str, Any]:
    import json

    from kinodepth.types import InputError

    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise InputError(f"{path} is not JSON ({error}); expected the file kinodepth wrote; run that again") from None
    if not isinstance(value, dict):
        raise InputError(f"{path} holds a {type(value).__name__}; expected an object; run that command again")
    return value


def _rows(path: Path) -> list[dict[str, Any]]:
    """The rows of a JSON-lines file; a last line cut off by a crash is left out."""
    import json

    rows = []
    for line in path.read_text(encoding="utf-8").splitlines() if path.is_file() else []:
        try:
            rows.append(json.loads(line))
        except ValueError:
            continue
    return rows


def _evaluations(folder: Path) -> list[dict[str, Any]]:
    return [_json(path) for path in sorted([*folder.glob("evaluation.json"), *folder.glob("*/evaluation.json")])]


def _validation_pictures(folder: Path) -> list[tuple[str, bytes]]:
    """The pictures of validations spread over the run, the last included; stems are step_<step>_<index>."""
    import io
    import re

    import numpy as np
    from PIL import Image

    from kinodepth.visualization import html, panels

    paths = sorted((folder / "pictures").glob("*.png"))
    steps = sorted({path.stem.rpartition("_")[0] for path in paths})
    chosen = {steps[i] for i in np.linspace(0, len(steps) - 1, min(_STEPS, len(steps))).round().astype(int)}
    found = []
    for path in paths:
        if path.stem.rpartition("_")[0] in chosen:
            picture = np.asarray(Image.open(io.BytesIO(path.read_bytes())).convert("RGB"))
            caption = re.sub(r"step_0*(\d+)_(\d+)", r"step \1, picture \2", path.stem)
            found.append((caption, html.encode_picture(panels.fit(picture, 720, 720))))
    return found


def _predictions_page(folder: Path) -> str:
    from kinodepth.visualization import panels, run_page

    metadata = _json(folder / "prediction.json")
    pictures, span = _depth_pictures(folder, metadata)
    film = folder / "video.mp4"
    return run_page.predictions_page(
        metadata,
        pictures,
        None,
        panels.depth_legend(span) if span else None,
        film.read_bytes() if film.is_file() and film.stat().st_size <= run_page.FILM_BYTES else None,
        _evaluations(folder),
    )


def _depth_pictures(
    folder: Path, metadata: dict[str, Any]
) -> tuple[list[tuple[str, np.ndarray]], tuple[float, float] | None]:
    """Some frames in one colour range, with their images where the source is still there."""
    import numpy as np

    from kinodepth.data import open_sequence
    from kinodepth.data.predictions import open_predictions
    from kinodepth.inference import writers
    from kinodepth.types import InputError
    from kinodepth.visualization import colormap, panels

    try:
        found = open_predictions(folder)
    except InputError:  # only a video or point clouds were saved
        return [], None
    names = list(found)
    chosen = [names[i] for i in np.unique(np.linspace(0, len(names) - 1, _FRAMES).round().astype(int))]
    depths = {name: found[name].depth for name in chosen}
    statistics = colormap.ClipRange()
    for depth in depths.values():
        statistics.add(depth)
    stored = metadata.get("color_range")
    span = (float(stored[0]), float(stored[1])) if stored else statistics.range()
    try:
        sequence = open_sequence(metadata.get("source", ""))
        places = {writers.safe_name(record.name): i for i, record in enumerate(sequence.records)}
        images = {name: sequence.read(places[name], ()).image for name in depths if name in places}
    except (InputError, OSError):
        images = {}
    pictures = []
    for name, depth in depths.items():
        colors = colormap.colorize(depth, span)
        picture = panels.image_and_depth(images[name], depth, span) if name in images else colors
        pictures.append((name, panels.fit(picture, 720, 720)))
    return pictures, span


def _embedded_pictures(page: Path) -> list[tuple[str, bytes]]:
    """The captioned pictures of an earlier page: an evaluation does not keep the depth they were made of."""
    import base64
    import html
    import re

    if not page.is_file():
        return []
    pattern = r'<img alt="([^"]*)" src="data:image/(?:png|jpeg);base64,([^"]+)"'
    found = re.findall(pattern, page.read_text(encoding="utf-8"))
    return [(html.unescape(caption), base64.b64decode(data)) for caption, data in found]
