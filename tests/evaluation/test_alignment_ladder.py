import math

import pytest
import torch
from evaluation_scenes import make_predictions, make_sequence, random_depths

from kinodepth.evaluation.alignment import Fit, InverseSums, Ladder, median_ratio
from kinodepth.evaluation.clip import evaluate
from kinodepth.evaluation.protocols import ALIGNMENTS, get

GENERIC = get("generic")


def test_median_ratio_rules():
    prediction, gt = torch.tensor([1.0, 1.0, 3.0, 5.0]), torch.tensor([5.0, 1.0, 2.0, 4.0])
    assert median_ratio(prediction, gt, "lower") == 2.0
    assert median_ratio(prediction, gt) == 1.5
    assert math.isnan(median_ratio(torch.zeros(3), torch.ones(3)))
    assert math.isnan(median_ratio(torch.empty(0), torch.empty(0)))


def test_scale_and_shift_recovers_an_affine_inverse_depth_over_frames():
    gt = [depth.flatten() for depth in random_depths(3)]
    sums = InverseSums()
    predictions = [1 / ((1 / g - 0.02) * 3.0 + 0.0) for g in gt]  # 1/gt = (1/prediction)/3 + 0.02
    for p, g in zip(predictions, gt):
        sums.add(p, g)
    fit = sums.fit()
    assert fit.scale == pytest.approx(3.0, rel=1e-4)
    assert fit.shift == pytest.approx(0.02, rel=1e-4)
    torch.testing.assert_close(fit.apply(predictions[0], 1e3), gt[0], rtol=1e-4, atol=1e-4)


def test_fit_of_constant_or_reversed_predictions():
    gt = torch.tensor([1.0, 2.0, 4.0])
    best = [1 / float((1 / gt).mean())] * 3
    for useless in (torch.full((3,), 2.0), 1 / gt):
        assert InverseSums().add(useless, gt).fit().apply(useless, 100.0).tolist() == pytest.approx(best)
    assert math.isnan(InverseSums().fit().scale)


def test_farthest_limits_inverse_depth_without_a_positive_value():
    assert Fit(1.0, -1.0).apply(torch.tensor([2.0, 0.5]), 100.0).tolist() == pytest.approx([100.0, 1.0])


def test_drifting_scale_is_perfect_per_frame_and_bad_per_clip():
    """users.md item 8."""
    depths = random_depths(5)
    predictions = make_predictions([depth / (10 * 1.3**i) for i, depth in enumerate(depths)])
    result = evaluate(predictions, make_sequence(depths), GENERIC)
    errors = {alignment: result.average(alignment)["abs_rel"] for alignment in ALIGNMENTS}
    assert errors["per_frame_median"] < 1e-6
    assert errors["per_frame_scale_shift"] < 1e-6
    assert errors["per_clip_scale"] > 0.2
    assert errors["per_clip_scale_shift"] > 0.2
    assert errors["none"] > 0.9
    assert result.clip_scale == pytest.approx(10 * 1.3**2, rel=1e-5)
    log_scales = torch.arange(5.0) * math.log(1.3)
    assert result.scale_drift == pytest.approx(float(log_scales.std(correction=0)), rel=1e-5)


def test_drift_of_constant_scale_is_zero():
    ladder = Ladder()
    for depth in random_depths(3):
        ladder.add(depth.flatten() / 7, depth.flatten())
    assert ladder.scale_drift == pytest.approx(0, abs=1e-6)
    assert ladder.clip_scale == pytest.approx(7, rel=1e-6)
