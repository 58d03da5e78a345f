"""Alignments recover known factors and agree with NumPy's solvers."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.autograd import gradcheck

from kinodepth.geometry import align


def clip(seed: int, frames: int = 3) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    rng = np.random.default_rng(seed)
    shape = (frames, 1, 5, 7)
    arrays = rng.uniform(0.5, 9, shape), rng.uniform(0.5, 9, shape), rng.uniform(size=shape) < 0.6
    return tuple(torch.from_numpy(a) for a in arrays)


@given(st.integers(0, 1000), st.booleans())
@settings(max_examples=30, deadline=None)
def test_agree_with_numpy_per_frame_and_pooled(seed, pooled):
    prediction, target, valid = clip(seed)
    if not pooled:
        prediction, target, valid = prediction[0], target[0], valid[0]
    p, t = prediction[valid].numpy(), target[valid].numpy()
    np.testing.assert_allclose(align.median_scale(prediction, target, valid), np.median(t) / np.median(p))
    lower = torch.from_numpy(t).median() / torch.from_numpy(p).median()
    np.testing.assert_allclose(align.median_scale(prediction, target, valid, "lower"), lower)
    (scale,), *_ = np.linalg.lstsq(p[:, None], t, rcond=None)
    np.testing.assert_allclose(align.least_squares_scale(prediction, target, valid), scale)
    expected, *_ = np.linalg.lstsq(np.stack((p, np.ones_like(p)), 1), t, rcond=None)
    np.testing.assert_allclose(torch.stack(align.scale_and_shift(prediction, target, valid)), expected, rtol=1e-8)


@given(st.floats(0.01, 100), st.floats(-5, 5))
@settings(max_examples=50, deadline=None)
def test_known_scale_and_shift_come_back(scale, shift):
    prediction, _, valid = clip(0)
    noise = torch.where(valid, 0, 1e9)  # whatever stands where nothing is valid
    assert align.median_scale(prediction, scale * prediction + noise, valid).item() == pytest.approx(scale)
    assert align.least_squares_scale(prediction, scale * prediction + noise, valid).item() == pytest.approx(scale)
    found = align.scale_and_shift(prediction, scale * prediction + shift + noise, valid)
    assert found[0].item() == pytest.approx(scale)
    assert found[1].item() == pytest.approx(shift, abs=1e-8 * (1 + scale))


def test_the_two_median_rules():
    values = torch.tensor([4.0, 1.0, 3.0, 2.0])
    assert align.median(values).item() == 2.5
    assert align.median(values, "lower").item() == values.median().item() == 2
    assert align.median(values[:3], "lower").item() == align.median(values[:3]).item() == 3


def test_degenerate_predictions():
    target, constant = clip(0)[1], torch.full((3, 1, 5, 7), 2.0, dtype=torch.float64)
    scale, shift = align.scale_and_shift(constant, target)
    assert (scale.item(), shift.item()) == (0, pytest.approx(target.mean().item()))
    assert align.least_squares_scale(constant * 0, target).item() == 0
    with pytest.raises(ValueError, match="no valid"):
        align.median_scale(constant, target, torch.zeros_like(target, dtype=torch.bool))
    with pytest.raises(ValueError, match="shape"):
        align.median_scale(constant, target[0])


def test_gradients():
    prediction, target, valid = clip(1, 1)
    prediction.requires_grad_()
    assert gradcheck(lambda p: align.median_scale(p, target, valid), prediction)
    assert gradcheck(lambda p: align.least_squares_scale(p, target, valid), prediction)
    assert gradcheck(lambda p: align.scale_and_shift(p, target, valid), prediction)
