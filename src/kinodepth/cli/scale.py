"""``kinodepth scale``: predictions of unknown scale into metres, by one thing that is known."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

    from torch import Tensor

    from kinodepth.data.predictions import Predictions
    from kinodepth.types import Sequence

FEW = 0.25  # share of the frames
EXAMPLES = """
kinodepth scale depth --camera-height 1.5
kinodepth scale depth --frame 000042 --pixel 320,200 --distance 3.6
kinodepth scale depth --depth measured
kinodepth scale depth --depth lidar --depth-divisor 256
kinodepth scale depth --poses metric_poses.txt
kinodepth scale depth --baseline 12.5
"""


def run(
    predictions: str,
    out: str | None = None,
    camera_height: float | None = None,
    distance: float | None = None,
    frame: str | None = None,
    pixel: str | None = None,
    depth: str | None = None,
    depth_divisor: float | None = None,
    poses: str | None = None,
    baseline: float | None = None,
    data: str | None = None,
    fov: float | None = None,
    png_divisor: float | None = None,
) -> int:
    """Write predictions of unknown scale in metres, by one factor for the whole clip; prints it and its spread.

    Give exactly one thing: the height of the camera, one measured distance, sparse depth, or metric camera poses.

    Args:
        predictions: folder of predictions, ours or npy, npz, png by frame name
        out: folder to write; default: the name of the predictions with _metric
        camera_height: metres of the camera above the ground that fills the lower part of the picture
        distance: metres from the camera to the point at --pixel of --frame
        frame: name of the frame that --distance was measured in
        pixel: X,Y of the measured point in the depth map
        depth: measured depth: a recording, or a folder of png, npy or npz by frame name; 0 = not measured
        depth_divisor: stored value / divisor = metres, for depth in png
        poses: poses.txt in metres (docs/data.md)
        baseline: metres between the cameras of the first and last frame, where poses are known in another unit
        data: the recording, for --poses and --baseline; default: what the predictions were made from
        fov: horizontal field of view in degrees, where no camera is known
        png_divisor: stored value / divisor = depth, for predictions in 16-bit PNG
    """
    from pathlib import Path

    from kinodepth.cli import report
    from kinodepth.data.predictions import open_predictions
    from kinodepth.inference import scale
    from kinodepth.types import InputError

    given = {
        "--camera-height": camera_height, "--distance": distance, "--depth": depth, "--poses": poses,
        "--baseline": baseline,
    }  # fmt: skip
    known = [option for option, value in given.items() if value is not None]
    if len(known) != 1:
        raise InputError(f"found {' and '.join(known) or 'nothing'} to scale by; expected one of {', '.join(given)}")
    for option in ("--camera-height", "--distance", "--baseline"):
        if given[option] is not None and not float(given[option] or 0) > 0:
            raise InputError(f"{option} is {given[option]}; expected metres above 0; correct it")
    found = open_predictions(predictions, divisor=png_divisor)
    if found.scale != "up_to_scale":
        why = "is metric already" if found.scale == "metric" else "is known up to a shift too, which no factor removes"
        raise InputError(f"{predictions} {why}; expected up_to_scale depth; choose other predictions")
    metric: dict[str, Tensor] | None = None
    factors: Iterator[tuple[str, float]]
    if camera_height is not None:
        factors = scale.by_height(found, camera_height, fov)
    elif distance is not None:
        factors = scale.by_distance(found, frame or "", *_pixel(pixel), distance)
    elif depth is not None:
        factors = scale.by_depth(found, scale.measured_depth(Path(depth), depth_divisor))
    else:
        sequence, metric = _posed(found, data, poses, baseline, fov)
        factors = scale.by_poses(found, sequence)
    folder = Path(out) if out is not None else Path(f"{Path(predictions).resolve().name}_metric")
    factor = scale.summary(dict(factors))
    for _ in scale.write_metric(found, factor, folder, f"{known[0]} {given[known[0]]}", metric):
        pass
    report.write(folder)
    print(
        f"1 {found.unit} = {factor.value:.4g} m, from {factor.frames} of {len(found)} frames; middle half of them "
        f"{factor.low:.4g} to {factor.high:.4g}, spread {factor.spread:.1%}"
    )
    if factor.frames < FEW * len(found) and distance is None:
        print("warning: that is few of the frames; hold the result against something else known before you rely on it")
    print(f"depth in metres: {folder}")
    return 0


def _pixel(text: str | None) -> tuple[int, int]:
    from kinodepth.types import InputError

    x, _, y = (text or "").partition(",")
    if not (x.strip().isdigit() and y.strip().isdigit()):
        raise InputError(f"--pixel {text!r} is not a pixel; expected X,Y; write for example --pixel 320,200")
    return int(x), int(y)


def _posed(
    found: Predictions, data: str | None, poses: str | None, baseline: float | None, fov: float | None
) -> tuple[Sequence, dict[str, Tensor]]:
    """The recording that was predicted, with metric poses, and these by prediction name."""
    from dataclasses import replace
    from pathlib import Path

    from kinodepth.data import open_sequence
    from kinodepth.data.calibration import pose_from_row, read_named
    from kinodepth.engine.recordings import with_camera
    from kinodepth.inference.scale import with_baseline
    from kinodepth.inference.writers import safe_name
    from kinodepth.types import InputError, Sequence

    source = data or found.about.get("source")
    if not source:
        raise InputError("the predictions do not say what they were made from; expected its images; give --data PATH")
    sequence = open_sequence(source)
    if fov is not None:
        sequence = with_camera(sequence, fov)
    if poses is not None:
        rows = read_named(Path(poses))
        stated = {name: pose_from_row(row, f"{poses}, frame {name}") for name, row in rows.items()}
    else:
        stated = {r.name: r.cam_to_world for r in sequence.records if r.cam_to_world is not None}
    kept = [record for record in sequence.records if record.name in stated]
    if len(kept) < 2:
        raise InputError(
            f"{poses or source} has poses of {len(kept)} of {len(sequence)} frames; expected at least two; check the "
            "frame names, or scale by something else"
        )
    stated = {record.name: stated[record.name] for record in kept}
    if baseline is not None:
        stated = with_baseline(stated, baseline)
    records = [replace(record, cam_to_world=stated[record.name]) for record in kept]
    return Sequence(sequence.name, records, sequence.source), {safe_name(k): v for k, v in stated.items()}
