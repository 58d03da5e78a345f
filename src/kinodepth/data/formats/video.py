"""A video file."""

from __future__ import annotations

from pathlib import Path

from kinodepth.data.video import VIDEO_SUFFIXES, open_video
from kinodepth.types import Sequence


def detect(path: Path) -> bool:
    return path.is_file() and path.suffix.lower() in VIDEO_SUFFIXES


def open(path: Path) -> list[Sequence]:
    return [open_video(path)]
