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
