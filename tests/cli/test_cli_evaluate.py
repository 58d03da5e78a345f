import csv
import json
import shutil

import numpy as np
import pytest
from PIL import Image

from kinodepth.cli.evaluate import _names
from kinodepth.cli.main import main
from kinodepth.types import InputError, Sequence

NAMES = [f"{i:03d}" for i in range(4)]


@pytest.fixture
def drive(tmp_path):
    """A folder with images, depth (m x 1000) and poses, and predictions that are half the depth."""
    rng = np.random.default_rng(0)
    data, predictions = tmp_path / "drive", tmp_path / "theirs"
    for folder in (data / "images", data / "depth", predictions):
        folder.mkdir(parents=True)
    (data / "sequence.json").write_text(json.dumps({"depth_divisor": 1000}))
    (data / "intrinsics.txt").write_text("40 0 23.5\n0 40 15.5\n0 0 1\n")
    for name in NAMES:
        Image.fromarray(rng.integers(0, 255, (32, 48, 3), np.uint8)).save(data / "images" / f"{name}.png")
        depth = rng.integers(2000, 9000, (32, 48)).astype(np.uint16)
        Image.fromarray(depth).save(data / "depth" / f"{name}.png")
        np.save(predictions / f"{name}.npy", depth.astype(np.float32) / 2000)
    return data, predictions


def evaluate(*words):
    return main(["evaluate", *(str(word) for word in words)])


def test_leaves_tables_rows_and_page(drive, tmp_path, capsys):
    data, predictions = drive
    out = tmp_path / "out"
    assert evaluate(predictions, "--data", data, "--out", out, "--baseline", "constant,row_median") == 0
    stored = json.loads((out / "evaluation.json").read_text())
    assert stored["protocol"]["name"] == "generic"
    assert stored["result"]["all"]["abs_rel"] == pytest.approx(0, abs=1e-6)
    assert stored["errors_mean_over"]["images"]["none"]["all"]["abs_rel"] == pytest.approx(0.5, rel=1e-6)
    assert stored["scalars"]["clip_scale"] == pytest.approx(2)
    assert stored["compared"]["constant"]["all"]["abs_rel"] > 0.1
    assert len(list(csv.DictReader((out / "frames.csv").open()))) == 4 * 5
    assert "data:image/" in (out / "report.html").read_text()
    assert "row_median of drive" in capsys.readouterr().out


def test_inverse_depth_of_a_foreign_folder(drive, tmp_path):
    data, predictions = drive
    for name in NAMES:
        np.save(predictions / f"{name}.npy", 1 / np.load(predictions / f"{name}.npy"))
    assert evaluate(predictions, "--data", data, "--out", tmp_path / "out", "--quantity", "inverse_depth") == 0
    stored = json.loads((tmp_path / "out" / "evaluation.json").read_text())
    assert stored["result"]["all"]["abs_rel"] == pytest.approx(0, abs=1e-6)


def test_colour_masks_make_regions_and_have_to_match(drive, tmp_path, capsys):
    data, predictions = drive
    masks = tmp_path / "seg"
    masks.mkdir()
    for i, name in enumerate(NAMES):
        colors = np.zeros((32, 48, 3), np.uint8)
        colors[4 + i : 12 + i, 10:20] = (0, 0, 142)
        Image.fromarray(colors).save(masks / f"{name}.png")
    arguments = (predictions, "--data", data, "--out", tmp_path / "out", "--seg-mask", masks)
    assert evaluate(*arguments) == 2
    assert "dynamic_colors.txt" in capsys.readouterr().err
    (masks / "dynamic_colors.txt").write_text("0 0 142\n220 20 60\n")
    assert evaluate(*arguments) == 0
    stored = json.loads((tmp_path / "out" / "evaluation.json").read_text())
    assert stored["result"]["dynamic"]["pixels"] == 4 * 80
    (masks / "002.png").rename(masks / "022.png")
    assert evaluate(*arguments) == 2
    assert "no segmentation mask for frame 002" in capsys.readouterr().err


def test_instance_masks_make_regions(drive, tmp_path):
    """Ids of moving things are regions of their own; each image counts once, but for the published protocol."""
    data, predictions = drive
    (data / "masks" / "instances").mkdir(parents=True)
    for i, name in enumerate(NAMES):
        ids = np.zeros((32, 48), np.uint8)
        if i < 3:  # the last frame has nothing that moves
            ids[4 + i : 8 + i, 10:20], ids[20:24, i : 5 + i] = 1, 7
        Image.fromarray(ids).save(data / "masks" / "instances" / f"{name}.png")
        depth = np.load(predictions / f"{name}.npy")
        np.save(predictions / f"{name}.npy", np.where(ids > 0, 1.5 * depth, depth) * (1 + 0.1 * i))
    means = {}
    for protocol in ("sc_depth_tum", "sc_depth_tum_double_count"):
        assert evaluate(predictions, "--data", data, "--out", tmp_path / protocol, "--protocol", protocol) == 0
        stored = json.loads((tmp_path / protocol / "evaluation.json").read_text())
        assert stored["mask"] == "instances"
        assert stored["result"]["dynamic"]["pixels"] == 3 * 60
        assert stored["result"]["dynamic"]["images"] == 3
        rows = csv.DictReader((tmp_path / protocol / "frames.csv").open())
        rows = [row for row in rows if row["alignment"] == "per_frame_median" and row["region"] == "all"]
        means[protocol] = [float(row["abs_rel"]) for row in rows], stored["result"]["all"]["abs_rel"]
    once, twice = means.values()
    assert once[1] == pytest.approx(np.mean(once[0]))
    assert twice[1] == pytest.approx(np.mean([*twice[0], *twice[0][:3]]))
    assert once[1] != pytest.approx(twice[1], rel=1e-3)


