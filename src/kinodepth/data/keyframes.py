"""Which frames of a posed stream are worth a prediction, and which earlier ones to match them with.

The keyframe buffer of DeepVideoMVS (spec deep_video_mvs 4) as functions over an explicit state. Poses are cam_to_world
in metres, double precision; a pose that is None or not finite means that tracking failed.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from enum import IntEnum
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from kinodepth.data.files import atomic
from kinodepth.geometry.pose import matrix_to_axis_angle, move_between, pose_distance
from kinodepth.types import InputError
from kinodepth.types import Sequence as Recording

LOST_AFTER = 30  # frames without a pose that are waited for
TRACKING_LOST = "TRACKING LOST"


class Decision(IntEnum):
    """What becomes of a frame; the numbers are the published ones."""

    FIRST = 0  # stored, nothing to match it with
    KEYFRAME = 1  # stored and predicted
    TOO_CLOSE = 2  # to the last keyframe: ignored
    LOST = 3  # too long without a pose: everything stored is forgotten
    STILL_LOST = 4
    NO_POSE = 5  # ignored, may come back


@dataclass(frozen=True)
class KeyframeRule:
    """``buffer_size`` keyframes are kept, the current one included; ``distance`` is the combined pose distance that
    makes a keyframe; measurement frames are those nearest to the optimal translation (m) and rotation."""

    buffer_size: int = 30
    distance: float = 0.1
    optimal_translation: float = 0.15
    optimal_rotation: float = 0.0


@dataclass(frozen=True)
class KeyframeBuffer:
    """``poses`` and ``items`` (anything that belongs to a keyframe), oldest first; ``lost`` frames without a pose."""

    poses: tuple[Tensor, ...] = ()
    items: tuple[Any, ...] = ()
    lost: int = 0


def is_known(pose: Tensor | None) -> bool:
    """Whether there is a pose, of finite numbers."""
    return pose is not None and bool(torch.isfinite(pose).all())


def decide(buffer: KeyframeBuffer, pose: Tensor | None, rule: KeyframeRule) -> tuple[Decision, KeyframeBuffer]:
    """Judge a frame by its pose; ``remember`` stores it if it is the first or a keyframe."""
    if not is_known(pose):
        if buffer.lost < LOST_AFTER:
            return Decision.NO_POSE, replace(buffer, lost=buffer.lost + 1)
        found = Decision.LOST if buffer.poses else Decision.STILL_LOST
        return found, KeyframeBuffer(lost=buffer.lost + 1)
    assert pose is not None
    buffer = replace(buffer, lost=0)
    if not buffer.poses:
        return Decision.FIRST, buffer
    combined, _, _ = pose_distance(move_between(buffer.poses[-1], pose))
    return Decision.KEYFRAME if combined >= rule.distance else Decision.TOO_CLOSE, buffer


def remember(buffer: KeyframeBuffer, pose: Tensor, item: Any, rule: KeyframeRule) -> KeyframeBuffer:
    """The buffer with a keyframe more; the oldest drops out when it is full."""
    keep = slice(-rule.buffer_size, None)
    return KeyframeBuffer((*buffer.poses, pose.double())[keep], (*buffer.items, item)[keep], buffer.lost)


def choose_measurements(buffer: KeyframeBuffer, count: int, rule: KeyframeRule) -> list[int]:
    """Places in ``buffer`` of the at most ``count`` best frames to match the last one with, best first."""
    *earlier, current = buffer.poses
    if not earlier:
        return []
    _, rotation, translation = pose_distance(move_between(current.expand(len(earlier), 4, 4), torch.stack(earlier)))
    excess = translation - rule.optimal_translation
    weight = torch.where(excess < 0, 5.0, 1.0)
    penalty = (rotation - rule.optimal_rotation).square() + weight * excess.square()
    return penalty.argsort(stable=True)[:count].tolist()


Row = tuple[int, ...] | str


def keyframe_rows(
    poses: Iterable[Tensor | None], count: int, rule: KeyframeRule = KeyframeRule()
) -> tuple[list[Decision], list[Row]]:
    """Run the buffer over a whole recording: a decision per frame; per prediction the frame's index and those of its at
    most ``count`` measurement frames, and ``TRACKING LOST`` where everything was forgotten."""
    buffer, decisions, rows = KeyframeBuffer(), [], list[Row]()
    for index, pose in enumerate(poses):
        decision, buffer = decide(buffer, pose, rule)
        decisions.append(decision)
        if pose is not None and decision in (Decision.FIRST, Decision.KEYFRAME):
            buffer = remember(buffer, pose, index, rule)
        if decision is Decision.KEYFRAME:
            rows.append((index, *(buffer.items[i] for i in choose_measurements(buffer, count, rule))))
        elif decision is Decision.LOST:
            rows.append(TRACKING_LOST)
    return decisions, rows


SIMPLE = (Decision.FIRST, Decision.KEYFRAME, Decision.LOST, Decision.STILL_LOST, Decision.NO_POSE)  # by published code


def simple_rows(poses: Iterable[Tensor | None], count: int, skip: int) -> tuple[list[tuple[int, int]], list[Row]]:
    """The comparison buffer: every ``skip``-th frame is a keyframe, matched with the ``count`` before it.

    Returns (frame, published code, see ``SIMPLE``) of the frames looked at, and rows as ``keyframe_rows``.
    """
    found, stored, lost, index = list[tuple[int, int]](), list[int](), 0, 0
    rows = list[Row]()
    every = list(poses)
    while index < len(every):
        if is_known(every[index]):
            found.append((index, 1 if stored else 0))
            stored, lost = [*stored, index][-count - 1 :], 0
            if len(stored) > 1:
                rows.append((index, *stored[:-1]))
            index += skip
            continue
        lost += 1
        if lost <= LOST_AFTER:
            found.append((index, 4))
        else:
            found.append((index, 2 if stored else 3))
            rows += [TRACKING_LOST] if stored else []
            stored = []
        index += 1
    return found, rows


def measurement_moves(poses: Sequence[Tensor | None], rows: Iterable[Row]) -> Tensor:
    """How far each keyframe of ``rows`` is from each of its measurement frames: N x 2, metres and degrees."""
    pairs = [(row[0], other) for row in rows if not isinstance(row, str) for other in row[1:]]
    found = [(poses[a], poses[b]) for a, b in pairs]
    known = [(a, b) for a, b in found if a is not None and b is not None]
    if not known:
        return torch.zeros(0, 2, dtype=torch.float64)
    moves = move_between(*(torch.stack(side) for side in zip(*known, strict=True)))
    angles = matrix_to_axis_angle(moves[:, :3, :3]).norm(dim=-1)
    return torch.stack((moves[:, :3, 3].norm(dim=-1), angles.rad2deg()), -1)


def image_names(recording: Recording) -> list[str]:
    """The image file name of every frame, as index files have it; the frame's name where no file is its own."""
    loaders = [record.load.get("image") for record in recording.records]
    files = [next((arg for arg in getattr(load, "args", ()) if isinstance(arg, Path)), None) for load in loaders]
    return [record.name if file is None else file.name for record, file in zip(recording.records, files, strict=True)]


def index_name(method: str, dataset: str, scene: str, count: int) -> str:
    """The published name of an index file; ``method`` is ``keyframe`` or ``simple10``."""
    return f"{method}+{dataset}+{scene}+nmeas+{count}"


def write_index(path: Path, rows: Iterable[Row], names: list[str]) -> None:
    """Write one line per prediction: image file names of the frame and its measurement frames (spec 4)."""
    lines = [row if isinstance(row, str) else " ".join(names[i] for i in row) for row in rows]
    with atomic(path) as temporary:
        temporary.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")


def read_index(path: Path, names: list[str]) -> list[Row]:
    """Read an index file; indices are places in ``names``. Raises ``InputError`` for a name that is not there."""
    places = {name: place for place, name in enumerate(names)}
    rows = list[Row]()
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path} cannot be read as a keyframe index ({error}); expected a text file") from None
    for line in filter(None, map(str.strip, lines)):
        unknown = [] if line == TRACKING_LOST else [name for name in line.split() if name not in places]
        if unknown:
            raise InputError(
                f"{path} names {unknown[0]}, which the recording does not have; expected its image files; check both"
            )
        rows.append(line if line == TRACKING_LOST else tuple(places[name] for name in line.split()))
    return rows
