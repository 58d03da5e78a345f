"""Depth of frames as they come: which frames are taken, which pose belongs to each, and what it cost.

taken = latest(source, counters)                    # or the source itself: every frame
for frame, prediction in live(model, posed(taken, feed, ...), counters): ...
"""

from __future__ import annotations

import threading
import time
import warnings
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace
from typing import Any

from kinodepth.data.calibration import camera_from_json
from kinodepth.data.checks.poses import JumpWatch
from kinodepth.data.live import Numbered
from kinodepth.data.trajectory import PoseFeed
from kinodepth.inference.model import DepthModel, Resolution
from kinodepth.inference.stream import Latency
from kinodepth.types import Camera, Frame, Prediction

Arrived = tuple[float, int, Frame]  # when (perf_counter), number, frame


@dataclass
class Counters:
    """Frames ``read`` from the source, ``dropped`` because one was still in work, ``unposed`` without a pose in time,
    ``predicted``; ``latency`` from a frame's arrival to its depth."""

    read: int = 0
    dropped: int = 0
    unposed: int = 0
    predicted: int = 0
    latency: Latency = field(default_factory=Latency)

    def sentence(self) -> str:
        told = f"read {self.read}, dropped {self.dropped}, without pose {self.unposed}, predicted {self.predicted}"
        found = self.latency.summary()
        return told + (
            f", latency p50 {found['p50_ms']:.0f} ms, p95 {found['p95_ms']:.0f} ms" if self.predicted else ""
        )


def every(frames: Iterable[Numbered], counters: Counters, stop: threading.Event | None = None) -> Iterator[Arrived]:
    """All frames, each taken from the source when the one before is done; ``stop`` ends the stream."""
    for number, frame in frames:
        if stop is not None and stop.is_set():
            return
        counters.read += 1
        yield time.perf_counter(), number, frame


def latest(frames: Iterable[Numbered], counters: Counters, stop: threading.Event | None = None) -> Iterator[Arrived]:
    """The newest frame whenever one is asked for: a thread reads the source, and what arrives meanwhile replaces what
    waits. Errors of the source are raised here, after the frame that waits."""
    changed, stop = threading.Condition(), stop or threading.Event()
    waiting: list[Arrived] = []
    ended: list[BaseException | None] = []

    def read() -> None:
        failure: BaseException | None = None
        try:
            for arrived in every(frames, counters, stop):
                with changed:
                    counters.dropped += len(waiting)
                    waiting[:] = [arrived]
                    changed.notify()
        except BaseException as error:
            failure = error
        with changed:
            ended.append(failure)
            changed.notify()

    threading.Thread(target=read, daemon=True).start()
    try:
        while True:
            with changed:
                while not (waiting or ended or stop.is_set()):
                    changed.wait(0.1)
                if stop.is_set():
                    return
                arrived = waiting.pop() if waiting else None
            if arrived is None:
                if ended[0] is not None:
                    raise ended[0]
                return
            yield arrived
    finally:
        stop.set()


def posed(
    frames: Iterable[Arrived],
    counters: Counters,
    feed: PoseFeed | None = None,
    camera: Callable[[int, int], Camera] | None = None,
    offset: float = 0.0,
) -> Iterator[tuple[float, Frame]]:
    """``frames`` with the pose that ``feed`` has for their time + ``offset`` seconds (kitti: for their number).

    ``camera(width, height)`` is that of frames without one; a camera that comes with the pose goes first. A frame
    without pose goes on without.
    """
    watch = JumpWatch()
    for arrived, number, frame in frames:
        height, width = frame.image.shape[-2:]
        if frame.camera is None and camera is not None:
            frame = replace(frame, camera=camera(width, height))
        if feed is not None:
            moment = float(number) if feed.kind == "kitti" else (frame.timestamp or 0.0) + offset
            found = feed.at(moment)
            frame = replace(frame, cam_to_world=None if found is None else found.cam_to_world)
            if found is not None and found.intrinsics is not None:
                where = f"the pose of frame {frame.name}: intrinsics"
                frame = replace(frame, camera=camera_from_json(found.intrinsics, where, width, height))
        counters.unposed += frame.cam_to_world is None and (feed is not None or watch.last is not None)
        if jump := watch.jump(frame.cam_to_world):
            warnings.warn(
                f"the position jumps by {jump:.3g} m at frame {frame.name}; expected a continuous path; depth starts "
                "anew where the views before and after do not overlap",
                stacklevel=2,
            )
        yield arrived, frame


def live(
    model: DepthModel,
    frames: Iterable[tuple[float, Frame]],
    counters: Counters,
    resolution: Resolution = "image",
    seen: Callable[[], Any] = lambda: None,
) -> Iterator[tuple[Frame, Prediction]]:
    """Frames with their predictions; frames for which there is none (no keyframe, no pose) are left out. ``seen`` is
    called after every frame."""
    current: list[Any] = [0.0, None]

    def watched() -> Iterator[Frame]:
        for arrived, frame in frames:
            current[:] = [arrived, frame]
            yield frame
            seen()

    for prediction in model.predict(watched(), resolution):
        arrived, frame = current
        counters.latency.add(time.perf_counter() - arrived)
        counters.predicted += 1
        yield frame, prediction
