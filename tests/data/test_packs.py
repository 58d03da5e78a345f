"""The real clips, where they are: KINODEPTH_DATA, default ../shared/data."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
import torch

from kinodepth import data
from kinodepth.data.calibration import read_numbers
from kinodepth.data.formats.kitti_raw import poses_from_oxts
from kinodepth.data.images import read_depth
from kinodepth.data.kitti import lidar_depth, matrix, read_calibration, rigid

ROOT = Path(os.environ.get("KINODEPTH_DATA", Path(__file__).parents[2].parent / "shared" / "data"))
POSED = {"cam_to_world", "camera", "depth", "image"}
MOVING = {"mask:dynamic", "mask:instances"}


def pack(name):
    if not (ROOT / name).is_dir():
        pytest.skip(f"real clip {name} is not in {ROOT}; set KINODEPTH_DATA")
    return ROOT / name


@pytest.mark.parametrize(
    ("name", "frames", "size", "fields", "median"),
    [  # as the README of each clip states; medians over all frames there, one frame here
        ("kitti_raw_0013", 100, (375, 1242), POSED | MOVING | {"timestamp"}, 12.5),
        ("kitti_odo_04", 51, (370, 1226), POSED | MOVING | {"timestamp"}, 13.0),
        ("kitti_traffic", 78, (375, 1242), POSED, 6.4),
        ("sevenscenes_redkitchen", 100, (480, 640), POSED, 1.8),
        ("hololens_000", 106, (360, 540), POSED, 2.17),
        ("tum_fr1_rpy", 120, (240, 320), POSED | {"timestamp"}, 0.96),
        ("davis_lady_running", 65, (360, 640), {"image"}, None),
        ("davis_tennis", 70, (256, 448), {"image"} | MOVING, None),
        ("highway_mit", 38, (360, 640), {"image", "camera"}, None),
    ],
)
def test_every_pack_opens(name, frames, size, fields, median):
    sequence = data.open_sequence(pack(name))
    assert len(sequence) == frames
    assert sequence.provides == fields
    frame = sequence.read(frames // 2)
    assert tuple(frame.image.shape) == (3, *size)
    if median is not None:
        measured = torch.cat([sequence.read(i, ("depth",)).depth.flatten() for i in range(0, frames, 20)])
        assert measured[measured > 0].median().item() == pytest.approx(median, rel=0.3)


def kitti_meta():
    folder = pack("kitti_raw_0013") / "kitti_meta"
    calibration = read_calibration(folder / "calib_cam_to_cam.txt")
    projection = matrix(calibration, "P_rect_02", folder)
    rectify = matrix(calibration, "R_rect_00", folder, 3)
    velo = rigid(read_calibration(folder / "calib_velo_to_cam.txt"), folder)
    return folder, projection, rectify @ velo


@pytest.mark.parametrize("frame", ["0000000000", "0000000050"])
def test_lidar_projection_reproduces_the_stored_depth(frame):
    folder, projection, first_from_lidar = kitti_meta()
    stored = read_depth(folder.parent / "depth" / f"{frame}.png", 256.0)
    ours = lidar_depth(folder / f"velodyne_{frame}.bin", projection @ first_from_lidar, *reversed(stored.shape[1:]))
    assert ((ours > 0) == (stored > 0)).float().mean() > 0.9999
    both = (ours > 0) & (stored > 0)
    assert ((ours - stored)[both].abs() <= 1 / 256).float().mean() > 0.999


def test_gps_gives_the_stored_poses():
    folder, projection, first_from_lidar = kitti_meta()
    offset = np.eye(4)
    offset[:3, 3] = np.linalg.solve(projection[:3, :3], projection[:3, 3])
    imu = rigid(read_calibration(folder / "calib_imu_to_velo.txt"), folder)
    rows = {f"{i:04d}": row for i, row in enumerate(read_numbers(folder / "oxts.txt"))}
    ours = torch.stack(list(poses_from_oxts(rows, offset @ first_from_lidar @ imu).values()))
    stored = torch.stack([r.cam_to_world for r in data.open_sequence(folder.parent).records])
    torch.testing.assert_close(ours, stored, rtol=0, atol=2e-3)
