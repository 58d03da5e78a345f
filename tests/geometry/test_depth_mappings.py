"""Depth, inverse depth, sigmoid outputs, planes: closed forms."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch.autograd import gradcheck

from kinodepth.geometry import depth
from kinodepth.types import InputError


def test_invert_depth_keeps_holes():
    values = torch.tensor([0.0, 2.0, -1.0, 0.25], requires_grad=True)
    inverse = depth.invert_depth(values)
    assert inverse.tolist() == [0, 0.5, 0, 4]
    assert depth.invert_depth(inverse).tolist() == [0, 2, 0, 0.25]
    inverse.sum().backward()
    assert values.grad.tolist() == [0, -0.25, 0, -16]


def test_sigmoid_mappings_are_those_of_the_papers():
    s = torch.linspace(0, 1, 11, dtype=torch.float64)
    np.testing.assert_allclose(depth.sigmoid_to_depth(s, 1 / 10.01, 100), 1 / (10 * s + 0.01))  # SC-Depth 3.2
    np.testing.assert_allclose(depth.sigmoid_to_depth(s, 0.1, 100), 1 / (0.01 + 9.99 * s))  # Mining Supervision
    np.testing.assert_allclose(depth.sigmoid_to_inverse_depth(s, 0.5, 4) * depth.sigmoid_to_depth(s, 0.5, 4), 1)
    assert gradcheck(lambda s: depth.sigmoid_to_depth(s, 0.1, 100), s.requires_grad_())


def test_plane_hypotheses():
    dvmvs = depth.plane_depths(64, 0.25, 20)
    np.testing.assert_allclose(dvmvs[[0, 1, 2, 62, 63]], [20, 8.873, 5.701, 0.25398, 0.25], atol=5e-4)
    dynamic = depth.plane_depths(32, 1 / 0.33, 400)
    np.testing.assert_allclose(dynamic[[0, 1, 2, 30, 31]], [400, 76.543, 42.321, 3.1305, 3.0303], rtol=2e-5)
    assert depth.plane_depths(3, 1, 3, "linear").tolist() == [3, 2, 1]
    assert dvmvs.dtype == torch.float32


@pytest.mark.parametrize(("count", "near", "far"), [(1, 1, 2), (4, 2, 1), (4, 0, 1), (4, float("nan"), 1)])
def test_plane_hypotheses_that_cannot_be(count, near, far):
    with pytest.raises(InputError, match="expected"):
        depth.plane_depths(count, near, far)


@pytest.mark.parametrize("shift", [-0.4, 0.0, 0.7])
def test_relative_inverse_depth_keeps_order_and_planes(shift):
    x, y = torch.meshgrid(torch.arange(40.0), torch.arange(30.0), indexing="xy")
    inverse = 3 * (0.02 * x + 0.01 * y + 0.1) + shift  # of a plane, in an unknown unit
    found = depth.relative_inverse_to_depth(inverse[None])
    assert found.shape == (1, 30, 40)
    assert (found > 0).all()
    assert (found[0].flatten()[inverse.flatten().argsort()].diff() <= 0).all()
    if shift >= 0:
        torch.testing.assert_close(found[0], 1 / inverse)
    free = found[0] < found.max() * 0.99  # where the largest contrast does not bind
    bend = (1 / found[0]).diff(n=2, dim=1).abs()[free[:, :-2] & free[:, 2:]]
    assert bend.max() < 1e-5
    assert found.max() / found.min() <= 100 * (1 + 1e-6)


def test_relative_inverse_depth_of_what_is_not_there():
    inverse = torch.tensor([[[0.0, 2.0, torch.nan, torch.inf]], [[torch.nan] * 4], [[0.0] * 4]])
    found = depth.relative_inverse_to_depth(inverse)
    torch.testing.assert_close(found, torch.tensor([[[50.0, 0.5, 0, 0]], [[0.0] * 4], [[1.0] * 4]]))
