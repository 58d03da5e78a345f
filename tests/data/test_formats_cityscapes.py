"""Cityscapes as Mining Supervision was published with it, on tiny folders of its true shape."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from PIL import Image

from kinodepth.data import open_sequence, open_sequences
from kinodepth.types import InputError


def save(path, array):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(array).save(path)


@pytest.fixture
def triplets(tmp_path):
    """Two cities; three grey pictures per file, of a quarter of the size that the matrix is for."""
    for city, frames in (("aachen", (4, 19)), ("ulm", (7,))):
        for frame in frames:
            wide = np.repeat(np.repeat(np.array([[10, 20, 30]], np.uint8), 96, 0), 256, 1)
            save(tmp_path / city / f"{city}_{frame}.png", np.stack([wide] * 3, -1))
            (tmp_path / city / f"{city}_{frame}_cam.txt").write_text("560,0,512,0,560,200,0,0,1")
    return tmp_path


def test_triplets_side_by_side(triplets):
    aachen, ulm = open_sequences(triplets)
    assert (aachen.name, len(aachen), ulm.name, len(ulm)) == ("aachen", 2, "ulm", 1)
    frame = aachen.read(0)
    assert frame.name == "aachen_19"
    greys = [float(x.mean() * 255) for x in (frame.extra["previous"], frame.image, frame.extra["next"])]
    assert greys == pytest.approx([10, 20, 30])
    assert frame.image.shape == (3, 96, 256)
    assert (frame.camera.fx, frame.camera.cy, frame.camera.width) == (140, 50, 256)


def test_published_lists_choose_the_triplets(triplets):
    (triplets / "train_files.txt").write_text("ulm ulm_7\naachen aachen_4\n")
    assert [[r.name for r in s.records] for s in open_sequences(triplets)] == [["aachen_4"], ["ulm_7"]]
    (triplets / "train_files.txt").write_text("ulm ulm_8\n")
    with pytest.raises(InputError, match="is listed"):
        open_sequences(triplets)
    (triplets / "train_files.txt").write_text("ulm\n")
    with pytest.raises(InputError, match="'city frame'"):
        open_sequences(triplets)


@pytest.fixture
def moving(tmp_path):
    """One frame with a large and a small moving object, one without a folder of masks."""
    for frame in ("lindau_000000_000019", "lindau_000001_000019"):
        home = tmp_path / "leftImg8bit" / "val" / "lindau"
        save(home / f"{frame}_leftImg8bit.png", np.zeros((40, 80, 3), np.uint8))
        depths = tmp_path / "gt_depths" / "val_gt_depths"
        depths.mkdir(parents=True, exist_ok=True)
        np.save(depths / f"{frame}.npy", np.full((40, 80), 7, np.float32))
    for number, size in ((0, 8), (1, 3)):
        mask = np.zeros((40, 80), np.uint8)
        mask[10 : 10 + size, 20 + 20 * number : 20 + 20 * number + size] = 255
        folder = tmp_path / "gt_dynamic_object_mask" / "val_mask_class" / "lindau" / "lindau_000000_000019"
        save(folder / f"{number}.png", mask)
    intrinsic = {"intrinsic": {"fx": 70, "fy": 70, "u0": 40, "v0": 20}}
    camera = tmp_path / "camera_trainvaltest" / "camera" / "val" / "lindau" / "lindau_000000_000019_camera.json"
    camera.parent.mkdir(parents=True)
    camera.write_text(json.dumps(intrinsic))
    return tmp_path


def test_depth_and_moving_objects_without_the_car_itself(moving):
    sequence = open_sequence(moving)
    assert (sequence.name, len(sequence)) == ("val", 2)
    with_masks, without = sequence.read(0), sequence.read(1)
    assert with_masks.image.shape == (3, 30, 80)
    assert with_masks.depth.shape == (1, 30, 80)
    assert int(with_masks.masks["dynamic"].sum()) == 64  # the other covers 9 of 3200 pixels
    assert with_masks.masks["instances"].unique().tolist() == [0, 1, 2]
    assert (with_masks.camera.height, with_masks.camera.cy) == (30, 20)
    assert not without.masks["dynamic"].any()
    assert torch.equal(without.depth, torch.full((1, 30, 80), 7.0))
