"""Recordings from disk: ``open_sequence`` for one, ``open_sequences`` for all below a folder."""

from __future__ import annotations

import importlib
import inspect
import pkgutil
from pathlib import Path
from types import ModuleType
from typing import Any

from kinodepth.data import formats
from kinodepth.types import InputError, Sequence


def format_names() -> list[str]:
    """Names that ``format`` accepts, one per file in ``data/formats``; ``images``, which takes anything, comes last."""
    names = sorted(m.name for m in pkgutil.iter_modules(formats.__path__))
    return sorted(names, key=lambda name: name == "images")


def open_sequences(path: str | Path, format: str | None = None, **options: Any) -> list[Sequence]:
    """All recordings at ``path``: a video, an image, a folder of any known layout, or a folder of such folders.

    The layout is detected from the disk; ``format`` overrides it. ``options`` go to the format; deep_video_mvs and
    sc_depth take ``depth_divisor`` (stored value / divisor = metres). Raises ``InputError`` if nothing can be read.
    """
    path = Path(path)
    if not path.exists():
        raise InputError(f"{path} does not exist; expected a video, an image or a folder; check the path")
    for name in [format] if format is not None else format_names():
        module = _load(name)
        if format is not None or module.detect(path):
            return _open(module, path, options)
    if path.is_dir():
        children = [child for child in sorted(path.iterdir()) if child.is_dir() or _load("video").detect(child)]
        known = [child for child in children if any(_load(name).detect(child) for name in format_names())]
        if known:
            return [sequence for child in known for sequence in open_sequences(child, **options)]
        raise InputError(
            f"{path} has no images, video or known layout; expected one of {', '.join(format_names())}; check it"
        )
    raise InputError(f"{path} is neither a video nor an image; expected e.g. .mp4 or .jpg, or a folder; check the path")


def open_sequence(path: str | Path, format: str | None = None, **options: Any) -> Sequence:
    """The one recording at ``path``. Raises ``InputError`` where there are several."""
    found = open_sequences(path, format, **options)
    if len(found) > 1:
        names = ", ".join(sequence.name for sequence in found[:4])
        raise InputError(
            f"{path} holds {len(found)} recordings ({names}, ...); expected one; give the folder of one of them"
        )
    return found[0]


def _open(module: ModuleType, path: Path, options: dict[str, Any]) -> list[Sequence]:
    name = module.__name__.rpartition(".")[2]
    known = set(inspect.signature(module.open).parameters)
    if unknown := sorted(set(options) - known):
        raise InputError(f"{path}: format {name} takes no {unknown[0]}; expected none; leave it out or give --format")
    found = module.open(path, **options)
    if not found:
        raise InputError(f"{path} holds no recording of format {name}; check the folder, or give another --format")
    return found


def _load(name: str) -> ModuleType:
    if name not in format_names():
        raise InputError(f"there is no format {name!r}; expected one of {', '.join(format_names())}")
    return importlib.import_module(f"{formats.__name__}.{name}")
