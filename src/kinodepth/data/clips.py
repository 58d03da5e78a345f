"""Training windows: which frames make a clip, and reading it. A window never crosses the end of a recording."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor

from kinodepth.types import Clip, Frame, InputError, Sequence


def triplets(count: int, stride: int = 1, length: int = 3) -> list[tuple[int, ...]]:
    """Windows (target, references...) of frame indices of a recording of ``count`` frames.

    With m = (length - 1) // 2 the references lie 1..m strides before and after the target, ascending; there is none
    if ``count`` <= ``length`` (SC-Depth, spec 11.3).
    """
    half = (length - 1) // 2
    if count <= length:
        return []
    shifts = [k * stride for k in range(-half, half + 1) if k]
    return [(i, *(i + shift for shift in shifts)) for i in range(half * stride, count - half * stride)]


def read_clip(sequence: Sequence, indices: Iterable[int], target: int = 0, fields: Iterable[str] = ()) -> Clip:
    """The clip (B = 1) of the frames ``indices`` of ``sequence``, with ``fields`` besides images, camera and poses.

    Raises ``InputError`` if the frames differ in size or camera, or a field is missing.
    """
    frames = [sequence.read(index, tuple(fields)) for index in indices]
    first = frames[0]
    for frame in frames:
        if frame.image.shape != first.image.shape:
            raise InputError(
                f"{sequence.name}: frames {first.name} and {frame.name} differ in size, {tuple(first.image.shape[1:])} "
                f"and {tuple(frame.image.shape[1:])}; expected one size; prepare the recording with one --size"
            )
    if first.camera is None:
        raise InputError(f"{sequence.name} has no camera; expected intrinsics; add them or give --fov")
    maps = [key for key in fields if key not in ("image", "camera", "timestamp", "cam_to_world")]
    stacked = {key: _stack(frames, key, sequence) for key in maps}
    poses = [frame.cam_to_world for frame in frames]
    return Clip(
        torch.stack([frame.image for frame in frames])[None],
        (first.camera,),
        target,
        torch.stack([pose for pose in poses if pose is not None])[None] if all(p is not None for p in poses) else None,
        stacked.pop("depth", None),
        stacked.pop("prior_depth", None),
        {key.removeprefix("mask:"): value for key, value in stacked.items() if key.startswith("mask:")},
        {key.removeprefix("extra:"): value for key, value in stacked.items() if key.startswith("extra:")},
        (f"{sequence.name}/{frames[target].name}",),
    )


def collate(clips: list[Clip]) -> Clip:
    """One clip of all, joined along the batch axis."""
    if len(clips) == 1:
        return clips[0]
    first = clips[0]

    def join(values: list[Tensor | None]) -> Tensor | None:
        present = [value for value in values if value is not None]
        return torch.cat(present) if len(present) == len(values) else None

    return Clip(
        torch.cat([clip.images for clip in clips]),
        tuple(camera for clip in clips for camera in clip.cameras),
        first.target,
        join([clip.cam_to_world for clip in clips]),
        join([clip.depth for clip in clips]),
        join([clip.prior_depth for clip in clips]),
        {key: torch.cat([clip.masks[key] for clip in clips]) for key in first.masks},
        {key: torch.cat([clip.extra[key] for clip in clips]) for key in first.extra},
        tuple(name for clip in clips for name in clip.names),
    )


def _stack(frames: list[Frame], key: str, sequence: Sequence) -> Tensor:
    kind, _, name = key.partition(":")
    values = [getattr(f, kind) if not name else (f.masks if kind == "mask" else f.extra).get(name) for f in frames]
    for frame, value in zip(frames, values, strict=True):
        if value is None:
            raise InputError(f"{sequence.name}: frame {frame.name} has no {key}; expected it for every frame; add it")
        if value.shape[-2:] != frame.image.shape[-2:]:
            raise InputError(
                f"{sequence.name}: {key} of frame {frame.name} is {value.shape[-2]} x {value.shape[-1]}, its image "
                f"{frame.image.shape[-2]} x {frame.image.shape[-1]}; expected one size; write it at the image's size"
            )
    return torch.stack([value for value in values if value is not None])[None]
