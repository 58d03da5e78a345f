"""Our own folder contract."""

from __future__ import annotations

from pathlib import Path

from kinodepth.data.folder import is_folder, open_folder
from kinodepth.types import Sequence


def detect(path: Path) -> bool:
    return path.is_dir() and is_folder(path)


def open(path: Path) -> list[Sequence]:
    return [open_folder(path)]
