"""Trivial predictors on real clips against the numbers that came with the data."""

import os
from pathlib import Path

import pytest

from kinodepth.data import open_sequence
from kinodepth.evaluation import PROTOCOLS, evaluate
from kinodepth.evaluation.baselines import Baseline, RowMedians, read_depths
from kinodepth.types import Record, Sequence

REPOSITORY = Path(__file__).resolve().parents[2]
DATA = Path(os.environ.get("KINODEPTH_DATA", REPOSITORY.parent / "shared" / "data"))


def clip(name):
    """The clip without poses and masks: only depth counts here."""
    if not (DATA / name).is_dir():
        pytest.skip(f"real clip {name} is absent (set KINODEPTH_DATA to the folder that holds it)")
    found = open_sequence(DATA / name)
    records = [Record(r.name, {key: r.load[key] for key in ("image", "depth")}) for r in found.records]
    return Sequence(found.name, records)


def abs_rel(sequence, row_medians=None):
    result = evaluate(Baseline(sequence, row_medians), sequence, PROTOCOLS["kitti_eigen_raw"])
    return result.average()["abs_rel"]


def test_constant_depth_and_row_medians_score_what_the_data_say():
    city, traffic = clip("kitti_raw_0013"), clip("kitti_traffic")
    rows = RowMedians(read_depths(city))
    assert abs_rel(city) == pytest.approx(0.462, abs=5e-4)
    assert abs_rel(traffic) == pytest.approx(0.347, abs=5e-4)
    assert abs_rel(city, rows) == pytest.approx(0.271, abs=5e-4)
    assert abs_rel(traffic, rows) == pytest.approx(0.544, abs=5e-4)
