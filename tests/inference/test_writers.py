"""Every format gives back what went in, within its quantisation, and says what it means."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import trimesh
from PIL import Image

from kinodepth.data.predictions import open_predictions
from kinodepth.inference import writers
from kinodepth.types import Camera, InputError, Prediction

CAMERA = Camera(300.0, 310.0, 159.5, 119.5, 320, 240)
POSE = torch.tensor([[0, -1, 0, 1.0], [1, 0, 0, 2.0], [0, 0, 1, 3.0], [0, 0, 0, 1]], dtype=torch.float64)


def rays():
    """Rays through the pixels of CAMERA with z = 1: H x W x 3."""
    x, y = np.meshgrid(np.arange(CAMERA.width), np.arange(CAMERA.height))
    return np.stack([(x - CAMERA.cx) / CAMERA.fx, (y - CAMERA.cy) / CAMERA.fy, np.ones_like(x)], -1)


def make(depth, scale="metric", pose=None, camera=CAMERA) -> Prediction:
    return Prediction("0007", torch.as_tensor(depth, dtype=torch.float32)[None], scale, "m", camera, pose, 1.25)


def plane_depth(normal=(0.3, -0.4, 1.0), distance=4.0):
    return distance / (rays() @ np.array(normal))


def sphere_depth(center=(0.1, -0.1, 3.0), radius=0.8):
    """Depth of a sphere in front of a plane at z = 6."""
    directions, c = rays(), np.array(center)
    a, b = (directions**2).sum(-1), directions @ c
    root = b**2 - a * (c @ c - radius**2)
    return np.where(root > 0, (b - np.sqrt(np.maximum(root, 0))) / a, 6.0)


def test_npz_gives_everything_back(tmp_path):
    depth = np.random.default_rng(0).uniform(0.1, 90, (240, 320))
    written = make(depth, "up_to_scale", POSE)
    writers.write_npz(tmp_path / "0007.npz", written)
    found = writers.read_npz(tmp_path / "0007.npz")
    assert torch.equal(found.depth, written.depth)
    assert torch.equal(found.cam_to_world, POSE)
    for name in ("name", "scale", "unit", "camera", "timestamp", "confidence"):
        assert getattr(found, name) == getattr(written, name), name
    with np.load(tmp_path / "0007.npz", allow_pickle=False) as file:
        assert (str(file["quantity"]), str(file["depth_kind"])) == ("depth", "z")
        assert file["depth"].shape == (240, 320)


def test_npz_bytes_depend_on_the_prediction_only(tmp_path):
    for name in ("a.npz", "b.npz"):
        writers.write_npz(tmp_path / name, make(plane_depth()))
    assert (tmp_path / "a.npz").read_bytes() == (tmp_path / "b.npz").read_bytes()


@pytest.mark.parametrize("largest", [0.013, 0.9, 13.0, 65.535, 80.0, 1000.0, 9e5])
def test_png16_is_exact_to_half_a_step(tmp_path, largest):
    depth = np.random.default_rng(1).uniform(largest / 50, largest, (30, 40)).astype(np.float32)
    divisor = writers.png16_divisor(float(depth.max()))
    assert 65535 / 2.5 < depth.max() * divisor <= 65535  # most of the 16 bits are used
    writers.write_png16(tmp_path / "d.png", make(depth, camera=None), divisor)
    image = Image.open(tmp_path / "d.png")
    values = np.asarray(image)
    assert values.dtype == np.uint16
    assert np.abs(values / divisor - depth).max() <= 0.5000001 / divisor
    expected = {"scale": "metric", "unit": "m", "quantity": "depth", "depth_kind": "z", "divisor": f"{divisor:g}"}
    assert image.text == expected
    found = open_predictions(tmp_path, scale=image.text["scale"], unit=image.text["unit"])["d"]
    assert np.allclose(found.depth[0], depth, atol=0.51 / divisor)
    assert (found.name, found.scale, found.unit) == ("d", "metric", "m")


def points(path):
    return np.asarray(trimesh.load(path).vertices, np.float64)


def test_plane_and_sphere_come_back_within_a_millimetre(tmp_path):
    normal, distance = np.array([0.3, -0.4, 1.0]), 4.0
    writers.write_ply(tmp_path / "plane.ply", make(plane_depth(normal, distance)))
    cloud = points(tmp_path / "plane.ply")
    assert len(cloud) == 320 * 240
    assert np.abs(cloud @ normal - distance).max() / np.linalg.norm(normal) < 1e-3

    writers.write_ply(tmp_path / "sphere.ply", make(sphere_depth()))
    cloud = points(tmp_path / "sphere.ply")
    front = cloud[cloud[:, 2] < 5]
    assert len(front) > 0.85 * (sphere_depth() < 5).sum()
    assert np.abs(np.linalg.norm(front - [0.1, -0.1, 3.0], axis=1) - 0.8).max() < 1e-3


def test_points_are_in_the_world_when_the_pose_is_known(tmp_path):
    writers.write_ply(tmp_path / "camera.ply", make(plane_depth()))
    writers.write_ply(tmp_path / "world.ply", make(plane_depth(), pose=POSE))
    pose = POSE.numpy()
    expected = points(tmp_path / "camera.ply") @ pose[:3, :3].T + pose[:3, 3]
    assert np.allclose(points(tmp_path / "world.ply"), expected, atol=1e-4)


def test_points_have_the_colours_of_the_image_and_the_file_its_meaning(tmp_path):
    image = torch.zeros(3, 240, 320)
    image[0, :, :160] = 1.0
    writers.write_ply(tmp_path / "c.ply", make(plane_depth()), image)
    cloud = trimesh.load(tmp_path / "c.ply")
    left = cloud.vertices[:, 0] / cloud.vertices[:, 2] < 0
    assert (cloud.colors[left, 0] == 255).all()
    assert (cloud.colors[~left, :3] == 0).all()
    header = (tmp_path / "c.ply").read_bytes()[:300]
    assert b"format binary_little_endian" in header
    assert b"comment quantity=depth depth_kind=z scale=metric unit=m\n" in header


def test_points_that_hang_between_two_surfaces_are_left_out(tmp_path):
    depth = np.full((240, 320), 8.0)
    depth[60:180, 100:220] = 2.0
    blurred = torch.nn.functional.avg_pool2d(torch.from_numpy(depth)[None, None], 3, 1, 1, count_include_pad=False)[
        0, 0
    ]
    writers.write_ply(tmp_path / "clean.ply", make(blurred))
    writers.write_ply(tmp_path / "all.ply", make(blurred), edges=True)
    clean, everything = points(tmp_path / "clean.ply")[:, 2], points(tmp_path / "all.ply")[:, 2]
    assert ((everything > 2.01) & (everything < 7.99)).any()
    assert not ((clean > 2.01) & (clean < 7.99)).any()
    assert len(clean) > 0.9 * len(everything)


def test_a_road_up_to_the_horizon_is_not_taken_for_edges():
    y = np.arange(240)[:, None] - CAMERA.cy
    road = np.broadcast_to(np.where(y > 3, 1.5 * CAMERA.fy / np.maximum(y, 1), 150.0), (240, 320)).copy()
    below = np.broadcast_to(y > 12, road.shape)
    assert not writers.depth_edges(torch.from_numpy(road)[None, None])[0, 0].numpy()[below].any()


def test_affine_depth_or_no_camera_make_no_point_cloud(tmp_path):
    with pytest.raises(InputError, match="bent"):
        writers.write_ply(tmp_path / "a.ply", make(plane_depth(), scale="affine"))
    with pytest.raises(InputError, match="intrinsics"):
        writers.write_ply(tmp_path / "a.ply", make(plane_depth(), camera=None))
    assert not (tmp_path / "a.ply").exists()
