"""ScanNet's .sens files: one scan of jpeg colour and compressed 16-bit depth with a pose per frame (version 4).

Layout: spec deep_video_mvs 7, little endian. Only an index of the frames is held in memory.
"""

from __future__ import annotations

import io
import struct
import zlib
from pathlib import Path
from typing import BinaryIO, NamedTuple

import numpy as np
import torch
from PIL import Image, UnidentifiedImageError
from torch import Tensor

from kinodepth.types import Camera, InputError

_FRAME = struct.Struct("<16f4Q")  # pose, times of colour and depth, bytes of both


class SensFrame(NamedTuple):
    """``pose`` 16 numbers, cam_to_world row-major; where the compressed colour and depth lie in the file."""

    pose: tuple[float, ...]
    color: tuple[int, int]
    depth: tuple[int, int]


class SensFile:
    """An opened scan: cameras, depth divisor and frames. Raises ``InputError`` for another version or a cut file."""

    def __init__(self, path: Path) -> None:
        self.path = path
        with path.open("rb") as file:
            version, name = self._take(file, "<IQ")
            if version != 4:
                raise InputError(f"{path} is version {version}; expected a .sens file of version 4; export it again")
            file.seek(name, 1)
            matrices = np.array(self._take(file, "<64f")).reshape(4, 4, 4)
            self.color_codec, self.depth_codec = self._take(file, "<2i")
            color_width, color_height, self.width, self.height = self._take(file, "<4I")
            self.divisor, count = self._take(file, "<fQ")
            self.color_camera = Camera.from_matrix(matrices[0], color_width, color_height)
            self.depth_camera = Camera.from_matrix(matrices[2], self.width, self.height)
            self.frames = [self._frame(file) for _ in range(count)]
            end = file.tell()
        if end > path.stat().st_size:
            raise self._cut()
        if self.color_codec not in (0, 1, 2) or self.depth_codec not in (0, 1):
            raise InputError(
                f"{path} has colour codec {self.color_codec} and depth codec {self.depth_codec}; expected raw, png or "
                "jpeg colour and raw or zlib depth; export it again"
            )

    def color(self, index: int) -> Tensor:
        """3 x H x W float32 in [0, 1], at the size of the colour camera."""
        data, camera = self._read(self.frames[index].color), self.color_camera
        try:
            if self.color_codec == 0:
                pixels = np.frombuffer(data, np.uint8).reshape(camera.height, camera.width, 3)
            else:
                with Image.open(io.BytesIO(data)) as image:
                    pixels = np.asarray(image.convert("RGB"))
        except (OSError, ValueError, UnidentifiedImageError):
            raise self._damaged(index) from None
        return torch.from_numpy(pixels.transpose(2, 0, 1).copy()).float() / 255

    def depth(self, index: int) -> Tensor:
        """1 x H x W float32 metres, 0 = none."""
        data = self._read(self.frames[index].depth)
        try:
            values = np.frombuffer(zlib.decompress(data) if self.depth_codec else data, "<u2")
            values = values.reshape(self.height, self.width)
        except (zlib.error, ValueError):
            raise self._damaged(index) from None
        return torch.from_numpy(values.astype(np.float32) / np.float32(self.divisor))[None]

    def _frame(self, file: BinaryIO) -> SensFrame:
        *pose, _, _, color, depth = self._take(file, _FRAME.format)
        start = file.tell()
        file.seek(color + depth, 1)
        return SensFrame(tuple(pose), (start, color), (start + color, depth))

    def _take(self, file: BinaryIO, layout: str) -> tuple:
        data = file.read(struct.calcsize(layout))
        if len(data) < struct.calcsize(layout):
            raise self._cut()
        return struct.unpack(layout, data)

    def _read(self, place: tuple[int, int]) -> bytes:
        with self.path.open("rb") as file:
            file.seek(place[0])
            return file.read(place[1])

    def _cut(self) -> InputError:
        return InputError(f"{self.path} ends too early; expected all frames its header names; download it again")

    def _damaged(self, index: int) -> InputError:
        return InputError(f"{self.path} frame {index} is damaged; expected intact pictures; download it again")
