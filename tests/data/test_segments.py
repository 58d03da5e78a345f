"""Masks beside the frames of a recording: from folders, and what is taken of a panoptic map."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image

from kinodepth.data import open_sequence
from kinodepth.data.segments import chosen_segments, from_detector, from_folder, write_segments
from kinodepth.types import InputError


def save(path, array):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(array).save(path)


@pytest.fixture
def drive(tmp_path):
    """Two frames; masks at half their size, a small one before a large one, for the first of them."""
    for frame in ("a", "b"):
        save(tmp_path / "drive" / "images" / f"{frame}.png", np.zeros((20, 40, 3), np.uint8))
    for number, side in ((0, 8), (1, 3)):
        mask = np.zeros((10, 20), np.uint8)
        mask[1 : 1 + side, 1 : 1 + side] = 255
        save(tmp_path / "theirs" / "city" / "a" / f"{number}.png", mask)
    road = np.zeros((10, 20), np.uint8)
    road[8:] = 255
    save(tmp_path / "roads" / "city" / "a.png", road)
    return tmp_path


def test_one_image_per_object_becomes_ids(drive):
    read = from_folder(drive / "theirs", drive / "roads")
    recording = open_sequence(drive / "drive", format="folder")
    assert list(write_segments(recording, read)) == [2, 0]
    again = open_sequence(drive / "drive", format="folder")
    ids = again.read(0, {"mask:instances"}).masks["instances"]
    assert [(ids == i).sum().item() for i in (1, 2)] == [4 * (64 - 9), 4 * 9]
    assert not again.read(1, {"mask:instances"}).masks["instances"].any()
    assert again.records[0].load["mask:road"]().sum() == 4 * 40
    assert list(write_segments(again, read)) == [0, 0]


def test_of_a_panoptic_map_objects_and_road_are_taken():
    segmentation = torch.zeros(4, 6, dtype=torch.int32)
    segmentation[1, 1:3], segmentation[1, 4], segmentation[3], segmentation[0] = 1, 2, 3, 4
    about = [{"id": i, "label_id": label} for i, label in ((1, 10), (2, 11), (3, 12), (4, 13))]
    found = chosen_segments(segmentation, about, {10: "car", 11: "Person", 12: "road", 13: "sky"})
    assert [int(mask.sum()) for mask in found.masks] == [2, 1]
    assert int(found.road.sum()) == 6
    nothing = chosen_segments(segmentation, about[3:], {13: "sky"})
    assert nothing.masks.shape == (0, 4, 6)
    assert nothing.road is None


def test_weights_of_something_else_are_refused(tmp_path):
    torch.save({"strange": torch.zeros(1)}, tmp_path / "weights.pth")
    with pytest.raises(InputError, match="maskrcnn_resnet50_fpn weights"):
        from_detector(tmp_path / "weights.pth")
