"""Frames as they come: a camera, a network stream, a video or folder that is still being written, a recording played.

Each source is a generator of (number, frame): the number counts the source's frames from 0, whoever takes them. A frame
of a camera or network stream has the time of its arrival (seconds since 1970) as time stamp, others that of the
recording.
"""

from __future__ import annotations

import re
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import av
import numpy as np
import torch

from kinodepth.data.images import list_images, read_image
from kinodepth.types import Frame, InputError, Sequence

Numbered = tuple[int, Frame]
SILENCE = 10.0  # seconds without a frame after which a camera or network stream has ended


def is_device(source: str) -> bool:
    """Whether ``source`` is a camera (0, 1, ... or a device) or a network address."""
    return source.isdigit() or source.startswith("/dev/") or bool(re.match(r"[a-z0-9]+://", source))


def device(source: str, size: str | None = None, rate: float | None = None) -> Iterator[Numbered]:
    """Frames of a camera (a number, or what FFmpeg calls it) or of an address such as rtsp://host/path."""
    if "://" in source:
        file, format, options = source, None, {}
        if source.startswith("rtsp"):  # frames without holes, and none from before it was opened
            options = {"rtsp_transport": "tcp", "fflags": "nobuffer"}
    else:
        format, prefix = {"darwin": ("avfoundation", ""), "win32": ("dshow", "video=")}.get(
            sys.platform, ("v4l2", "/dev/video" if source.isdigit() else "")
        )
        file, options = prefix + source, {}
        options |= {"video_size": size} if size else {}
        rate = rate or (30.0 if format == "avfoundation" else None)  # its own default is one no camera has
        options |= {"framerate": f"{rate:g}"} if rate else {}
    for number, (_, image) in enumerate(_decoded(file, format, options, SILENCE)):
        yield number, Frame(f"{number:06d}", image, time.time())


def growing_video(path: Path, idle: float) -> Iterator[Numbered]:
    """Frames of a video file that is still being written (.ts, .mkv); it has ended after ``idle`` seconds without."""
    for number, (moment, image) in enumerate(_decoded(str(path), None, {"follow": "1"}, idle)):
        yield number, Frame(f"{number:06d}", image, moment)


def _decoded(
    file: str, format: str | None, options: dict[str, str], silence: float
) -> Iterator[tuple[float | None, torch.Tensor]]:
    try:
        container: Any = av.open(file, format=format, options=options, timeout=(max(silence, 5.0), silence))
    except (av.FFmpegError, ValueError) as error:
        raise InputError(
            f"{file} cannot be opened ({getattr(error, 'strerror', error)}); expected a camera, a stream or a video; "
            "check the name and whether another program uses it"
        ) from None
    with container:
        if not container.streams.video:
            raise InputError(f"{file} has no pictures; expected a video track; check the source")
        frames, count, why = container.decode(video=0), 0, "the data end"
        while True:
            try:
                frame = next(frames, None)
            except av.FFmpegError as error:  # silence, a lost connection, or the end of what was written
                frame, why = None, str(error.strerror)
            if frame is None and not count:
                raise InputError(f"{file} gave no picture ({why}); expected a running source; check it")
            if frame is None:
                return
            count += 1
            pixels = np.rot90(frame.to_ndarray(format="rgb24"), round((frame.rotation or 0) / 90))
            image = torch.from_numpy(pixels.copy()).permute(2, 0, 1).contiguous().float().div_(255)
            yield frame.time, image


def growing_folder(
    folder: Path, idle: float, rate: float = 30.0, sleep: Callable[[float], object] = time.sleep
) -> Iterator[Numbered]:
    """Images of a folder in name order, and those that are added behind them until none has come for ``idle`` seconds.

    Time stamps are the names where these are times (1305031102.175304.png), else the number over ``rate``.
    """
    last, number, waited = "", 0, 0.0
    while True:
        fresh = [path for path in list_images(folder) if path.name > last]
        for place, path in enumerate(fresh):
            try:
                image = read_image(path)
            except InputError:  # still being written?
                if waited < idle and place == len(fresh) - 1:
                    break
                raise
            last, waited = path.name, 0.0
            stated = float(path.stem) if re.fullmatch(r"\d+\.\d+", path.stem) else None
            yield number, Frame(path.stem, image, number / rate if stated is None else stated)
            number += 1
        else:
            if waited >= idle:
                return
        sleep(0.05)
        waited += 0.05


def recorded(sequence: Sequence, fields: frozenset[str]) -> Iterator[Numbered]:
    """The frames of a recording as fast as they are taken."""
    for number in range(len(sequence)):
        yield number, sequence.read(number, fields)


def in_real_time(
    frames: Iterable[Numbered],
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], object] = time.sleep,
) -> Iterator[Numbered]:
    """``frames`` no earlier than their time stamps say, counted from the first."""
    begin: float | None = None
    for number, frame in frames:
        if frame.timestamp is not None:
            begin = clock() - frame.timestamp if begin is None else begin
            sleep(max(0.0, begin + frame.timestamp - clock()))
        yield number, frame
