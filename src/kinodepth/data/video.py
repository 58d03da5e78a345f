"""Video files as recordings (PyAV), and mp4 out. Time is the presentation time of each frame, never index / rate."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from functools import partial
from pathlib import Path
from typing import Any

import av
import numpy as np
import torch
from torch import Tensor

from kinodepth.data.files import atomic
from kinodepth.types import Camera, InputError, Record, Sequence

VIDEO_SUFFIXES = (".mp4", ".mov", ".m4v", ".mkv", ".webm", ".avi", ".mpg", ".mpeg", ".ts", ".3gp", ".wmv", ".flv")


class _Reader:
    """Frames of one file by place in presentation order; reading on is decoding on, anything else seeks."""

    def __init__(self, path: Path, times: list[int], counted: bool) -> None:
        self.path, self.times, self.counted = path, times, counted
        self.place = {pts: index for index, pts in enumerate(times)}
        self.frames: Iterator[Any] | None = None
        self.next = 0

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "frames": None}  # a loader process opens the file itself

    def read(self, index: int) -> Tensor:
        """3 x H x W float32 RGB in [0, 1] of frame ``index``, turned upright by the rotation the file asks for."""
        onward = 0 <= index - self.next <= 60 or (self.counted and index >= self.next)
        if self.frames is None or not onward:
            self._seek(index)
        assert self.frames is not None
        try:
            for frame in self.frames:
                here = self.next if self.counted else self.place.get(frame.pts, -1)
                self.next = max(self.next, here + 1)
                if here == index:
                    pixels = np.rot90(frame.to_ndarray(format="rgb24"), round((frame.rotation or 0) / 90))
                    return torch.from_numpy(pixels.copy()).permute(2, 0, 1).contiguous().float().div_(255)
                if here > index:
                    raise self._broken(index, "its data are damaged")
        except av.FFmpegError as error:
            self.frames = None
            raise self._broken(index, str(error.strerror)) from None
        self.frames = None
        raise self._broken(index, "the data end before it")

    def _seek(self, index: int) -> None:
        container = av.open(str(self.path))
        stream = container.streams.video[0]
        stream.thread_type = "AUTO"
        if index and not self.counted:
            container.seek(self.times[index], stream=stream)
        self.frames, self.next = self._decoded(container.demux(stream)), 0

    def _decoded(self, packets: Iterable[Any]) -> Iterator[Any]:
        for packet in packets:
            try:
                yield from packet.decode()
            except av.FFmpegError:  # costs its own frames; whoever asks for one of them is told
                if self.counted:
                    raise

    def _broken(self, index: int, why: str) -> InputError:
        return InputError(
            f"{self.path}: frame {index} cannot be decoded ({why}); expected an intact video; copy or convert it again"
        )


def open_video(path: Path, name: str | None = None, camera: Camera | None = None) -> Sequence:
    """The recording in a video file: every frame with its time, read lazily. Frames are called by their number.

    A file that was cut off gives the frames that are there, with a warning. Raises ``InputError`` if it has none.
    """
    index = _index(path)
    times = index.times[_undecodable_start(path, index) :]
    reader = _Reader(path, times, index.counted)
    if index.cut:  # the last packets may be half there
        times = times[: _decodable(reader, len(times))]
    if not times:
        why = "it is cut off" if index.cut else "it is damaged or holds no times"
        raise InputError(f"{path} has no readable frame, {why}; expected an intact video; copy or convert it again")
    if index.cut:
        promised = f" of {index.promised}" if index.promised else ""
        warnings.warn(
            f"{path} is cut off: {len(times)}{promised} frames can be read, the rest is left out", stacklevel=2
        )
    records = [
        Record(f"{number:06d}", {"image": partial(reader.read, number)}, float(pts * index.base), camera)
        for number, pts in enumerate(times)
    ]
    return Sequence(name or path.stem, records, str(path))


@dataclass(frozen=True)
class _Index:
    """Presentation ``times`` in units of ``base`` seconds; how many frames the header promised (0: unknown), whether
    the file is ``cut`` off; ``counted`` where frames carry no times of their own and only their order counts."""

    times: list[int]
    base: Fraction
    promised: int
    cut: bool
    counted: bool


def _index(path: Path) -> _Index:
    times: list[int] = []
    packets, end, cut = 0, 0.0, False
    try:
        with av.open(str(path)) as container:
            if not container.streams.video:
                raise InputError(f"{path} has no readable picture track; expected an intact video; check the file")
            stream = container.streams.video[0]
            try:
                for packet in container.demux():
                    if packet.pts is None:
                        continue
                    end = max(end, float((packet.pts + (packet.duration or 0)) * packet.time_base))
                    if packet.stream.index == stream.index:
                        packets += 1
                        if not packet.is_corrupt and not packet.is_discard:
                            times.append(packet.pts)
            except av.FFmpegError:
                cut = True
            if stream.frames:
                cut = cut or packets < stream.frames
            elif "matroska" in container.format.name and container.duration:  # says how long it should be instead
                cut = cut or end < container.duration / av.time_base - 0.1
            # AVI stores no presentation times, and those of reordered frames that FFmpeg guesses are wrong
            counted = "avi" in container.format.name and bool(stream.codec_context.has_b_frames)
            return _Index(sorted(set(times)), stream.time_base or Fraction(1, 25), stream.frames, cut, counted)
    except av.FFmpegError as error:
        raise InputError(
            f"{path} cannot be opened as a video ({error.strerror}), it may be cut off; expected an intact file; "
            "copy it again"
        ) from None


def _undecodable_start(path: Path, index: _Index) -> int:
    """How many frames come before the first that can be decoded: recordings cut out of a stream begin in its middle."""
    try:
        with av.open(str(path)) as container:
            first = next(container.decode(video=0), None)
    except av.FFmpegError:
        return 0
    return 0 if index.counted or first is None or first.pts not in index.times else index.times.index(first.pts)


def _decodable(reader: _Reader, count: int) -> int:
    """How many of the first ``count`` frames can be decoded, found from the end."""
    while count:
        try:
            reader.read(count - 1)
            return count
        except InputError:
            count -= 1
    return 0


def write_video(path: Path, frames: Iterable[np.ndarray], rate: float = 25.0) -> None:
    """Write uint8 H x W x 3 RGB ``frames`` as H.264 mp4 at ``rate`` frames/s, whole or not at all.

    Odd sizes lose their last row or column, which the format cannot hold. Memory does not grow with the length.
    """
    with atomic(path) as temporary, av.open(str(temporary), "w", format="mp4") as container:
        stream: Any = None
        for pixels in frames:
            height, width = pixels.shape[0] // 2 * 2, pixels.shape[1] // 2 * 2
            if stream is None:
                stream = container.add_stream("libx264", rate=Fraction(rate).limit_denominator(1001))
                stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
                stream.options = {"crf": "20", "preset": "veryfast"}
            frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(pixels[:height, :width]), format="rgb24")
            for packet in stream.encode(frame):
                container.mux(packet)
        if stream is not None:
            for packet in stream.encode():
                container.mux(packet)
