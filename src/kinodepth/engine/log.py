"""What a run tells: ``log.jsonl`` always, a progress line on the terminal, TensorBoard when it is installed."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from kinodepth.data.files import atomic

ESTIMATE_AFTER = 50  # steps, until the speed is worth a promise
WAIT_WARNING = 0.2  # share of the time spent waiting for data
LINE_EVERY = 20.0  # seconds between lines when the output is not a terminal


class Log:
    """Collects the rows of one process; only the process with ``speaks`` writes anything."""

    def __init__(self, run: Path, first_step: int, last_step: int, speaks: bool = True) -> None:
        self.speaks, self.first, self.last = speaks, first_step, last_step
        self.console = Console(stderr=True, quiet=not speaks, highlight=False)
        self.progress = _progress_bar(self.console)
        self.task = self.progress.add_task("", total=last_step, completed=first_step, losses="", rate="")
        self.board = _tensorboard(run / "tensorboard", first_step) if speaks else None
        self.file = (
            _continue_rows(run / "log.jsonl", first_step).open("a", encoding="utf-8", buffering=1) if speaks else None
        )
        self.begin = self.line = time.monotonic()
        self.waited, self.row_time, self.row_waited, self.row_step = 0.0, self.begin, 0.0, first_step
        self.told: set[str] = set()

    def __enter__(self) -> Log:
        self.progress.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.progress.stop()
        for sink in (self.board, self.file):
            try:
                if sink is not None:
                    sink.close()
            except OSError:
                if error is None:
                    raise

    def wait(self, batches: Iterator[Any]) -> Any:
        """The next of ``batches``, counting the time it takes as waiting for data."""
        start = time.monotonic()
        batch = next(batches)
        self.waited += time.monotonic() - start
        return batch

    @contextmanager
    def aside(self) -> Iterator[None]:
        """Keep what happens inside the block (validation, saving) out of the speed of the steps."""
        start = time.monotonic()
        yield
        away = time.monotonic() - start
        self.begin, self.row_time = self.begin + away, self.row_time + away

    def say(self, text: str, once: str | None = None) -> None:
        """A line for the reader; with a key ``once`` it is said a single time."""
        if once not in self.told:
            self.console.print(text, soft_wrap=True)
        if once is not None:
            self.told.add(once)

    def advance(self, step: int) -> None:
        """Count a finished step."""
        self.progress.update(self.task, completed=step)
        if step - self.first == ESTIMATE_AFTER:
            rate = ESTIMATE_AFTER / (time.monotonic() - self.begin)
            self.say(
                f"{rate:.2f} steps/s: about {_duration((self.last - step) / rate)} for {self.last - step} more steps"
            )

    def row(self, step: int, stage: str, values: Mapping[str, Any]) -> None:
        """Store the values of ``step`` and show them."""
        now = time.monotonic()
        elapsed = max(now - self.row_time, 1e-9)
        rate, wait = (step - self.row_step) / elapsed, (self.waited - self.row_waited) / elapsed
        self.row_time, self.row_waited, self.row_step = now, self.waited, step
        self.store({"step": step, "stage": stage, **values, "steps_per_s": rate, "data_wait": wait})
        losses = " ".join(f"{name} {value:.4f}" for name, value in {**values["loss"], "total": values["total"]}.items())
        shown = f"{rate:.2f} steps/s, data {wait:.0%}"
        self.progress.update(self.task, description=stage, losses=losses, rate=shown)
        if not self.console.is_terminal and now - self.line > LINE_EVERY:
            self.line = now
            self.say(f"step {step}/{self.last} {stage}: {losses}, {shown}")
        if wait > WAIT_WARNING and step - self.first >= ESTIMATE_AFTER:
            self.say(
                f"{wait:.0%} of the time is spent waiting for data; more --workers, or frames stored at training size "
                "(kinodepth prepare), make it faster",
                once="wait",
            )

    def store(self, row: Mapping[str, Any]) -> None:
        """Append ``row`` to log.jsonl and its numbers to TensorBoard; a value that is not finite is stored as null."""
        if self.file is None:
            return
        self.file.write(json.dumps(_finite(row)) + "\n")
        if self.board is not None:
            for name, value in _flat(row):
                self.board.add_scalar(name, value, row["step"])

    def picture(self, name: str, image: np.ndarray, step: int) -> None:
        """Show ``image`` (H x W x 3 uint8) in TensorBoard."""
        if self.board is not None:
            self.board.add_image(name, image, step, dataformats="HWC")


def _progress_bar(console: Console) -> Progress:
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(bar_width=24),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.fields[rate]}  {task.fields[losses]}"),
        console=console,
        disable=not console.is_terminal,
    )


def _tensorboard(folder: Path, step: int) -> Any:
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError:
        return None
    return SummaryWriter(str(folder), purge_step=step + 1)


def _continue_rows(path: Path, step: int) -> Path:
    """Drop the rows after ``step``, which a resumed run writes again, and a last line that was cut off."""
    if path.exists():
        lines = path.read_text(encoding="utf-8").splitlines(keepends=True)
        kept = [line for line in lines if line.endswith("\n") and json.loads(line)["step"] <= step]
        with atomic(path) as temporary:
            temporary.write_text("".join(kept), encoding="utf-8")
    return path


def _finite(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _finite(item) for key, item in value.items()}
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _flat(row: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, float]]:
    for key, value in row.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{prefix}{key}/")
        elif isinstance(value, (int, float)) and key != "step":
            yield f"{prefix}{key}", float(value)


def _duration(seconds: float) -> str:
    minutes = seconds / 60
    return f"{seconds:.0f} s" if minutes < 2 else f"{minutes:.0f} min" if minutes < 120 else f"{minutes / 60:.1f} h"
