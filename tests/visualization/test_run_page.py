"""Pages made of what the files of a run, of predictions and of an evaluation say."""

from __future__ import annotations

import numpy as np

from kinodepth.visualization import panels, run_page

PICTURE = np.zeros((8, 12, 3), np.uint8)
EVALUATION = {
    "protocol": {"name": "generic", "max_depth_m": 80.0},
    "result": {"all": {"abs_rel": 0.1234, "rmse_m": 2.0}, "dynamic": {"abs_rel": 0.4321, "rmse_m": 5.0}},
    "errors_mean_over": {"images": {"none": {"all": {"abs_rel": 0.77}}, "frame_median": {"all": {"abs_rel": 0.55}}}},
    "pixels": {"all": 1000, "dynamic": 10},
    "frames": [{"name": "a", "abs_rel": 0.3}],
}


def test_training_page_has_curves_validation_and_configuration():
    log = [{"step": i, "stage": "main", "loss": {"photo": 1 / (i + 1)}, "total": 2 / (i + 1)} for i in range(1000)]
    log += [
        {"step": i, "validation": {"loss": v, "abs_rel": float("nan")}} for i, v in ((100, 0.5), (200, 0.3), (300, 0.4))
    ]
    run = {"method": "toy", "data": "clip", "config": {"width": 8}, "versions": {"torch": "2"}}
    text = run_page.training_page(run, log, [("step 100", PICTURE)], [EVALUATION])
    for word in ("Training toy", "photo", "total", "validation", "0.3", "width", "torch", "0.1234", "generic"):
        assert word in text, word
    assert len(text) < 200_000


def test_training_page_of_a_run_without_steps():
    assert "No step was logged" in run_page.training_page({"method": "toy"}, [])


def test_predictions_page_says_what_the_numbers_mean():
    scales = {"metric": "Depth is in m.", "up_to_scale": "unknown factor", "affine": "factor and shift"}
    for scale, words in scales.items():
        text = run_page.predictions_page(
            {"method": "toy", "scale": scale, "unit": "m"}, [("0", PICTURE)], {"p95_ms": 1.5}
        )
        assert words in text
        assert "p95_ms" in text
        assert "untrained" not in text
    assert "untrained" in run_page.predictions_page({"weights": "untrained"}, [])


def test_evaluation_tables_hold_every_level():
    text = run_page.evaluation_page(EVALUATION)
    for word in ("0.1234", "0.4321", "0.77", "0.55", "frame_median", "dynamic", "max_depth_m = 80", "<td>a</td>"):
        assert word in text, word


def test_wide_images_stand_above_their_depth_and_others_beside():
    wide = panels.image_and_depth(np.zeros((3, 10, 40)), np.ones((10, 40)), (1, 2), "0001")
    tall = panels.image_and_depth(np.zeros((3, 10, 12)), np.ones((5, 6)), (1, 2))
    assert wide.shape == (20, 40, 3)
    assert tall.shape == (10, 24, 3)


def test_error_map_is_grey_without_truth_and_brighter_with_error():
    picture = panels.error_map(np.array([[1.0, 1.5, 9.0]]), np.array([[1.0, 1.0, 0.0]])).astype(int)
    assert (picture[0, 2] == 96).all()
    assert picture[0, 1].sum() > picture[0, 0].sum()


def test_contact_sheet_has_room_for_all():
    sheet = panels.contact_sheet([PICTURE] * 5, columns=3, gap=2)
    assert sheet.shape == (2 * 8 + 2, 3 * 12 + 2 * 2, 3)
    assert panels.fit(np.zeros((100, 50, 3), np.uint8), 50, 50).shape == (50, 25, 3)
    assert panels.depth_legend((1.0, 50.0)).shape[:2] == (160, 72)
