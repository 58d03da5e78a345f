"""``kinodepth live``: depth of a camera, a network stream, or a recording that is still being made."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from threading import Event
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from kinodepth.data.live import Numbered
    from kinodepth.data.trajectory import PoseFeed
    from kinodepth.inference.live import Counters
    from kinodepth.inference.model import DepthModel
    from kinodepth.types import Camera, Sequence

EXAMPLES = """
kinodepth live run 0 --fov 70
odometry | kinodepth live weights.safetensors rtsp://robot/front --poses - --intrinsics K.json --out depth
kinodepth live run recording/images --follow 5 --poses trajectory.txt --intrinsics K.txt --save npz,ply --out depth
"""
REPEATED = {"set": "override one setting of the method, e.g. --set width=640; may be given again"}


def run(
    model: str,
    source: str,
    poses: str | None = None,
    out: str | None = None,
    weights: str | None = None,
    save: str = "npz",
    frames: Literal["latest", "all"] | None = None,
    pose_format: Literal["tum", "kitti", "json"] | None = None,
    tolerance: float = 0.02,
    wait: float = 1.0,
    offset: float = 0.0,
    follow: float = 0.0,
    intrinsics: str | None = None,
    fov: float | None = None,
    size: str | None = None,
    fps: float | None = None,
    every: float = 5.0,
    device: str = "auto",
    precision: Literal["fp32", "bf16"] = "fp32",
    resolution: Literal["image", "network"] = "image",
    set: list[str] | None = None,
) -> int:
    """Predict depth of frames as they come and say what it costs; Ctrl-C ends it with everything written.

    Args:
        model: a run folder or weights file of kinodepth, or the name of a method
        source: camera (0, 1, ... or a device), address (rtsp://, http://, udp://), video, folder or other recording
        poses: file of poses that may still grow, - for JSON lines on standard input, or the run folder of a method that
            predicts them (depth is then known up to one factor); default: those of the source
        out: new folder to write to; default: nothing is written
        weights: weights for a method given by name: ours, a run folder or a published checkpoint
        save: any of npz,png16,ply
        frames: latest drops what arrives during work, all does not; default: latest for a camera or address, else all
        pose_format: tum, kitti (row k is of frame k) or json; default: by the first line
        tolerance: seconds between a frame and its pose, at most
        wait: seconds that a frame waits for its pose, at most
        offset: seconds to add to the time of a frame before its pose is looked up
        follow: read on in a video or folder that grows, until nothing has come for so many seconds
        intrinsics: K.txt or intrinsics.json of the frames (docs/data.md)
        fov: horizontal field of view in degrees, for a source without intrinsics
        size: picture size asked of a camera, e.g. 640x480
        fps: frame rate asked of a camera; frames per second of a folder without times that is followed, default 30
        every: seconds between two lines about the cost
        device: auto, cpu, cuda, cuda:N or mps
        precision: fp32 or bf16
        resolution: size of the depth: image or network
    """
    import sys
    from contextlib import nullcontext
    from pathlib import Path

    from kinodepth.cli._settings import key_values
    from kinodepth.data.live import in_real_time, is_device, recorded
    from kinodepth.inference import live
    from kinodepth.inference.live_folder import LiveFolder
    from kinodepth.inference.model import is_ours, load, load_odometry, with_odometry
    from kinodepth.types import Sequence

    loaded = load(model, weights, device=device, precision=precision, config=key_values(set or []))
    if poses is not None and is_ours(poses):
        loaded, poses = with_odometry(loaded, load_odometry(poses, loaded)), None
    stop, counters = Event(), live.Counters()
    take = live.latest if (frames or ("latest" if is_device(source) else "all")) == "latest" else live.every
    given, camera = _frames(source, follow, size, fps, stop), _camera(intrinsics, fov)
    if poses is None:
        _check(loaded, given, source, frozenset() if camera is None else frozenset({"camera"}))
    if isinstance(given, Sequence):
        given = recorded(given, loaded.needs) if take is live.every else in_real_time(recorded(given, loaded.needs))
    feed = None if poses is None else _feed(poses, pose_format, tolerance, wait, stop)
    stream = live.posed(take(given, counters, stop), counters, feed, camera, offset)
    command = " ".join(["kinodepth", *sys.argv[1:]])
    parts = tuple(part.strip() for part in save.split(",") if part.strip())
    place: Any = nullcontext() if out is None else LiveFolder(Path(out), loaded, source, parts, resolution, command)
    with _stopped_by_signals(stop), place as folder:
        for frame, prediction in live.live(loaded, stream, counters, resolution, _reporter(counters, every)):
            if folder is not None:
                folder.write(frame, prediction)
    print(counters.sentence() + (f"; {out}" if out is not None else ""))
    return 0


def _check(model: DepthModel, given: Iterator[Numbered] | Sequence, source: str, elsewhere: frozenset[str]) -> None:
    """Raise ``InputError`` unless ``given`` has what ``model`` needs and does not get from ``elsewhere``."""
    from kinodepth.types import InputError, Sequence

    if isinstance(given, Sequence):
        model.check(given, elsewhere)
    elif "cam_to_world" in model.needs:
        run = ", or a RUN that predicts them" if model.method.one_picture else ""
        raise InputError(f"{source} has no poses, {model.method.name} needs them; give --poses FILE or --poses -{run}")


def _frames(
    source: str, follow: float, size: str | None, fps: float | None, stop: Event
) -> Iterator[Numbered] | Sequence:
    """The frames of whatever ``source`` is; a recording as such."""
    from pathlib import Path

    from kinodepth.data import live, open_sequence
    from kinodepth.types import InputError

    path = Path(source)
    if live.is_device(source):
        return live.device(source, size, fps)
    if not path.exists():
        raise InputError(f"{source} does not exist; expected a camera, an address, a video or a folder; check the path")
    if follow > 0 and path.is_dir():
        folder = path / "images" if (path / "images").is_dir() else path
        return live.growing_folder(folder, follow, fps or 30.0, stop.wait)
    if follow > 0:
        return live.growing_video(path, follow)
    return open_sequence(source)


def _feed(
    poses: str, kind: Literal["tum", "kitti", "json"] | None, tolerance: float, wait: float, stop: Event
) -> PoseFeed:
    import sys
    import warnings
    from pathlib import Path

    from kinodepth.data import trajectory

    path = Path(poses)
    if poses != "-" and not path.exists():
        warnings.warn(f"--poses {poses} does not exist yet; until it does frames have no pose", stacklevel=2)
    lines = trajectory.StreamLines(sys.stdin) if poses == "-" else trajectory.FileLines(path)
    kind = kind or ("json" if poses == "-" else trajectory.kind_of(path))
    return trajectory.PoseFeed(lines, kind, tolerance, wait, sleep=stop.wait)


def _camera(intrinsics: str | None, fov: float | None) -> Callable[[int, int], Camera] | None:
    """How frames without a camera get one, by their width and height."""
    from pathlib import Path

    from kinodepth.data.calibration import camera_from_json, read_camera
    from kinodepth.types import InputError

    if intrinsics is not None and not Path(intrinsics).is_file():
        raise InputError(f"--intrinsics {intrinsics} is no file; expected K.txt or intrinsics.json; check the path")
    if intrinsics is not None:
        return lambda width, height: read_camera(Path(intrinsics), width, height)
    if fov is not None:
        return lambda width, height: camera_from_json({"fov": fov}, "--fov", width, height)
    return None


def _reporter(counters: Counters, every: float) -> Callable[[], None]:
    """A function that says, no more often than ``every`` seconds, how it goes."""
    import sys
    import time

    last = [time.monotonic()]

    def tell() -> None:
        if time.monotonic() - last[0] >= every:
            last[0] = time.monotonic()
            print(counters.sentence(), file=sys.stderr, flush=True)

    return tell


@contextmanager
def _stopped_by_signals(stop: Event) -> Iterator[None]:
    """Ctrl-C and a polite kill end the stream after the frame in work; a second one ends it at once."""
    import signal
    import threading

    def end(number: int, _: object) -> None:
        if stop.is_set():
            raise KeyboardInterrupt
        stop.set()

    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.signal(number, end) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
