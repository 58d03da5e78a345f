from dataclasses import replace

import pytest
import torch
from evaluation_scenes import make_predictions, make_sequence, random_depths, square_mask

from kinodepth.evaluation import report
from kinodepth.evaluation.baselines import Baseline, RowMedians
from kinodepth.evaluation.clip import evaluate, frames_sha256
from kinodepth.evaluation.protocols import ALIGNMENTS, get
from kinodepth.types import InputError

GENERIC = get("generic")
DEPTHS = random_depths(4)


def test_matching_is_by_name_and_never_by_position():
    backwards = dict(reversed(make_predictions(DEPTHS).items()))
    assert evaluate(backwards, make_sequence(DEPTHS), GENERIC).average()["abs_rel"] == 0
    shifted = make_predictions(DEPTHS, names=["0001", "0002", "0003", "0004"])
    result = evaluate(shifted, make_sequence(DEPTHS), GENERIC)
    assert result.average()["abs_rel"] > 0.1
    assert result.missing == ("0000",)
    assert result.unused == ("0004",)
    assert any("NO PREDICTION" in line for line in result.warnings)


def test_nothing_in_common_or_no_depth_is_an_error():
    with pytest.raises(InputError, match="no prediction belongs to a frame"):
        evaluate(make_predictions(DEPTHS, names=list("abcd")), make_sequence(DEPTHS), GENERIC)
    sequence = make_sequence(DEPTHS)
    for record in sequence.records:
        del record.load["depth"]
    with pytest.raises(InputError, match="no frame of test has depth"):
        evaluate(make_predictions(DEPTHS), sequence, GENERIC)


def test_predictions_that_are_not_finite_are_named():
    broken = [depth.clone() for depth in DEPTHS]
    broken[2][0, 3, 4] = float("nan")
    with pytest.raises(InputError, match="frame 0002 is not finite at 1 scored"):
        evaluate(make_predictions(broken), make_sequence(DEPTHS), GENERIC)


def test_double_counting_repeats_images_with_moving_things():
    masks = [square_mask(2, 2) & (i in (1, 2)) for i in range(4)]
    noisy = [depth * (1 + 0.1 * i * (torch.arange(48) % 2)) for i, depth in enumerate(DEPTHS)]
    plain = evaluate(make_predictions(noisy), make_sequence(DEPTHS, masks), get("sc_depth_ddad"))
    twice = evaluate(make_predictions(noisy), make_sequence(DEPTHS, masks), get("sc_depth_ddad_double_count"))
    rows = plain.rows()[:, 0]
    assert plain.average()["abs_rel"] == pytest.approx(float(rows.mean()))
    assert twice.average()["abs_rel"] == pytest.approx(float((rows.sum() + rows[1] + rows[2]) / 6))
    assert twice.average(region="static") == plain.average(region="static")
    assert int((plain.pixels[:, 2] > 0).sum()) == 2


def test_prediction_of_another_size_and_ground_truth_to_prediction():
    coarse = [depth[:, ::2, ::2].contiguous() for depth in DEPTHS]
    result = evaluate(make_predictions(coarse, "metric"), make_sequence(DEPTHS), get("deep_video_mvs"))
    assert result.pixels[:, 0].tolist() == [16 * 24] * 4
    assert result.average()["abs_diff_m"] == 0
    assert result.protocol.alignment == "none"


def test_split_hash_is_checked():
    split = replace(GENERIC, split_sha256=frames_sha256(["0000", "0001"]))
    result = evaluate(make_predictions(DEPTHS), make_sequence(DEPTHS), split)
    assert any("NOT THE SPLIT" in line for line in result.warnings)
    same = replace(GENERIC, split_sha256=frames_sha256([f"{i:04d}" for i in reversed(range(4))]))
    assert not evaluate(make_predictions(DEPTHS), make_sequence(DEPTHS), same).warnings
    assert evaluate(make_predictions(DEPTHS), make_sequence(DEPTHS), get("sc_depth_kitti")).warnings


def test_tables_hold_every_rung_and_both_averagings():
    masks = [square_mask(4 + i, 5 + i) for i in range(4)]
    result = evaluate(make_predictions(DEPTHS), make_sequence(DEPTHS, masks), GENERIC)
    header, rows = report.ladder_table(result)
    assert [(row[0], row[1]) for row in rows[:3]] == [("none", "all"), ("none", "static"), ("none", "dynamic")]
    assert [row[0] for row in rows if "*" in row[0]] == ["per_clip_scale *"] * 3
    assert len(rows) == len(ALIGNMENTS) * 3
    assert report.markdown_table(header, rows).count("\n") == len(rows) + 2
    lines = report.frame_csv(result).splitlines()
    assert len(lines) == 1 + 4 * len(ALIGNMENTS) * 3
    stored = report.as_dict(result)
    assert stored["protocol"]["name"] == "generic"
    assert set(stored["errors_mean_over"]) == {"images", "pixels"}
    assert "NaN" not in report.to_json({"a": float("nan"), **stored})


def test_row_medians_are_the_medians_of_rows():
    noise = torch.rand(2, 4, 1, 9, 301, generator=torch.Generator().manual_seed(0))
    depths = [torch.where(noise[0, i] < 0.5, depth[:, :9, :1] * (1 + noise[1, i]), 0) for i, depth in enumerate(DEPTHS)]
    depths = [torch.where(torch.arange(9)[:, None] == 4, 0, depth) for depth in depths]
    got = RowMedians(depths).values
    stack = torch.cat(depths, 2)[0]
    for row in (0, 3, 8):
        true = stack[row][stack[row] > 0].median()
        assert float(got[row]) == pytest.approx(float(true), rel=0.005)
    assert float(got[4]) in (float(got[3]), float(got[5]))  # a row without ground truth


def test_baselines_are_scored_like_predictions():
    sequence = make_sequence(DEPTHS)
    constant = evaluate(Baseline(sequence), sequence, GENERIC)
    g = DEPTHS[0]
    assert float(constant.rows("per_frame_median")[0, 0]) == pytest.approx(
        float(((g - g.quantile(0.5)).abs() / g).mean()), rel=1e-4
    )
