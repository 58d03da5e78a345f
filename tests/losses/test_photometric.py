"""SSIM against scikit-free NumPy: windows cut out one by one."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch.autograd import gradcheck

from kinodepth.losses import photometric


def random(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def twin(a: np.ndarray, b: np.ndarray, window: int, c1: float, c2: float) -> np.ndarray:
    half = window // 2
    a, b = (np.pad(x, ((0, 0), (0, 0), (half, half), (half, half)), mode="reflect") for x in (a, b))
    views = [np.lib.stride_tricks.sliding_window_view(x, (window, window), (2, 3)) for x in (a, b)]
    mean_a, mean_b = (v.mean((4, 5)) for v in views)
    var_a, var_b = (v.var((4, 5)) for v in views)
    covariance = (views[0] * views[1]).mean((4, 5)) - mean_a * mean_b
    ssim = (2 * mean_a * mean_b + c1) * (2 * covariance + c2)
    ssim /= (mean_a**2 + mean_b**2 + c1) * (var_a + var_b + c2)
    return np.clip((1 - ssim) / 2, 0, 1)


@pytest.mark.parametrize("window", [1, 3, 5, 7, 9, 11])
def test_ssim_equals_its_twin(window):
    a, b = random(2, 3, 12, 17) * 4 - 2, random(2, 3, 12, 17, seed=1) * 4 - 2
    for c1, c2 in ((1e-4, 9e-4), (0.5, 2.0)):
        expected = twin(a.numpy(), b.numpy(), window, c1, c2)
        found = photometric.ssim_error(a, b, window, c1, c2)
        np.testing.assert_allclose(found, expected, atol=1e-10)
        single = photometric.ssim_error(a.float(), b.float(), window, c1, c2)
        np.testing.assert_allclose(single, expected, atol=2e-3 if window == 1 else 2e-5)
        statistics = photometric.window_statistics(a, window)
        assert torch.equal(photometric.ssim_error(a, b, window, c1, c2, statistics), found)


def test_ssim_of_a_picture_with_itself_is_zero_and_symmetric():
    a, b = random(1, 3, 20, 20), random(1, 3, 20, 20, seed=1)
    assert photometric.ssim_error(a, a).abs().max() < 1e-12
    torch.testing.assert_close(photometric.ssim_error(a, b), photometric.ssim_error(b, a))


@pytest.mark.parametrize("window", [3, 7])
def test_gradients(window):
    a, b = random(1, 1, 5, 6).requires_grad_(), random(1, 1, 5, 6, seed=1).requires_grad_()
    assert gradcheck(lambda x: photometric.window_mean(x, window), a)
    assert gradcheck(lambda a, b: photometric.ssim_error(a, b, window), (a, b))
    fixed = photometric.window_statistics(a.detach(), window)
    assert gradcheck(lambda b: photometric.ssim_error(a.detach(), b, window, a_statistics=fixed), b)
    assert gradcheck(photometric.l1_error, (a, b))


def test_pictures_smaller_than_the_window_are_refused():
    with pytest.raises(RuntimeError, match=r"[Pp]adding"):
        photometric.window_mean(random(1, 1, 3, 9), 7)


def test_l1_error_is_the_mean_over_channels():
    a, b = random(2, 3, 4, 5), random(2, 3, 4, 5, seed=1)
    np.testing.assert_allclose(photometric.l1_error(a, b), (a - b).abs().numpy().mean(1, keepdims=True))
