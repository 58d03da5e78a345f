import math

import numpy as np
import pytest
import torch

from kinodepth.evaluation.metrics import (
    DEEP_VIDEO_MVS,
    ERRORS,
    deep_video_mvs_errors,
    depth_errors,
    mean_over_images,
    pooled_over_pixels,
)


def test_errors_agree_with_a_numpy_twin_written_out():
    rng = np.random.default_rng(0)
    g, p = rng.uniform(1, 20, (1, 13, 17)), rng.uniform(1, 20, (1, 13, 17))
    valid = rng.random((1, 13, 17)) < 0.7
    got = depth_errors(torch.from_numpy(p), torch.from_numpy(g), torch.from_numpy(valid))
    p, g = p[valid], g[valid]
    worse = np.maximum(p / g, g / p)
    expected = {
        "abs_rel": np.mean(abs(p - g) / g),
        "sq_rel_m": np.mean((p - g) ** 2 / g),
        "rmse_m": np.sqrt(np.mean((p - g) ** 2)),
        "rmse_log": np.sqrt(np.mean(np.log(p / g) ** 2)),
        "log10": np.mean(abs(np.log10(p / g))),
        "delta_1": np.mean(worse < 1.25),
        "delta_2": np.mean(worse < 1.5625),
        "delta_3": np.mean(worse < 1.953125),
        "abs_diff_m": np.mean(abs(p - g)),
        "abs_inverse_per_m": np.mean(abs(1 / p - 1 / g)),
    }
    assert list(got) == list(ERRORS)
    assert got == pytest.approx(expected, rel=1e-12)


def test_delta_is_strict_and_nan_is_no_miss():
    one = torch.ones(1, 1, 1)
    assert depth_errors(1.25 * one, one)["delta_1"] == 0.0
    assert depth_errors(1.2499 * one, one)["delta_1"] == 1.0
    assert math.isnan(depth_errors(math.nan * one, one)["delta_1"])


def test_no_valid_pixel_is_nan_everywhere():
    nothing = depth_errors(torch.ones(1, 2, 2), torch.zeros(1, 2, 2))
    assert all(math.isnan(v) for v in nothing.values())


def test_deep_video_mvs_includes_its_bounds_and_keeps_its_order():
    gt = torch.tensor([0.49, 0.5, 2.0, 2.01, 0.0])
    errors = deep_video_mvs_errors(gt + 1, gt, max_depth=2.0)
    assert tuple(errors) == DEEP_VIDEO_MVS
    assert errors["abs_rel"] == pytest.approx((1 / 0.5 + 1 / 2.0) / 2)


def test_pooled_mean_from_rows_equals_one_big_image():
    generator = torch.Generator().manual_seed(0)
    sizes = [5, 80, 0, 31]
    pairs = [(1 + torch.rand(n, generator=generator), 1 + torch.rand(n, generator=generator)) for n in sizes]
    rows = torch.tensor([list(depth_errors(p, g).values()) for p, g in pairs], dtype=torch.float64)
    everything = depth_errors(torch.cat([p for p, _ in pairs]), torch.cat([g for _, g in pairs]))
    pooled = pooled_over_pixels(rows, torch.tensor(sizes), list(ERRORS))
    assert pooled.tolist() == pytest.approx(list(everything.values()), rel=1e-12)
    assert mean_over_images(rows)[0] != pytest.approx(float(pooled[0]), rel=1e-3)
