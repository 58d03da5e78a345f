"""Layouts of the driving data sets that lists and crops come with, on tiny folders of their true shape."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from scipy.io import savemat

from data.test_formats import kitti_raw, picture, row, save, text
from kinodepth.data import open_sequence, open_sequences
from kinodepth.evaluation import PROTOCOLS, evaluate, score_depth
from kinodepth.methods import load
from kinodepth.types import InputError, Prediction


@pytest.fixture
def cityscapes(tmp_path):
    """Two cities, one with a gap between its frames; depth for one image."""
    for city, recording, frames in (("aachen", "000000", (18, 19, 20)), ("bochum", "000001", (5, 6, 9))):
        for frame in frames:
            stem = f"{city}_{recording}_{frame:06d}"
            save(
                tmp_path / "leftImg8bit_sequence" / "train" / city / f"{stem}_leftImg8bit.png",
                np.repeat(np.arange(32, dtype=np.uint8)[:, None, None], 64, 1).repeat(3, 2),
            )
    disparity = np.zeros((32, 64), np.uint16)
    disparity[4, 5], disparity[30, 5] = 1 + 256 * 20, 1 + 256 * 20
    save(tmp_path / "disparity" / "train" / "aachen" / "aachen_000000_000019_disparity.png", disparity)
    camera = {"intrinsic": {"fx": 70.0, "fy": 72.0, "u0": 33.0, "v0": 16.0}, "extrinsic": {"baseline": 0.2}}
    text(tmp_path / "camera" / "train" / "aachen" / "aachen_000000_000019_camera.json", json.dumps(camera))
    return tmp_path


def test_cityscapes_stretches_cameras_and_depth(cityscapes):
    found = open_sequences(cityscapes)
    assert [[r.name[-6:] for r in s.records] for s in found] == [["000018", "000019", "000020"], ["000005", "000006"],
                                                                 ["000009"]]  # fmt: skip
    frame = found[0].read(1)
    assert frame.image.shape == (3, 24, 64)
    assert frame.image[0, -1, 0] * 255 == 23  # the top rows stay
    assert (frame.camera.fx, frame.camera.cy, frame.camera.height) == (70.0, 16.0, 24)
    assert frame.depth.shape == (1, 24, 64)
    assert frame.depth[0, 4, 5] == pytest.approx(70 * 0.2 / 20)
    assert (frame.depth > 0).sum() == 1  # what lies in the bottom quarter is gone
    assert found[0].read(0).camera == frame.camera
    assert found[1].records[0].camera is None
    for part in ("leftImg8bit_sequence", "leftImg8bit_sequence/train"):
        assert sum(len(sequence) for sequence in open_sequences(cityscapes / part)) == 6
    assert open_sequence(cityscapes / "leftImg8bit_sequence" / "train" / "aachen").records[0].camera is not None


def test_cityscapes_says_what_is_wrong(cityscapes):
    file = cityscapes / "camera" / "train" / "aachen" / "aachen_000000_000019_camera.json"
    file.write_text("{}")
    with pytest.raises(InputError, match="lacks intrinsic"):
        open_sequences(cityscapes)


def test_cityscapes_protocol_scores_its_window():
    protocol = PROTOCOLS["cityscapes"]
    truth, depth = torch.full((1, 768, 2048), 10.0), torch.full((1, 192, 512), 1.0)
    truth[:, :256] = truth[:, :, :192] = truth[:, :, 1856:] = 40.0
    assert score_depth(depth, truth, protocol)["abs_rel"] == pytest.approx(0)
    truth[:, 256, 192] = 20.0
    assert score_depth(depth, truth, protocol)["abs_rel"] > 0
    with pytest.raises(InputError, match="2048 x 768"):
        score_depth(depth, torch.ones(1, 1024, 2048), protocol)


def test_make3d(tmp_path):
    rng = np.random.default_rng(0)
    for name in ("math1-p-1", "math2-p-2"):
        image = np.repeat(np.arange(64, dtype=np.uint8)[:, None, None], 48, 1).repeat(3, 2)
        save(tmp_path / "Test134" / f"img-{name}.jpg", image)
        grid = np.zeros((55, 305, 4))
        grid[..., 3] = rng.uniform(2, 80, (55, 305))
        (tmp_path / "Gridlaserdata").mkdir(exist_ok=True)
        savemat(tmp_path / "Gridlaserdata" / f"depth_sph_corr-{name}.mat", {"Position3DGrid": grid})
    sequence = open_sequence(tmp_path)
    frame = sequence.read(0)
    assert [r.name for r in sequence.records] == ["math1-p-1", "math2-p-2"]
    assert frame.image.shape == (3, 24, 48)
    assert frame.image[0, 0].mean() * 255 == pytest.approx(20, abs=1.5)
    assert frame.depth.shape == (1, 21, 305)  # 24 of 64 rows
    predictions = {f.name: Prediction(f.name, 0.5 * f.depth, "up_to_scale", "scene unit") for f in sequence}
    found = evaluate(predictions, sequence, PROTOCOLS["make3d"])
    assert found.average()["abs_rel"] == pytest.approx(0, abs=1e-6)
    assert (found.pixels[:, 0] == torch.stack([(f.depth < 70).sum() for f in sequence])).all()
    (tmp_path / "Gridlaserdata" / "depth_sph_corr-math1-p-1.mat").write_bytes(b"broken")
    with pytest.raises(InputError, match="Position3DGrid"):
        sequence.read(0)


@pytest.fixture
def kitti(tmp_path):
    """Frames 0, 1, 3 of the left and 0 to 7 of the right camera, whose focal length differs."""
    root, drive = kitti_raw(tmp_path)
    for i in range(8):
        picture(drive / "image_03" / "data" / f"{i:010d}.png", 100 + i)
    projection = np.array([[50.0, 0, 32, -20], [0, 50, 24, 0], [0, 0, 1, 0]])
    with (drive.parent / "calib_cam_to_cam.txt").open("a") as file:
        file.write(f"P_rect_03: {row(projection)}\n")
    return root, f"{drive.parent.name}/{drive.name}"


def test_eigen_zhou_list_gives_stretches_with_neighbours(kitti):
    root, drive = kitti
    listed = (1, 2, 3, 6)
    text(root / "splits" / "train_files.txt", *(f"{drive} {i} r" for i in listed), f"{drive} 1 l")
    found = open_sequences(root / "splits" / "train_files.txt")
    names = [[int(r.name) for r in s.records] for s in found]
    assert names == [[0, 1, 2, 3, 4], [5, 6, 7], [0, 1]]
    assert len({s.name for s in found}) == 3
    assert found[0].read(0).camera.fx == 50
    assert found[2].read(0).camera.fx == 40
    assert found[1].read(1).image.mean() * 255 == pytest.approx(106)
    (stage,) = load("rm_depth").stages(load("rm_depth").config(pretrained=False))
    targets = [int(s.records[w[0]].name) for s in found[:2] for w in stage.clips(s)]
    assert targets == list(listed)
    assert stage.clips(found[1]) == [(1, 0, 2)]


def test_eigen_test_list_gives_its_frames_alone(kitti):
    root, drive = kitti
    text(root / "test_files.txt", f"{drive} 0000000003 l", f"{drive} 0000000000 l")
    sequence = open_sequence(root / "test_files.txt")
    assert [int(r.name) for r in sequence.records] == [0, 3]
    assert "depth" in sequence.records[0].load


def test_lists_say_what_is_wrong(kitti):
    root, drive = kitti
    for row_, message in ((f"{drive} 2 l", "listed but missing"), ("2011_09_27/x_sync 1 l", "in no folder above")):
        text(root / "wrong.txt", row_)
        with pytest.raises(InputError, match=message):
            open_sequences(root / "wrong.txt")
    text(root / "wrong.txt", f"{drive} 1 l", "nonsense")
    with pytest.raises(InputError, match="line 2"):
        open_sequences(root / "wrong.txt")
