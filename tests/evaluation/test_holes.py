import pytest
import torch
from evaluation_scenes import make_predictions, make_sequence

from kinodepth.evaluation.clip import evaluate
from kinodepth.evaluation.holes import count_holes
from kinodepth.evaluation.protocols import get


def street(height=80, width=60, hole=0.0):
    """Ground plane 1.5 m below the camera with a box standing on it; the left ``hole`` share of the box is far."""
    rows = torch.arange(height, dtype=torch.float32)[:, None].expand(height, width)
    depth = (1.5 * 50 / (rows - 30).clamp(min=1.5))[None].clone()
    mask = torch.zeros(1, height, width, dtype=torch.bool)
    mask[:, 40:60, 20:40] = True
    depth[mask] = 1.5 * 50 / 29.5
    far = mask.clone()
    far[:, :, 20 + round(20 * hole) :] = False
    prediction = torch.where(far, 60.0, depth)
    return depth, prediction, mask


@pytest.mark.parametrize("hole", [0.0, 0.25, 1.0])
def test_hole_rate_is_the_share_of_far_pixels(hole):
    depth, prediction, mask = street(hole=hole)
    holes, counted = count_holes(prediction, mask)
    assert counted == 400
    assert holes == round(400 * hole)
    assert count_holes(7 * prediction, mask)[0] == holes  # no scale needed
    result = evaluate(make_predictions([prediction] * 2), make_sequence([depth] * 2, [mask] * 2), get("sc_depth_kitti"))
    assert result.holes["hole_rate_vs_ground_truth"] == pytest.approx(hole)
    assert result.holes["hole_rate_vs_ground_below"] == pytest.approx(hole)


def test_object_at_the_lower_border_has_no_ground_below():
    _, prediction, mask = street()
    mask[:, 60:] = mask[:, 59:60]
    assert count_holes(prediction, mask) == (0, 0)


def test_objects_are_judged_one_by_one():
    _, prediction, mask = street(hole=1.0)
    ids = mask.long() * 3
    ids[:, 32:36, 2:8] = 7  # a second thing, farther away, and rightly so
    prediction[:, 32:36, 2:8] = 1.5 * 50 / 6
    assert count_holes(prediction, ids) == (400, 424)
