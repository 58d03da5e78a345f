"""Normals of planes are known."""

from __future__ import annotations

import numpy as np
import torch
from torch.autograd import gradcheck

from geometry.geometry_scenes import NORMAL, render, torch_intrinsics
from kinodepth.geometry.camera import back_project
from kinodepth.geometry.normals import normals_from_depth


def test_a_wall_and_a_slanted_plane():
    wall = torch.full((1, 1, 6, 7), 3.0, dtype=torch.float64)
    expected = torch.tensor([0.0, 0.0, 1.0], dtype=torch.float64)[:, None, None].expand(3, 6, 7)
    torch.testing.assert_close(normals_from_depth(wall, torch_intrinsics())[0], expected)
    normals = normals_from_depth(render(np.eye(4)).depth, torch_intrinsics())[0, :, 1:-1, 1:-1]
    unit = torch.from_numpy(NORMAL / np.linalg.norm(NORMAL))[:, None, None]
    # the derivative of a plane's points is along the plane, whatever the step
    torch.testing.assert_close(normals, unit.expand_as(normals), atol=1e-9, rtol=0)


def test_equals_its_twin():
    depth = torch.rand(2, 1, 5, 6, generator=torch.Generator().manual_seed(0), dtype=torch.float64) + 1
    points = np.pad(back_project(depth, torch_intrinsics()), ((0, 0), (0, 0), (1, 1), (1, 1)), mode="edge")
    kernel = np.array([[-1, 0, 1], [-2, 0, 2], [-1, 0, 1]]) / 8
    expected = np.zeros((2, 3, 5, 6))
    for v in range(5):
        for u in range(6):
            window = points[:, :, v : v + 3, u : u + 3]
            normal = np.cross((window * kernel).sum((2, 3)), (window * kernel.T).sum((2, 3)))
            expected[:, :, v, u] = normal / np.linalg.norm(normal, axis=1, keepdims=True)
    np.testing.assert_allclose(normals_from_depth(depth, torch_intrinsics()), expected, atol=1e-10)


def test_gradients_also_of_no_depth_at_all():
    depth = (
        torch.rand(1, 1, 4, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64) + 1
    ).requires_grad_()
    assert gradcheck(lambda d: normals_from_depth(d, torch_intrinsics()), depth)
    nothing = torch.zeros(1, 1, 4, 4, dtype=torch.float64, requires_grad=True)
    normals_from_depth(nothing, torch_intrinsics()).sum().backward()
    assert nothing.grad.isfinite().all()
