"""What ``kinodepth pointcloud`` and ``kinodepth mesh`` share: which views; and how far a command is."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from kinodepth.inference.views import Source


def sources(
    depth: str,
    data: str | None,
    recorded: bool,
    stride: int,
    format: str | None,
    quantity: str | None,
    scale: str | None,
    png_divisor: float | None,
) -> list[Source]:
    """The frames to fuse, from predictions or from the depth recorded with the frames."""
    from kinodepth.data import open_sequence
    from kinodepth.data.predictions import open_predictions
    from kinodepth.inference import views
    from kinodepth.types import InputError

    if stride < 1:
        raise InputError(f"--stride is {stride}; expected 1 or more; correct it")
    if recorded:
        return views.recorded_depth(open_sequence(depth, format=format))[::stride]
    return views.predicted_depth(open_predictions(depth, quantity, scale, png_divisor), data, format)[::stride]


def target(depth: str, out: str | None, ending: str) -> Path:
    """Where to write: ``out``, or a file called after the input."""
    return Path(out) if out is not None else Path(f"{Path(depth).resolve().name}{ending}")


@contextmanager
def progress(label: str, total: int) -> Iterator[Callable[[Any], Any]]:
    """A bar as a function that passes an iterable on."""
    from rich.console import Console
    from rich.progress import Progress

    with Progress(console=Console(stderr=True), transient=True) as bar:

        def follow(items: Any) -> Iterator[Any]:
            task = bar.add_task(label, total=total)
            for item in items:
                yield item
                bar.advance(task)

        yield follow
