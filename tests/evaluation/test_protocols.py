import json
from pathlib import Path

import pytest
import torch

from kinodepth.evaluation.frame import score_depth, valid_mask
from kinodepth.evaluation.protocols import GARG, PROTOCOLS, get
from kinodepth.types import InputError


def test_names_the_issue_asks_for_are_there():
    wanted = {f"sc_depth_{d}" for d in ("kitti", "nyu", "ddad", "bonn", "tum")}
    wanted |= {"kitti_eigen_raw", "kitti_eigen_improved", "deep_video_mvs", "generic"}
    assert wanted <= set(PROTOCOLS)
    assert all(PROTOCOLS[name].name == name for name in PROTOCOLS)


@pytest.mark.parametrize("name", sorted(PROTOCOLS))
def test_protocol_is_plain_json_and_says_what_it_is(name):
    stored = json.loads(json.dumps(PROTOCOLS[name].as_dict(), allow_nan=False))
    assert stored["name"] == name
    assert stored["version"] >= 1
    assert PROTOCOLS[name].alignment in PROTOCOLS[name].summary


def test_unknown_name_gets_the_nearest():
    with pytest.raises(InputError, match="did you mean sc_depth_kitti"):
        get("sc_depth_kiti")


def test_garg_crop_of_a_kitti_image():
    rows, columns = GARG.window(375, 1242)
    assert (rows.start, rows.stop, columns.start, columns.stop) == (153, 371, 44, 1197)


def test_nyu_crop_refuses_other_sizes():
    with pytest.raises(InputError, match="640 x 480"):
        valid_mask(torch.ones(1, 240, 320), get("sc_depth_nyu"))


def test_bounds_open_and_closed():
    gt = torch.tensor([0.1, 0.5, 79.0, 80.0]).reshape(1, 1, 4)
    from dataclasses import replace

    assert valid_mask(gt, replace(get("sc_depth_kitti"), crop=None)).flatten().tolist() == [False, True, True, False]
    assert valid_mask(gt, get("deep_video_mvs")).flatten().tolist() == [False, True, True, True]


def test_median_rules_differ_by_name():
    gt = torch.tensor([1.0, 2.0, 4.0, 8.0]).reshape(1, 2, 2)
    prediction = torch.tensor([1.0, 1.0, 1.0, 2.0]).reshape(1, 2, 2)
    lower = score_depth(prediction, gt, get("sc_depth_bonn_validation"))
    mean = score_depth(prediction, gt, get("sc_depth_bonn"))
    assert lower["abs_rel"] == pytest.approx((1 + 0 + 0.5 + 0.5) / 4)  # scale 2
    assert mean["abs_rel"] == pytest.approx((2 + 0.5 + 0.25 + 0.25) / 4)  # scale 3


def test_published_quirks_live_under_their_names_only():
    """Double counting and the lower median are in no protocol that does not say so."""
    assert all(p.double_count == name.endswith("_double_count") for name, p in PROTOCOLS.items())
    assert all((p.median == "lower") == name.endswith("_validation") for name, p in PROTOCOLS.items())
    assert "counted twice" in get("sc_depth_bonn_double_count").summary


def test_the_page_names_every_protocol():
    page = (Path(__file__).resolve().parents[2] / "docs" / "protocols.md").read_text(encoding="utf-8")
    stems = {name.removesuffix("_double_count").removesuffix("_validation") for name in PROTOCOLS}
    assert [name for name in sorted(stems) if f"`{name}`" not in page] == []
