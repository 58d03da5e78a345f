"""KITTI's annotated depth beside the odometry sequences, and the layouts that read it."""

from __future__ import annotations

import zipfile

import numpy as np
import pytest
import torch
from PIL import Image

from kinodepth.data import annotated, open_sequence
from kinodepth.types import InputError

CALIBRATION = "".join(f"P{i}: 60 0 31.5 {-3.0 * i} 0 60 15.5 0 0 0 1 0\n" for i in range(4))
DRIVE = "2011_09_30_drive_0028_sync/proj_depth/groundtruth/image_02"


@pytest.fixture
def dataset(tmp_path):
    """Sequence 08 with three images, official and DVSO poses."""
    root = tmp_path / "dataset"
    folder = root / "sequences" / "08"
    (folder / "image_2").mkdir(parents=True)
    for i in range(3):
        Image.fromarray(np.full((32, 64, 3), 50 * i, np.uint8)).save(folder / "image_2" / f"{i:06d}.png")
    (folder / "calib.txt").write_text(CALIBRATION)
    (folder / "times.txt").write_text("0\n0.1\n0.2\n")
    for name, step in (("poses", 1.0), ("poses_dvso", 1.1)):
        (root / name).mkdir()
        rows = (f"1 0 0 0 0 1 0 0 0 0 1 {step * i}\n" for i in range(3))
        (root / name / "08.txt").write_text("".join(rows))
    return root


@pytest.fixture
def archive(tmp_path):
    """The zip with an extra folder on top; sequence 08 starts at raw frame 1100."""
    path = tmp_path / "annotated.zip"
    picture = tmp_path / "depth.png"
    with zipfile.ZipFile(path, "w") as file:
        for number in (900, 1101, 1102):
            depth = np.zeros((32, 64), np.uint16)
            depth[20, 30], depth[21, 30] = 256 * (number - 1100) if number > 1100 else 1, 2560
            Image.fromarray(depth).save(picture)
            file.write(picture, f"top/train/{DRIVE}/{number:010d}.png")
    return path


def test_dry_run_says_what_is_missing(dataset, archive):
    (plan,) = annotated.plan(archive, dataset)
    assert sorted(plan.entries) == [1, 2]
    assert "2 of 4071 frames" in plan.summary
    assert "mvobj_mask" in plan.summary
    assert not (dataset / "sequences" / "08" / annotated.FOLDER).exists()
    (dataset / "sequences" / "08").rename(dataset / "sequences" / "07")
    assert "no annotated depth (2011_09_30_drive_0027_sync" in annotated.plan(archive, dataset)[0].summary


@pytest.mark.parametrize("kind", ["zip", "folder"])
def test_maps_arrive_byte_for_byte_and_are_read(dataset, archive, kind, tmp_path):
    source = archive
    if kind == "folder":
        source = tmp_path / "unpacked"
        zipfile.ZipFile(archive).extractall(source)
    plans = annotated.plan(source, dataset)
    written = list(annotated.write(source, plans))
    assert [path.name for path in written] == ["000001.png", "000002.png"]
    assert written[0].read_bytes() == zipfile.ZipFile(archive).read(f"top/train/{DRIVE}/0000001101.png")
    native = open_sequence(dataset)
    assert native.provides >= {"depth", "cam_to_world", "camera", "timestamp"}
    assert (native.read(0).depth == 0).all()
    assert native.read(2).depth[0, 20, 30] == 2.0
    assert native.records[2].cam_to_world[2, 3] == 2.0
    released = open_sequence(dataset, "dynamic_multiframe", size=(16, 32))
    assert released.records[2].cam_to_world[2, 3] == pytest.approx(2.2)
    frame = released.read(2)
    assert frame.image.shape == (3, 16, 32)
    assert frame.depth[0, 10, 15] == 10.0  # both measurements round to this pixel; the later one stays
    assert (released.read(0).depth == 0).all()


def test_wrong_folders_are_named(dataset, archive, tmp_path):
    with pytest.raises(InputError, match="sequences/00"):
        annotated.plan(archive, tmp_path / "nothing")
    with pytest.raises(InputError, match="proj_depth"):
        annotated.plan(dataset, dataset)
    with pytest.raises(InputError, match="no folder and no zip"):
        annotated.plan(dataset / "poses" / "08.txt", dataset)
    (dataset / "poses_dvso" / "08.txt").unlink()
    with pytest.raises(InputError, match="no poses at"):
        open_sequence(dataset, "dynamic_multiframe")
    assert torch.equal(open_sequence(dataset).records[0].cam_to_world, torch.eye(4).double())
