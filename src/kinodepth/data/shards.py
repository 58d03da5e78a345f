"""Maps of a recording in one compact file, which can be read frame by frame: what one stage of a training leaves for
the next.

====================  ===================================================================  =========================
codec                 stored                                                               error
====================  ===================================================================  =========================
bits                  one bit per value (bool)                                             none
ids                   one byte per value (0 to 255)                                        none
depth                 steps of 0.1 % between neighbours in a row, 0 = none (positive)      0.05 % of the value
half                  16-bit floats, their high bytes first                                0.05 % of the value
====================  ===================================================================  =========================

All are compressed without loss: with zstandard where Python has it (from 3.14 on), else with zlib.
"""

from __future__ import annotations

import json
import math
import zlib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from kinodepth.data.files import atomic
from kinodepth.geometry.sampling import resize
from kinodepth.types import InputError, Record, Sequence

try:  # the standard library's from Python 3.14 on
    from compression import zstd  # type: ignore[import-not-found, unused-ignore]

    PACK: dict[str, tuple[Callable[[bytes], bytes], Callable[[bytes], bytes]]] = {
        "zstd": (zstd.compress, zstd.decompress)
    }
except ImportError:
    PACK = {}
PACK["zlib"] = (partial(zlib.compress, level=6), zlib.decompress)

MAGIC = b"KDSHARD1"
STEP = math.log1p(0.001)  # of the logarithm of depth


def encode(values: Tensor, codec: str) -> bytes:
    """The bytes of ``values`` ... x H x W, not compressed yet."""
    array = values.detach().cpu().numpy()
    if codec == "bits":
        return np.packbits(array.astype(bool)).tobytes()
    if codec == "ids":
        return array.astype(np.uint8).tobytes()
    if codec == "half":
        return _planes(array.astype(np.float16).view(np.uint16))
    known = array > 0
    steps = np.where(known, np.round(np.log(np.where(known, array, 1)) / STEP), -32768).clip(-32768, 32767)
    return _planes(np.diff(steps.astype(np.int16), axis=-1, prepend=np.int16(0)).view(np.uint16))


def decode(data: bytes, codec: str, shape: tuple[int, ...]) -> Tensor:
    """The values that ``encode`` was given."""
    count = math.prod(shape)
    if codec == "bits":
        return torch.from_numpy(np.unpackbits(np.frombuffer(data, np.uint8), count=count).astype(bool)).view(shape)
    if codec == "ids":
        return torch.from_numpy(np.frombuffer(data, np.uint8).copy()).view(shape)
    high, low = np.frombuffer(data, np.uint8).reshape(2, -1).astype(np.uint16)
    words = (high << 8 | low).reshape(shape)
    if codec == "half":
        return torch.from_numpy(words.view(np.float16).astype(np.float32))
    steps = np.cumsum(words.view(np.int16), axis=-1, dtype=np.int16)
    depth = np.where(steps == -32768, 0, np.exp(steps.astype(np.float32) * np.float32(STEP)))
    return torch.from_numpy(depth.astype(np.float32))


def write_shard(
    path: Path, frames: Iterable[tuple[str, Mapping[str, Tensor]]], codecs: Mapping[str, str], note: Mapping[str, Any]
) -> int:
    """Write the maps of ``frames`` (name, maps by field) and ``note``; the number of frames. Whole or not at all."""
    name, (pack, _) = next(iter(PACK.items()))
    index: dict[str, dict[str, Any]] = {}
    with atomic(path) as temporary, temporary.open("wb") as file:
        for frame, maps in frames:
            index[frame] = {}
            for field, values in maps.items():
                data = pack(encode(values, codecs[field]))
                index[frame][field] = [file.tell(), len(data), codecs[field], list(values.shape)]
                file.write(data)
        tail = json.dumps({"pack": name, "note": dict(note), "frames": index}).encode()
        file.write(tail + len(tail).to_bytes(8, "little") + MAGIC)
    return len(index)


@lru_cache(maxsize=4096)
def _index(path: Path, changed: int) -> dict[str, Any]:
    with path.open("rb") as file:
        file.seek(-16, 2)
        end = file.read(16)
        if end[8:] != MAGIC:
            raise InputError(f"{path} is no complete shard; expected one that a stage wrote; remove it and resume")
        size = int.from_bytes(end[:8], "little")
        file.seek(-16 - size, 2)
        return dict(json.loads(file.read(size)))


def read_note(path: Path) -> dict[str, Any] | None:
    """What was noted in a shard; None if there is no complete one."""
    try:
        return dict(_index(path, path.stat().st_mtime_ns)["note"])
    except (OSError, InputError):
        return None


def joined(sequence: Sequence, path: Path) -> Sequence:
    """``sequence`` with the fields of the shard at ``path``; images and cameras at the size of its maps.

    Frames that the shard does not know have maps of zeros; other maps of the recording are left out where the size
    changes.
    """
    known = _index(path, path.stat().st_mtime_ns)
    unpack = known["pack"]
    if unpack not in PACK:
        raise InputError(f"{path} is packed with {unpack}; expected {', '.join(PACK)}; use Python 3.14 or newer")
    shapes = {field: entry for maps in known["frames"].values() for field, entry in maps.items()}
    if not shapes:
        raise InputError(f"{path} holds no frame; expected some; the recording {sequence.name} is too short")
    size = tuple(next(iter(shapes.values()))[3][-2:])
    records = []
    for record in sequence.records:
        entries = known["frames"].get(record.name, {})
        load = {field: partial(_read, path, unpack, entries.get(field), entry) for field, entry in shapes.items()}
        records.append(replace(_at_size(record, size), load={**_at_size(record, size).load, **load}))
    return Sequence(sequence.name, records, sequence.source)


def _read(path: Path, pack: str, entry: list[Any] | None, like: list[Any]) -> Tensor:
    codec, shape = like[2], tuple(like[3])
    if entry is None:
        return torch.zeros(shape, dtype={"bits": torch.bool, "ids": torch.uint8}.get(codec, torch.float32))
    offset, length, codec, shape = entry[0], entry[1], entry[2], tuple(entry[3])
    with path.open("rb") as file:
        file.seek(offset)
        return decode(PACK[pack][1](file.read(length)), codec, shape)


def _at_size(record: Record, size: tuple[int, int]) -> Record:
    """The record with images and camera at ``size``; as it is if its camera has that size already."""
    if record.camera is None or (record.camera.height, record.camera.width) == size:
        return record
    pictures = {key: partial(_resized, load, size) for key, load in record.load.items() if _is_picture(key)}
    return replace(record, load=pictures, camera=record.camera.resize(size[1], size[0]))


def _is_picture(key: str) -> bool:
    return key in ("image", "extra:previous", "extra:next")


def _resized(load: Callable[[], Tensor], size: tuple[int, int]) -> Tensor:
    return resize(load()[None], size, antialias=True)[0].clamp(0, 1)


def _planes(words: np.ndarray) -> bytes:
    """16-bit words as all their high bytes, then all their low ones: smooth maps compress better so."""
    return (words >> 8).astype(np.uint8).tobytes() + (words & 0xFF).astype(np.uint8).tobytes()
