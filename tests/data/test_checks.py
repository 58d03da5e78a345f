"""Every diagnosis has a recording that triggers it and one, the walk through a room, that triggers none."""

from __future__ import annotations

import os
from dataclasses import replace
from functools import cache
from pathlib import Path

import pytest
import torch

from kinodepth.data import open_sequence
from kinodepth.data import synthetic as made_up
from kinodepth.data.checks import check
from kinodepth.geometry import pose
from kinodepth.types import Record, Sequence

DATA = Path(os.environ.get("KINODEPTH_DATA", Path(__file__).resolve().parents[3] / "shared" / "data"))
FLIP = torch.diag(torch.tensor([1.0, -1.0, -1.0, 1.0], dtype=torch.float64))


@cache
def rendered(motion: str, seed: int = 0, frames: int = 12, fps: float | None = None) -> Sequence:
    """A small room in memory."""
    lazy = made_up.sequence(seed, "room", frames, 213, 160, motion, fps=fps, noise=0.01)
    records = []
    for index, record in enumerate(lazy.records):
        frame = lazy.read(index, ("depth", "mask:dynamic"))
        load = {"image": frame.image, "depth": frame.depth, "mask:dynamic": frame.masks["dynamic"]}
        records.append(replace(record, load={key: lambda value=value: value for key, value in load.items()}))
    return Sequence(f"room {motion}", records)


def walk() -> Sequence:
    return rendered("walking")


def changed(sequence: Sequence, change) -> Sequence:
    """``sequence`` with ``change(index, record)`` as its records."""
    return Sequence(sequence.name, [change(i, record) for i, record in enumerate(sequence.records)])


def with_pose(function) -> Sequence:
    return changed(walk(), lambda i, r: replace(r, cam_to_world=function(r.cam_to_world)))


def with_field(name: str, value, where=lambda i: True) -> Sequence:
    def change(i: int, record: Record) -> Record:
        return replace(record, load={**record.load, name: lambda: value(record)}) if where(i) else record

    return changed(walk(), change)


def scaled(factor: float):
    def move(matrix: torch.Tensor) -> torch.Tensor:
        matrix = matrix.clone()
        matrix[:3, 3] *= factor
        return matrix

    return move


def found(sequence: Sequence) -> dict[str, str]:
    return {finding.kind: finding.message for finding in check(sequence)}


def severities(sequence: Sequence) -> dict[str, str]:
    return {finding.kind: finding.severity for finding in check(sequence)}


def test_nothing_is_wrong_with_a_walk():
    assert found(walk()) == {}


def test_static_camera_is_fatal():
    assert severities(rendered("static")) == {"static": "fatal"}


def test_turning_on_the_spot_is_fatal():
    assert severities(rendered("rotation")) == {"rotation": "fatal"}


def test_slow_video_gets_a_stride():
    message = found(rendered("walking", fps=240.0, frames=24))["little motion"]
    assert int(message.rsplit("--stride ", 1)[1]) >= 3


def test_standing_for_a_while():
    records = walk().records[:8] + rendered("static").records
    kinds = severities(Sequence("stops", records))
    assert kinds["stands still"] == "warning"
    assert "static" not in kinds


def test_repeated_frames():
    twice = [record for record in walk().records for _ in range(2)]
    assert set(found(Sequence("twice", twice))) & {"duplicates", "static", "cut"} == {"duplicates"}


def test_cut():
    other = rendered("walking", seed=5).records[6:]
    message = found(Sequence("cut", walk().records[:6] + other))["cut"]
    assert f"{walk().records[5].name} and {other[0].name};" in message


def test_exposure_jump():
    darker = with_field("image", lambda record: record.load["image"]() * 0.6, lambda i: i >= 6)
    dark = [replace(r, load={**r.load, "image": darker.records[i].load["image"]}) for i, r in enumerate(walk().records)]
    assert "factor of 0.60 between 000005 and 000006" in found(Sequence("dark", dark))["exposure"]


@pytest.mark.parametrize("factor", [0.1, 8.0])
def test_field_of_view(factor):
    def change(i: int, record: Record) -> Record:
        camera = record.camera
        return replace(record, camera=replace(camera, fx=camera.fx * factor, fy=camera.fy * factor))

    assert "field of view" in found(changed(walk(), change))


@pytest.mark.parametrize(
    ("reading", "words"),
    [
        (pose.invert, "read as world-to-camera;"),
        (lambda matrix: matrix @ FLIP, "read as camera-to-world with OpenGL axes"),
        (lambda matrix: FLIP @ pose.invert(matrix), "read as world-to-camera with OpenGL axes"),
    ],
)
def test_pose_conventions_are_recognised(reading, words):
    assert words in found(with_pose(reading))["pose direction"]


def test_tracking_errors_in_a_small_picture_are_not_blamed_on_the_poses():
    assert "poses" not in found(made_up.sequence(0, "street", 20, 208, 64))


def test_poses_of_other_frames():
    records = walk().records
    order = [(5 * i) % len(records) for i in range(len(records))]
    mixed = changed(walk(), lambda i, r: replace(r, cam_to_world=records[order[i]].cam_to_world))
    assert "poses" in found(mixed)


@pytest.mark.parametrize(
    ("factor", "words"),
    [(1000, "1000 times too long (millimetres?)"), (10, "10 times too long"), (0.01, "100 times too short")],
)
def test_pose_scale_names_the_factor(factor, words):
    assert words in found(with_pose(scaled(factor)))["pose scale"]


def test_empty_depth():
    nothing = torch.zeros(1, 160, 213)
    assert "empty depth" in found(with_field("depth", lambda record: nothing, lambda i: i % 2))


def test_depth_in_millimetres():
    kinds = found(with_field("depth", lambda record: record.load["depth"]() * 1000))
    assert {"depth unit", "pose scale"} <= set(kinds)


@pytest.mark.parametrize("value", [0.0, float("nan"), 3.0])
def test_prior_without_an_order(value):
    flat = torch.full((1, 160, 213), value)
    assert "prior" in found(with_field("prior_depth", lambda record: flat))
    assert "prior" not in found(with_field("prior_depth", lambda record: record.load["depth"]()))


def test_fields_that_some_frames_lack():
    def change(i: int, record: Record) -> Record:
        return replace(record, load={"image": record.load["image"]}) if i == 4 else record

    gaps = [finding.message for finding in check(changed(walk(), change)) if finding.kind == "gaps"]
    assert any("1 of 12 frames have no depth, such as 000004" in message for message in gaps)
    assert any("no mask:dynamic" in message for message in gaps)


def test_one_mask_for_all_frames():
    mask = torch.zeros(1, 160, 213, dtype=torch.bool)
    mask[:, 40:80] = True
    assert "masks" in found(with_field("mask:dynamic", lambda record: mask))


def test_too_short():
    assert severities(walk().select([0, 1]))["short"] == "fatal"


@pytest.mark.long
@pytest.mark.parametrize(
    ("pack", "expected"),
    [
        ("tum_fr1_rpy", {"rotation"}),
        ("kitti_traffic", {"stands still"}),
        ("kitti_raw_0013", set()),
        ("kitti_odo_04", set()),
        ("hololens_000", set()),
        ("sevenscenes_redkitchen", set()),
        ("davis_lady_running", {"camera"}),
    ],
)
def test_real_recordings(pack, expected):
    if not (DATA / pack).is_dir():
        pytest.skip(f"{pack} is absent (set KINODEPTH_DATA to the folder that holds it)")
    assert set(found(open_sequence(DATA / pack))) == expected
