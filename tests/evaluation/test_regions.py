from pathlib import Path

import pytest
import torch
from evaluation_scenes import make_predictions, make_sequence, random_depths, square_mask

from kinodepth.data.images import dynamic_from_colors
from kinodepth.evaluation.clip import evaluate
from kinodepth.evaluation.protocols import get
from kinodepth.evaluation.regions import choose_mask, match_by_stem
from kinodepth.types import InputError

GENERIC = get("generic")
DEPTHS = random_depths(4)
MASKS = [square_mask(4 + i, 5 + i) for i in range(4)]


def test_regions_are_complementary_and_counted():
    wrong = [torch.where(mask, 2 * depth, depth) for mask, depth in zip(MASKS, DEPTHS)]
    result = evaluate(make_predictions(wrong), make_sequence(DEPTHS, MASKS), GENERIC)
    assert result.regions == ("all", "static", "dynamic")
    assert result.pixels.tolist() == [[32 * 48, 32 * 48 - 100, 100]] * 4
    assert result.average("none", "static")["abs_rel"] == 0
    assert result.average("none", "dynamic")["abs_rel"] == pytest.approx(1)
    assert result.average("none", "all")["abs_rel"] == pytest.approx(100 / (32 * 48))
    assert not result.warnings


def test_a_frame_that_lost_its_mask_is_an_error():
    with pytest.raises(InputError, match=r"1 of 4 frames .* lack the dynamic mask, the first is 0002"):
        evaluate(make_predictions(DEPTHS), make_sequence(DEPTHS, [*MASKS[:2], None, MASKS[3]]), GENERIC)


def test_mask_of_another_size_is_an_error():
    small = [mask[:, ::2, ::2] for mask in MASKS]
    with pytest.raises(InputError, match="24 x 16 but its depth is 48 x 32"):
        evaluate(make_predictions(DEPTHS), make_sequence(DEPTHS, small), GENERIC)


def test_one_mask_for_all_frames_is_said_loudly():
    result = evaluate(make_predictions(DEPTHS), make_sequence(DEPTHS, [MASKS[0]] * 4), GENERIC)
    assert any("THE SAME MASK" in line for line in result.warnings)


def test_empty_masks_are_said():
    nothing = [torch.zeros_like(MASKS[0])] * 4
    result = evaluate(make_predictions(DEPTHS), make_sequence(DEPTHS, nothing), GENERIC)
    assert any("all empty" in line for line in result.warnings)


def test_shuffled_masks_do_not_match_by_stem():
    """users.md item 9."""
    names = ["0000", "0001", "0002"]
    files = [Path(f"masks/{name}.png") for name in reversed(names)]
    assert match_by_stem(names, files)["0000"].name == "0000.png"
    with pytest.raises(InputError, match="no mask for frame 0002"):
        match_by_stem(names, [Path("masks/0000.png"), Path("masks/0001.png"), Path("masks/0003.png")])
    with pytest.raises(InputError, match="0003 belongs to no frame"):
        match_by_stem(names, [*files, Path("masks/0003.png")])


def test_the_mask_asked_for_has_to_be_there():
    sequence = make_sequence(DEPTHS, MASKS)
    assert choose_mask(sequence, ["0000"]) == "dynamic"
    assert choose_mask(make_sequence(DEPTHS), ["0000"]) is None
    with pytest.raises(InputError, match="no frame of test has a movable mask"):
        choose_mask(sequence, ["0000"], "movable")
    with pytest.raises(InputError, match="is no region mask"):
        choose_mask(sequence, ["0000"], "sky")


def test_colour_masks():
    segmentation = torch.tensor([[[0, 220, 1]], [[0, 20, 0]], [[142, 60, 142]]], dtype=torch.uint8)
    colors = torch.tensor([[0, 0, 142], [220, 20, 60]])
    assert dynamic_from_colors(segmentation, colors).tolist() == [[[True, True, False]]]
