"""Poses that arrive while they are used: a trajectory file that grows on disk, or JSON lines on standard input."""

from __future__ import annotations

import json
import math
import queue
import threading
import time
import warnings
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Protocol

import torch
from torch import Tensor

from kinodepth.data.calibration import pose_from_row
from kinodepth.geometry.pose import pose_matrix, quaternion_to_matrix
from kinodepth.types import InputError

Kind = Literal["tum", "kitti", "json"]


@dataclass(frozen=True)
class TimedPose:
    """``cam_to_world`` 4 x 4 float64 at ``time`` (seconds; kitti: the number of the frame), None while tracking is
    lost; ``intrinsics`` as they were sent, see ``calibration.camera_from_json``."""

    time: float
    cam_to_world: Tensor | None
    intrinsics: Any = None


class Lines(Protocol):
    """``poll`` gives the whole lines that have come since the last call, without waiting; ``ended``: no more will."""

    ended: bool

    def poll(self) -> list[str]: ...


class FileLines:
    """Lines of a file that may still grow, or not be there yet; read in portions, so that memory is bounded."""

    ended = False

    def __init__(self, path: Path) -> None:
        self.path, self.offset = path, 0

    def poll(self) -> list[str]:
        try:
            with self.path.open("rb") as file:
                file.seek(self.offset)
                data = file.read(1 << 16)
        except FileNotFoundError:
            return []
        whole = data[: data.rfind(b"\n") + 1]
        self.offset += len(whole)
        return whole.decode("utf-8", "replace").splitlines()


class StreamLines:
    """Lines of an open text stream, read by a thread of its own."""

    def __init__(self, stream: Iterable[str]) -> None:
        self.queue: queue.Queue[str | None] = queue.Queue(4096)
        self.ended = False
        threading.Thread(target=self._read, args=(stream,), daemon=True).start()

    def _read(self, stream: Iterable[str]) -> None:
        for line in stream:
            self.queue.put(line)
        self.queue.put(None)

    def poll(self) -> list[str]:
        lines: list[str] = []
        while not self.ended:
            try:
                line = self.queue.get_nowait()
            except queue.Empty:
                break
            if line is None:
                self.ended = True
            else:
                lines.append(line)
        return lines


class PoseFeed:
    """The pose of each moment asked for, moments in rising order.

    ``at(time)`` is the nearest pose no further than ``tolerance`` from ``time``. If it may still come it is waited for,
    ``wait`` seconds at most; once that was in vain there is no more waiting until a new pose has come. Poses before the
    moment are forgotten.
    """

    def __init__(
        self,
        lines: Lines,
        kind: Kind,
        tolerance: float = 0.02,
        wait: float = 1.0,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], object] = time.sleep,
    ) -> None:
        self.lines, self.kind, self.wait, self.clock, self.sleep = lines, kind, wait, clock, sleep
        self.tolerance = 0.5 if kind == "kitti" else tolerance
        self.recent: deque[TimedPose] = deque()
        self.read, self.in_vain, self.disorder = 0, False, False

    def at(self, time: float) -> TimedPose | None:
        deadline = self.clock() + self.wait
        while not (self.recent and self.recent[-1].time >= time):
            if self._pull():
                continue
            if self.lines.ended or self.in_vain:
                break
            if self.clock() >= deadline:
                self.in_vain = True
                break
            self.sleep(0.005)
        while len(self.recent) > 1 and self.recent[1].time <= time:
            self.recent.popleft()
        near = min(list(self.recent)[:2], key=lambda pose: abs(pose.time - time), default=None)
        return near if near is not None and abs(near.time - time) <= self.tolerance else None

    def _pull(self) -> bool:
        """Take what has come; whether anything has."""
        lines = self.lines.poll()
        for line in lines:
            if line.strip() and not line.lstrip().startswith("#"):
                pose = parse(line, self.kind, self.read)
                self.read += 1
                if not self.recent or pose.time > self.recent[-1].time:
                    self.recent.append(pose)
                elif not self.disorder:
                    self.disorder = True
                    warnings.warn(
                        f"pose {self.read} is of {pose.time} s, not later than the one before it; expected rising "
                        "times; it and others like it are left out",
                        stacklevel=2,
                    )
        self.in_vain = self.in_vain and not lines
        return bool(lines)


def parse(line: str, kind: Kind, number: int) -> TimedPose:
    """One line: ``time tx ty tz qx qy qz qw`` (tum), 12 or 16 numbers of row ``number`` (kitti), or json:
    ``{"timestamp": s, "cam_to_world": [16 numbers] or null, "intrinsics": [fx, fy, cx, cy]}``, the last optional."""
    where = f"pose {number + 1} ({line.strip()[:60]!r})"
    if kind == "json":
        return _parse_json(line, where)
    try:
        values = [float(word) for word in line.replace(",", " ").split()]
    except ValueError:
        values = []
    expected = {"tum": ((8,), "time tx ty tz qx qy qz qw"), "kitti": ((12, 16), "12 or 16 numbers of a matrix")}[kind]
    if len(values) not in expected[0]:
        raise InputError(f"{where} cannot be read; expected {expected[1]}; correct it, or give another --pose-format")
    if kind == "kitti":
        return TimedPose(number, pose_from_row(values, where) if _finite(values) else None)
    if not _finite(values) or not any(values[4:]):
        return TimedPose(_time(values[0], where), None)
    x, y, z, w = values[4:]
    rotation = quaternion_to_matrix(torch.tensor([w, x, y, z], dtype=torch.float64))
    return TimedPose(values[0], pose_matrix(rotation, torch.tensor(values[1:4], dtype=torch.float64)))


def _parse_json(line: str, where: str) -> TimedPose:
    try:
        data = json.loads(line)
        moment, matrix = float(data["timestamp"]), data["cam_to_world"]
        values = None if matrix is None else [float("nan") if v is None else float(v) for v in matrix]
    except (ValueError, KeyError, TypeError):
        raise InputError(
            f'{where} cannot be read; expected {{"timestamp": seconds, "cam_to_world": [16 numbers]}}; correct it'
        ) from None
    pose = pose_from_row(values, where) if values is not None and _finite(values) else None
    return TimedPose(_time(moment, where), pose, data.get("intrinsics"))


def _finite(values: list[float]) -> bool:
    return all(math.isfinite(value) for value in values)


def _time(value: float, where: str) -> float:
    if not math.isfinite(value):
        raise InputError(f"{where} has no time; expected seconds; correct it")
    return value


def kind_of(path: Path) -> Kind:
    """What a pose file holds, by its first line; JSON lines by their ending too. An empty file is taken as tum."""
    if path.suffix in (".json", ".jsonl"):
        return "json"
    for line in FileLines(path).poll():
        if line.strip() and not line.startswith("#"):
            words = line.replace(",", " ").split()
            return "json" if line.lstrip().startswith("{") else "kitti" if len(words) in (12, 16) else "tum"
    return "tum"
