"""Rotations against SciPy, transforms against NumPy, derivatives everywhere a network may put its output."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation
from torch.autograd import gradcheck

from kinodepth.geometry import pose

vectors = st.lists(st.floats(-math.pi, math.pi), min_size=3, max_size=3)


def random_poses(count: int, seed: int = 0) -> torch.Tensor:
    rng = np.random.default_rng(seed)
    matrices = np.tile(np.eye(4), (count, 1, 1))
    matrices[:, :3, :3] = Rotation.random(count, rng=rng).as_matrix()
    matrices[:, :3, 3] = rng.normal(size=(count, 3))
    return torch.from_numpy(matrices)


@given(vectors)
@settings(max_examples=100, deadline=None)
def test_rotations_agree_with_scipy(vector):
    v = torch.tensor(vector, dtype=torch.float64)
    np.testing.assert_allclose(pose.euler_to_matrix(v), Rotation.from_euler("XYZ", vector).as_matrix(), atol=1e-12)
    turned = Rotation.from_rotvec(vector)
    np.testing.assert_allclose(pose.axis_angle_to_matrix(v), turned.as_matrix(), atol=1e-12)
    wxyz = np.roll(turned.as_quat(), 1) * 3.7  # any length
    np.testing.assert_allclose(pose.quaternion_to_matrix(torch.from_numpy(wxyz)), turned.as_matrix(), atol=1e-12)


@given(vectors, st.sampled_from([1.0, 1e-3, 1e-6, 1e-9, 0.0]))
@settings(max_examples=100, deadline=None)
def test_matrix_to_vector_and_back(vector, size):
    v = torch.tensor(vector, dtype=torch.float64) * size
    matrix = pose.axis_angle_to_matrix(v)
    back = pose.matrix_to_axis_angle(matrix)
    assert back.norm() <= math.pi + 1e-9
    torch.testing.assert_close(pose.axis_angle_to_matrix(back), matrix, atol=1e-9, rtol=0)
    quaternion = pose.matrix_to_quaternion(matrix)
    assert quaternion[0] >= 0
    assert quaternion.norm().item() == pytest.approx(1)
    torch.testing.assert_close(pose.quaternion_to_matrix(quaternion), matrix, atol=1e-9, rtol=0)
    if v.norm() < 3:
        torch.testing.assert_close(back, v, atol=1e-9, rtol=1e-7)


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_half_turns_survive(axis):
    v = torch.zeros(3, dtype=torch.float64)
    v[axis] = math.pi
    back = pose.matrix_to_axis_angle(pose.axis_angle_to_matrix(v))
    torch.testing.assert_close(back.abs(), v, atol=1e-9, rtol=0)


def test_small_angles_in_float32_are_not_lost():
    v = torch.tensor([[1e-4, -2e-4, 3e-4], [0.02, 0.01, -0.03], [0.3, 0.4, -0.5]])
    torch.testing.assert_close(pose.matrix_to_axis_angle(pose.axis_angle_to_matrix(v)), v, atol=2e-7, rtol=1e-4)
    torch.testing.assert_close(pose.axis_angle_to_matrix(v).double(), pose.axis_angle_to_matrix(v.double()), atol=1e-7,
                               rtol=0)  # fmt: skip


def test_invert_compose_relative():
    a, b = random_poses(5), random_poses(5, 1)
    np.testing.assert_allclose(pose.invert(a), np.linalg.inv(a), atol=1e-12)
    np.testing.assert_allclose(pose.compose(a, b), a.numpy() @ b.numpy(), atol=1e-12)
    # a point seen by camera b, taken to the world and into camera a by hand
    point = np.array([0.3, -0.2, 2.0, 1.0])
    by_hand = np.linalg.inv(a[0].numpy()) @ (b[0].numpy() @ point)
    np.testing.assert_allclose(pose.relative(a, b)[0].numpy() @ point, by_hand, atol=1e-12)
    np.testing.assert_allclose(pose.relative(a, a), np.tile(np.eye(4), (5, 1, 1)), atol=1e-12)


def test_transform_moves_points():
    t = random_poses(2)
    points = torch.randn(2, 3, 4, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    expected = np.einsum("bij,bjhw->bihw", t[:, :3, :3], points) + t[:, :3, 3, None, None].numpy()
    np.testing.assert_allclose(pose.transform(t, points), expected, atol=1e-12)
    np.testing.assert_allclose(pose.transform(t[0], points), np.stack([pose.transform(t[0], p) for p in points]))


def test_pose_from_vector():
    v = torch.tensor([[0.1, 0.2, 0.3, 0.02, -0.01, 0.03]], dtype=torch.float64)
    expected = {
        "euler": Rotation.from_euler("XYZ", v[0, 3:]),
        "axis_angle": Rotation.from_rotvec(v[0, 3:]),
        "quaternion": Rotation.from_quat([*v[0, 3:], 1.0]),
    }
    for kind, rotation in expected.items():
        matrix = pose.pose_from_vector(v, kind)
        np.testing.assert_allclose(matrix[0, :3, :3], rotation.as_matrix(), atol=1e-12)
        np.testing.assert_allclose(matrix[0, :, 3], [0.1, 0.2, 0.3, 1.0])
        np.testing.assert_allclose(matrix[0, 3], [0, 0, 0, 1])


def test_pose_distance_in_numbers():
    turn = torch.eye(4, dtype=torch.float64)
    turn[:3, :3] = pose.axis_angle_to_matrix(torch.tensor([0.0, math.pi / 2, 0.0], dtype=torch.float64))
    turn[:3, 3] = torch.tensor([0.3, 0.0, 0.4])
    combined, rotation, translation = pose.pose_distance(turn)
    assert translation.item() == pytest.approx(0.5)
    assert rotation.item() == pytest.approx(math.sqrt(2 * (1 - 1 / 3)))  # the trace of a quarter turn is 1
    assert combined.item() == pytest.approx(math.sqrt(0.25 + 4 / 3))
    both = pose.pose_distance(torch.stack((turn, pose.invert(turn))))
    assert both[0][0].item() == pytest.approx(both[0][1].item())
    assert pose.pose_distance(torch.eye(4) * (1 + 1e-7))[1].item() == 0  # a trace above 3 is rounding


@pytest.mark.parametrize("vector", [[0.0, 0.0, 0.0], [1e-3, 0.0, -1e-3], [0.4, -1.0, 2.0]])
def test_gradients(vector):
    v = torch.tensor(vector, dtype=torch.float64, requires_grad=True)
    assert gradcheck(pose.euler_to_matrix, v)
    assert gradcheck(pose.axis_angle_to_matrix, v)
    assert gradcheck(lambda v: pose.matrix_to_axis_angle(pose.axis_angle_to_matrix(v)), v, atol=1e-4)
    assert gradcheck(lambda v: pose.matrix_to_quaternion(pose.axis_angle_to_matrix(v)), v)
    assert gradcheck(lambda v: pose.quaternion_to_matrix(torch.cat((torch.ones(1, dtype=torch.float64), v))), v)
    a, b = random_poses(1)[0].requires_grad_(), random_poses(1, 1)[0].requires_grad_()
    assert gradcheck(lambda a, b: pose.relative(a, b), (a, b))
    assert gradcheck(lambda a, b: torch.stack(pose.pose_distance(pose.compose(a, b))), (a, b))
    points = torch.randn(3, 2, 2, dtype=torch.float64, requires_grad=True)
    assert gradcheck(pose.transform, (a, points))