def test_split_is_hashed_and_stored(drive, tmp_path):
    data, predictions = drive
    (tmp_path / "split.txt").write_text("001\n003\n")
    assert evaluate(predictions, "--data", data, "--out", tmp_path / "out", "--split", tmp_path / "split.txt") == 0
    stored = json.loads((tmp_path / "out" / "evaluation.json").read_text())
    assert stored["result"]["all"]["images"] == 2
    assert stored["protocol"]["split_sha256"] == stored["provenance"]["frames_sha256"]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ((), "no data given"),
        (("--data", "{data}", "--protocol", "kitti_eigen_rav"), "did you mean kitti_eigen_raw"),
        (("--data", "{data}", "--baseline", "zero"), "no baseline 'zero'"),
        (("--data", "{data}", "--mask", "dynamic"), "has a dynamic mask"),
        (("--data", "{data}", "--split", "{split}"), "1 are not in drive"),
    ],
)
def test_bad_input_is_one_sentence(drive, tmp_path, capsys, words, message):
    data, predictions = drive
    (tmp_path / "split.txt").write_text("001\n099\n")
    filled = [word.format(data=data, split=tmp_path / "split.txt") for word in words]
    assert evaluate(predictions, *filled, "--out", tmp_path / "out") == 2
    error = capsys.readouterr().err
    assert message in error
    assert "Traceback" not in error


def several(drive, tmp_path):
    """Two recordings, the second with half of the frames, and predictions that are 0.9 and 0.6 times the depth."""
    data, _ = drive
    root, predictions = tmp_path / "dataset", tmp_path / "depths"
    for name, keep, factor in (("kitchen", NAMES, 0.9), ("office", NAMES[:2], 0.6)):
        shutil.copytree(data, root / name)
        (predictions / name).mkdir(parents=True)
        for frame in NAMES:
            if frame not in keep:
                (root / name / "images" / f"{frame}.png").unlink()
                (root / name / "depth" / f"{frame}.png").unlink()
                continue
            depth = np.asarray(Image.open(root / name / "depth" / f"{frame}.png")) / 1000
            np.save(predictions / name / f"{frame}.npy", (factor * depth).astype(np.float32)[::2, ::2])
    return root, predictions


def test_several_recordings_are_scored_alone_and_together(drive, tmp_path, capsys):
    root, predictions = several(drive, tmp_path)
    out = tmp_path / "out"
    assert evaluate(predictions, "--data", root, "--protocol", "deep_video_mvs", "--out", out) == 0
    stored = json.loads((out / "evaluation.json").read_text())
    assert stored["recordings"]["kitchen"]["abs_rel"] == pytest.approx(0.1, rel=1e-5)
    assert stored["recordings"]["office"]["abs_rel"] == pytest.approx(0.4, rel=1e-5)
    # as published: the mean over all keyframes of all scenes, not over scenes
    assert stored["result"]["all"]["abs_rel"] == pytest.approx((4 * 0.1 + 2 * 0.4) / 6, rel=1e-5)
    assert stored["result"]["all"]["images"] == 6
    assert stored["result"]["all"]["pixels"] == 6 * 16 * 24  # at the size of the predictions
    rows = list(csv.DictReader((out / "frames.csv").open()))
    assert {row["frame"] for row in rows} >= {"kitchen/003", "office/001"}
    assert (out / "office" / "report.html").is_file()
    printed = capsys.readouterr().out
    assert all(word in printed for word in ("kitchen", "office", "all frames", "mean of recordings", "0.2500"))


def test_recordings_without_predictions_are_named(drive, tmp_path, capsys):
    root, predictions = several(drive, tmp_path)
    shutil.rmtree(predictions / "office")
    assert evaluate(predictions, "--data", root, "--out", tmp_path / "out") == 0
    assert "office has NO PREDICTIONS" in capsys.readouterr().out
    shutil.rmtree(predictions / "kitchen")
    assert evaluate(predictions, "--data", root, "--out", tmp_path / "out") == 2
    assert "has no folder for any of 2 recordings" in capsys.readouterr().err


def test_recordings_of_one_name_go_by_their_folders(tmp_path):
    rooms = [Sequence("seq-01", [], str(tmp_path / room / "seq-01")) for room in ("chess", "fire")]
    assert _names(rooms, str(tmp_path)) == ["chess/seq-01", "fire/seq-01"]
    with pytest.raises(InputError, match="recordings of one name"):
        _names([rooms[0], rooms[0]], str(tmp_path))
