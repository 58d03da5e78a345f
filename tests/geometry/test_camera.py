"""Back-projection and projection against NumPy."""

from __future__ import annotations

import numpy as np
import torch
from torch.autograd import gradcheck

from geometry.geometry_scenes import INTRINSICS, torch_intrinsics
from kinodepth.geometry import camera


def random_depth(*shape: int) -> torch.Tensor:
    return torch.rand(*shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64) + 0.5


def test_pixel_grid_holds_x_then_y():
    grid = camera.pixel_grid(2, 3)
    assert grid.tolist() == [[[0, 1, 2], [0, 1, 2]], [[0, 0, 0], [1, 1, 1]]]


def test_back_project_and_project_agree_with_numpy():
    depth = random_depth(2, 1, 6, 7)
    points = camera.back_project(depth, torch_intrinsics())
    assert points.shape == (2, 3, 6, 7)
    for b, v, u in ((0, 0, 0), (1, 5, 6), (1, 2, 3)):
        expected = depth[b, 0, v, u].item() * np.linalg.inv(INTRINSICS) @ [u, v, 1]
        np.testing.assert_allclose(points[b, :, v, u], expected)
    moved = points + torch.tensor([0.3, -0.2, 0.1], dtype=torch.float64)[:, None, None]
    pixels, z = camera.project(moved, torch_intrinsics())
    homogeneous = np.einsum("ij,bjhw->bihw", INTRINSICS, moved)
    np.testing.assert_allclose(pixels, homogeneous[:, :2] / homogeneous[:, 2:])
    np.testing.assert_allclose(z, homogeneous[:, 2:])


def test_one_camera_per_batch_item_and_unbatched_maps():
    depth = random_depth(2, 1, 4, 5)
    cameras = torch.stack((torch_intrinsics()[0], 2 * torch_intrinsics()[0]))
    both = camera.back_project(depth, cameras)
    for b in range(2):
        torch.testing.assert_close(camera.back_project(depth[b], cameras[b]), both[b])


def test_inverse_intrinsics():
    np.testing.assert_allclose(camera.inverse_intrinsics(torch_intrinsics())[0], np.linalg.inv(INTRINSICS), atol=1e-15)


def test_points_behind_the_camera_have_finite_pixels_and_gradients():
    points = torch.tensor([[0.3, 0.3, 0.3], [0.0, 1.0, 2.0], [0.0, -1.0, 1e-30]])[None, :, None].requires_grad_()
    pixels, z = camera.project(points, torch_intrinsics().float())
    pixels.sum().backward()
    assert pixels.isfinite().all()
    assert points.grad.isfinite().all()
    assert z.flatten().tolist() == points[0, 2].flatten().tolist()


def test_autocast_does_not_round_geometry():
    depth = random_depth(1, 1, 8, 300).float()
    exact = camera.back_project(depth, torch_intrinsics().float())
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(camera.back_project(depth, torch_intrinsics().float()), exact)


def test_gradients():
    depth = random_depth(1, 1, 3, 4).requires_grad_()
    intrinsics = torch_intrinsics().requires_grad_()
    points = torch.randn(1, 3, 3, 4, dtype=torch.float64)
    points[:, 2] = points[:, 2].abs() + 1
    assert gradcheck(camera.back_project, (depth, intrinsics))
    assert gradcheck(camera.project, (points.requires_grad_(), intrinsics))
