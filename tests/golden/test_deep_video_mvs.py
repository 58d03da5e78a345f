"""DeepVideoMVS against recorded numbers. Every size, seed and value comes from the files."""

from __future__ import annotations

import numpy as np

from golden.closeness import assert_close
from kinodepth.evaluation.metrics import deep_video_mvs_errors


def test_eight_errors(golden):
    g = golden("deep_video_mvs/metrics.npz")
    errors = deep_video_mvs_errors(g.prediction_64, g.groundtruth_64)
    assert_close(list(errors.values()), g.errors_64, rtol=1e-6)
    near = deep_video_mvs_errors(g.prediction_64, g.groundtruth_64, max_depth=2.0)
    assert_close(list(near.values()), g.errors_max_depth_2_64, rtol=1e-6)
    nothing = deep_video_mvs_errors(g.prediction_64, 0 * g.groundtruth_64)
    assert np.isnan(list(nothing.values())).all()
    assert g.errors_no_valid_64.isnan().all()
