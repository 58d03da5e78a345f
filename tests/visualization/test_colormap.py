"""One colour range per clip."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from kinodepth.types import InputError
from kinodepth.visualization import colormap


def test_clip_of_constant_depth_has_identical_colours_in_every_frame():
    frames = [np.full((12, 16), 7.3, np.float32) for _ in range(5)]
    histogram = colormap.ClipRange()
    for frame in frames:
        histogram.add(frame)
    pictures = [colormap.colorize(frame, histogram.range()) for frame in frames]
    assert all((picture == pictures[0][0, 0]).all() for picture in pictures)

    span = None
    for frame in frames:
        span = colormap.running_range(span, frame)
        assert (colormap.colorize(frame, span) == pictures[0]).all()


def test_same_depth_has_the_same_colour_beside_different_neighbours():
    first = np.array([[2.0, 5.0, 9.0]], np.float32)
    second = np.array([[2.5, 5.0, 80.0]], np.float32)
    histogram = colormap.ClipRange()
    histogram.add(first)
    histogram.add(second)
    span = histogram.range()
    assert (colormap.colorize(first, span)[0, 1] == colormap.colorize(second, span)[0, 1]).all()


def test_clip_range_agrees_with_exact_percentiles():
    values = np.random.default_rng(0).lognormal(1.0, 1.0, (40, 50, 60)).astype(np.float32)
    histogram = colormap.ClipRange()
    for frame in values:
        histogram.add(frame)
    assert histogram.range(2, 98) == pytest.approx(np.percentile(values, [2, 98]), rel=5e-3)
    assert colormap.percentile_range(values[0]) == pytest.approx(np.percentile(values[0], [2, 98]), rel=2e-2)


def test_near_is_warm_far_is_cold_and_unmeasured_is_black():
    near, far, none = colormap.colorize(torch.tensor([[[1.0, 50.0, 0.0]]]), (1.0, 50.0))[0].astype(int)
    assert near[0] > near[2] + 50
    assert far[2] > far[0] + 50
    assert (none == 0).all()


def test_running_range_moves_slowly_towards_the_new_depth():
    far_scene = np.full((4, 4), 100.0, np.float32)
    near, far = colormap.running_range((1.0, 10.0), far_scene)
    assert 1.0 < near < 2.0
    assert 10.0 < far < 12.0
    for _ in range(500):
        near, far = colormap.running_range((near, far), far_scene)
    assert (near, far) == pytest.approx((100.0, 100.0), rel=0.01)


def test_maps_without_measurements_do_not_fail():
    empty = np.zeros((3, 4), np.float32)
    assert (colormap.colorize(empty, colormap.percentile_range(empty)) == 0).all()


@pytest.mark.parametrize("text", ["5", "5,1", "0,3", "a,b", "1,inf", "1,2,3"])
def test_unusable_range_is_refused(text):
    with pytest.raises(InputError, match="near,far"):
        colormap.parse_range(text)
    assert colormap.parse_range("1,50") == (1.0, 50.0)


def test_unknown_colour_map_is_refused():
    with pytest.raises(InputError, match="matplotlib"):
        colormap.colorize(np.ones((2, 2), np.float32), (1, 2), "no_such_map")
