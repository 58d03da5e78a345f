"""Tiny folders of the true layout: COLMAP text models and DDAD."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
import torch
from PIL import Image

from kinodepth.data import open_sequence
from kinodepth.types import InputError

HALF = math.sqrt(0.5)


def picture(path, size=(32, 24)):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.zeros((size[1], size[0], 3), np.uint8)).save(path)


@pytest.fixture
def colmap(tmp_path):
    """Two images: one at the origin, one a metre to the right that looks along the world's x."""
    for name in ("a.jpg", "b.jpg", "unregistered.jpg"):
        picture(tmp_path / "images" / name)
    model = tmp_path / "sparse" / "0"
    model.mkdir(parents=True)
    (model / "cameras.txt").write_text("# comment\n1 PINHOLE 64 48 60 61 32 24\n")
    # camera from world: y-turn by -90 degrees takes world x to camera z
    (model / "images.txt").write_text(
        f"# comment\n2 {HALF} 0 {-HALF} 0 0 0 -1 1 b.jpg\n10 20 -1\n1 1 0 0 0 0 0 0 1 a.jpg\n\n"
    )
    return tmp_path


def test_colmap_poses_and_camera(colmap):
    sequence = open_sequence(colmap)
    assert [record.name for record in sequence.records] == ["a", "b"]
    first, second = sequence.records
    assert torch.equal(first.cam_to_world, torch.eye(4).double())
    torch.testing.assert_close(second.cam_to_world[:3, 3], torch.tensor([1.0, 0, 0]).double())
    torch.testing.assert_close(second.cam_to_world[:3, 2], torch.tensor([1.0, 0, 0]).double(), atol=1e-9, rtol=0)
    camera = first.camera  # stored for twice the size, pixel centres at halves
    assert (camera.fx, camera.fy, camera.cx, camera.cy) == (30.0, 30.5, 15.5, 11.5)


def test_colmap_wrong_models_are_named(colmap):
    cameras = colmap / "sparse" / "0" / "cameras.txt"
    cameras.write_text("1 SIMPLE_RADIAL 32 24 30 16 12 0.1\n")
    with pytest.raises(InputError, match="image_undistorter"):
        open_sequence(colmap, "colmap")
    cameras.write_text("7 SIMPLE_PINHOLE 32 24 30 16 12\n")
    with pytest.raises(InputError, match="no camera 1"):
        open_sequence(colmap, "colmap")
    (colmap / "images" / "a.jpg").unlink()
    with pytest.raises(InputError, match="1 are not in"):
        open_sequence(colmap, "colmap")


def pose(x=0.0, y=0.0, z=0.0):
    return {"translation": {"x": x, "y": y, "z": z}, "rotation": {"qw": 1.0, "qx": 0.0, "qy": 0.0, "qz": 0.0}}


@pytest.fixture
def ddad(tmp_path):
    """A scene of two samples; the LiDAR sits 1 m above the camera (y down) and sees two points in one pixel."""
    folder = tmp_path / "000150"
    (folder / "calibration").mkdir(parents=True)
    intrinsics = {"fx": 30.0, "fy": 30.0, "cx": 16.0, "cy": 12.0, "skew": 0.0}
    calibration = {"names": ["LIDAR", "CAMERA_01"], "intrinsics": [{}, intrinsics], "extrinsics": [{}, {}]}
    (folder / "calibration" / "abc.json").write_text(json.dumps(calibration))
    data, samples = [], []
    for i in range(2):
        image, cloud = f"rgb/CAMERA_01/15{i}.png", f"point_cloud/LIDAR/15{i}.npz"
        picture(folder / image)
        (folder / cloud).parent.mkdir(parents=True, exist_ok=True)
        np.savez(folder / cloud, data=np.array([[0, 1, 10, 0.5], [0, 1, 20, 0.5], [0, 1, -5, 0.5]]))
        stamp = f"2019-04-30T10:00:0{i}.5Z"
        frame = {"filename": image, "width": 32, "height": 24, "pose": pose(z=2.0 * i)}
        sweep = {"filename": cloud, "pose": pose(y=-1.0, z=2.0 * i)}
        data += [
            {"key": f"c{i}", "id": {"name": "CAMERA_01", "timestamp": stamp}, "datum": {"image": frame}},
            {"key": f"l{i}", "id": {"name": "LIDAR", "timestamp": stamp}, "datum": {"point_cloud": sweep}},
        ]
        samples.append({"datum_keys": [f"c{i}", f"l{i}"], "calibration_key": "abc"})
    (folder / "scene_def.json").write_text(json.dumps({"name": "s", "data": data, "samples": samples}))
    return tmp_path


def test_ddad_scene(ddad):
    sequence = open_sequence(ddad)
    assert sequence.provides >= {"camera", "cam_to_world", "depth", "timestamp"}
    frame = sequence.read(1)
    assert frame.cam_to_world[2, 3] == 2.0
    assert frame.timestamp - sequence.records[0].timestamp == pytest.approx(1.0)
    assert float(frame.depth[0, 12, 16]) == 10.0
    assert int((frame.depth > 0).sum()) == 1
    with pytest.raises(InputError, match="no image of CAMERA_07"):
        open_sequence(ddad, "ddad", camera="CAMERA_07")
    (ddad / "000150" / "point_cloud" / "LIDAR" / "151.npz").unlink()
    with pytest.raises(InputError, match="LiDAR sweep"):
        sequence.read(1)
