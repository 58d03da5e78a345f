"""Scores of flow and of moving masks on cases worked by hand."""

from __future__ import annotations

import math

import pytest
import torch

from kinodepth.evaluation.motion import MotionMeter, end_point_error, intersection_over_union
from kinodepth.evaluation.trajectory import chain, snippet_errors
from kinodepth.types import InputError


def test_end_point_error_is_a_distance():
    flow = torch.tensor([[[3.0, 0.0]], [[4.0, 0.0]]])
    assert end_point_error(flow, torch.zeros(2, 1, 2)).flatten().tolist() == [5.0, 0.0]


def test_iou_counts_pixels():
    a, b = torch.tensor([1, 1, 0, 0]), torch.tensor([0, 1, 1, 0])
    assert intersection_over_union(a, b) == pytest.approx(1 / 3)
    assert intersection_over_union(a, a) == 1
    assert math.isnan(intersection_over_union(torch.zeros(3), torch.zeros(3)))


def test_meter_pools_pixels_by_region():
    truth = torch.zeros(2, 1, 4)
    truth[0, 0, 3] = 200.0
    moving = torch.tensor([[[False, False, True, True]]])
    flow = truth.clone()
    flow[0, 0] += torch.tensor([1.0, 4.0, 2.0, 6.0])
    meter = MotionMeter()
    meter.add(flow, truth, moving, mask=torch.tensor([[[False, True, True, False]]]))
    found = meter.summary()
    assert found["epe_px all"] == pytest.approx(13 / 4)
    assert found["epe_px static"] == pytest.approx(5 / 2)
    assert found["epe_px dynamic"] == pytest.approx(8 / 2)
    assert found["outliers all"] == 1 / 4  # 6 pixels of 200 are none
    assert found["moving_iou"] == pytest.approx(1 / 3)
    valid = torch.tensor([[[True, False, True, False]]])
    meter.add(flow, truth, moving, mask=moving, valid=valid)
    assert meter.summary()["epe_px static"] == pytest.approx((5 + 1) / 3)
    assert meter.summary()["moving_iou"] == pytest.approx(2 / 4)


def test_meter_refuses_other_sizes():
    with pytest.raises(InputError, match="differ in size"):
        MotionMeter().add(torch.zeros(2, 2, 2), torch.zeros(2, 4, 4), torch.zeros(1, 4, 4))


def turned(angle):
    c, s = math.cos(angle), math.sin(angle)
    move = torch.eye(4, dtype=torch.float64)
    move[0, 0], move[0, 2], move[2, 0], move[2, 2] = c, s, -s, c
    move[2, 3] = 1.0
    return move


def test_snippets_do_not_depend_on_scale_or_on_where_they_are():
    true = chain(torch.stack([turned(0.05 * i) for i in range(9)]))
    scaled = true.clone()
    scaled[:, :3, 3] *= 0.2
    elsewhere = turned(1.0) @ scaled
    assert snippet_errors(elsewhere, true)[0] < 1e-9
    straight = chain(torch.stack([turned(0.0)] * 9))
    mean, spread = snippet_errors(straight, true)
    assert mean > 0.01
    assert spread > 0
    with pytest.raises(InputError, match="at least 5"):
        snippet_errors(true[:4], true[:4])
