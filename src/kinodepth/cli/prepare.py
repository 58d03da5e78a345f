"""``kinodepth prepare``: any recording into one simple folder."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from kinodepth.data.selection import Selection
    from kinodepth.types import Sequence

FEWEST = 4  # frames in which a window of three has a place (spec sc_depth 11.3)
EXAMPLES = """
kinodepth prepare drive.mp4 drive --size 640x192
kinodepth prepare kitti/2011_09_26 kitti_small --format kitti_raw --size 416x128 --stride 2
kinodepth prepare walk.mp4 walk --start 3 --end 60 --changed 0.2 --fov 65
kinodepth prepare walk.mp4 walk --select parallax --dry-run
kinodepth prepare data_depth_annotated.zip kitti/dataset --kitti-odometry --dry-run
"""


def run(
    source: str,
    out: str,
    size: str | None = None,
    stride: int = 1,
    start: float | None = None,
    end: float | None = None,
    changed: float | None = None,
    select: Literal["published", "signed", "parallax"] | None = None,
    select_share: float = 0.5,
    select_level: int = 10,
    select_parallax: float = 1.0,
    fov: float | None = None,
    format: str | None = None,
    depth_divisor: float | None = None,
    kitti_odometry: bool = False,
    dry_run: bool = False,
) -> int:
    """Turn a video or any layout we read into a folder of images, camera, poses, depth and masks (docs/data.md).

    The same command again continues where it was interrupted. Several recordings become several folders in OUT.

    Args:
        source: video, folder of images, recording in any format we read, or a folder of these
        out: folder to write
        size: WIDTHxHEIGHT in pixels; image, camera, depth and masks are resized together; default: as it is
        stride: keep every so-manyth frame
        start: leave out what is earlier, in seconds from the first frame
        end: leave out what is later, in seconds from the first frame
        changed: leave out frames in which less than this share of the pixels changed since the last kept one, e.g. 0.2
        select: write frame_index.txt, the frames to train on; the others stay for everything else. published: the rule
            of SC-Depth as published, signed: the same with its 8-bit overflow corrected, parallax: by the motion that
            no turning of the camera explains
        select_share: published and signed: share of the pixels that must change from the last selected frame
        select_level: published and signed: grey levels of 255 that count as a change
        select_parallax: pixels at 160 lines between selected frames
        fov: horizontal field of view in degrees, for recordings without intrinsics
        format: format of the source; default: detected
        depth_divisor: stored depth of 1 m, for layouts that do not fix it, e.g. 1000 for millimetres
        kitti_odometry: SOURCE is KITTI's annotated depth (its zip, or the folder it was unpacked to), OUT the odometry
            data set: each sequence there gets the depth maps of its drive
        dry_run: only say what would be written, and what is missing
    """
    if kitti_odometry:
        return _annotate(source, out, dry_run)
    from pathlib import Path

    from rich.console import Console

    from kinodepth.cli._views import progress
    from kinodepth.data import open_sequences
    from kinodepth.data.prepare import Cut, choose, prepare
    from kinodepth.data.selection import Selection
    from kinodepth.engine.recordings import with_camera

    rule = None if select is None else Selection(select, select_share, select_level, select_parallax)
    cut = Cut(_size(size), stride, start, end, changed)
    options = {} if depth_divisor is None else {"depth_divisor": depth_divisor}
    found = open_sequences(source, format=format, **options)
    console = Console(highlight=False, soft_wrap=True)
    for sequence in found:
        if fov is not None:
            sequence = with_camera(sequence, fov)
        folder = Path(out) / sequence.name if len(found) > 1 else Path(out)
        chosen = choose(sequence, cut)
        index = _index(sequence, chosen, rule)
        if not dry_run:
            with progress("prepare", len(chosen)) as follow:
                for _ in follow(prepare(chosen, folder, cut, index)):
                    pass
        word = "would write" if dry_run else "wrote"
        console.print(f"{folder}: {word} {len(chosen)} of {len(sequence)} frames with {_fields(chosen)}")
        if index is not None:
            console.print(f"{folder}: {_statistics(index, len(chosen))}")
        left = len(chosen if index is None else index)
        if left < FEWEST:
            console.print(f"{folder}: warning: {left} frames left, and fewer than {FEWEST} cannot train; keep more")
    console.print(f"next: kinodepth check {out}")
    return 0


def _fields(sequence: Sequence) -> str:
    """What a recording has, and what it lacks of what is commonly wanted."""
    lacks = sorted({"camera", "cam_to_world", "depth", "timestamp"} - sequence.provides)
    return ", ".join(sorted(sequence.provides)) + (f"; without {', '.join(lacks)}" if lacks else "")


def _annotate(source: str, out: str, dry_run: bool) -> int:
    """Annotated depth of the raw drives beside the odometry sequences."""
    from pathlib import Path

    from rich.console import Console
    from rich.progress import track

    from kinodepth.data import annotated

    console = Console(highlight=False, soft_wrap=True)
    plans = annotated.plan(Path(source), Path(out))
    for plan in plans:
        console.print(plan.summary)
    total = sum(len(plan.entries) for plan in plans)
    if not dry_run:
        files = annotated.write(Path(source), plans)
        for _ in track(files, "prepare", total, console=Console(stderr=True), transient=True):
            pass
    console.print(f"{out}: {'would write' if dry_run else 'wrote'} {total} depth maps in {annotated.FOLDER}")
    return 0


def _index(sequence: Sequence, chosen: Sequence, rule: Selection | None) -> list[int] | None:
    """The frames of ``chosen`` to train on: by ``rule``, else those that the source says itself."""
    from kinodepth.data.selection import select, training_frames

    if rule is not None:
        return select(chosen, rule)
    stated = training_frames(sequence)
    names = {record.name for record in stated.records}
    return None if stated is sequence else [i for i, record in enumerate(chosen.records) if record.name in names]


def _statistics(index: list[int], total: int) -> str:
    from itertools import pairwise
    from statistics import median

    steps = [b - a for a, b in pairwise(index)]
    apart = f", {min(steps)} to {max(steps)} frames apart (median {median(steps):g})" if steps else ""
    return f"selected {len(index)} of {total} frames for training ({len(index) / max(total, 1):.0%}){apart}"


def _size(text: str | None) -> tuple[int, int] | None:
    from kinodepth.types import InputError

    if text is None:
        return None
    width, _, height = text.partition("x")
    if not (width.isdigit() and height.isdigit() and int(width) and int(height)):
        raise InputError(f"--size {text!r} is not a size; expected WIDTHxHEIGHT; write for example --size 640x192")
    return int(width), int(height)
