"""``kinodepth prepare``: what goes in comes out, resized together, once."""

from __future__ import annotations

import shutil

import pytest
import torch

from kinodepth.cli.main import main
from kinodepth.data import open_sequence, open_sequences
from kinodepth.data.selection import training_frames
from kinodepth.data.synthetic import Scene
from kinodepth.data.synthetic.write import write
from kinodepth.types import InputError


@pytest.fixture(scope="module")
def street(tmp_path_factory):
    folder = tmp_path_factory.mktemp("made") / "street"
    for _ in write(Scene(1, "street", 5, 96, 64), folder, extra=False):
        pass
    return folder


def stamps(folder):
    return {path: path.stat().st_mtime_ns for path in folder.rglob("*.*g")}


def test_everything_is_resized_together(street, tmp_path, capsys):
    assert main(["prepare", str(street), str(tmp_path / "out"), "--size", "48x32", "--stride", "2"]) == 0
    assert "wrote 3 of 5 frames" in capsys.readouterr().out
    before, after = open_sequence(street), open_sequence(tmp_path / "out")
    assert [record.name for record in after.records] == [record.name for record in before.records[::2]]
    assert after.provides == before.provides
    for index in range(3):
        old, new = before.read(2 * index), after.read(index)
        assert new.camera == old.camera.resize(48, 32)
        assert new.timestamp == old.timestamp
        torch.testing.assert_close(new.cam_to_world, old.cam_to_world, rtol=0, atol=0)
        shrunk = old.image.unflatten(1, (32, 2)).unflatten(3, (48, 2)).mean((2, 4))
        assert (new.image - shrunk).abs().mean() < 0.03  # JPEG and another filter
        choices = old.depth[0].unflatten(0, (32, 2)).unflatten(2, (48, 2)).permute(0, 2, 1, 3).flatten(2)
        assert ((choices - new.depth[0][..., None]).abs().amin(-1) < 0.01).all()  # one of the four, never a mixture
        assert new.masks.keys() == old.masks.keys()
        assert new.masks["instances"].unique().numel() <= old.masks["instances"].unique().numel()


def test_again_keeps_what_is_there_and_adds_what_is_not(street, tmp_path):
    out = tmp_path / "out"
    command = ["prepare", str(street), str(out), "--size", "48x32"]
    assert main(command) == 0
    first = stamps(out)
    lost = sorted((out / "images").iterdir())[2]
    lost.unlink()
    (out / "sequence.json").unlink()
    assert main(command) == 0
    second = stamps(out)
    assert second.keys() == first.keys()
    assert [path for path in first if first[path] != second[path]] == [lost]
    assert len(open_sequence(out)) == 5


def test_a_folder_with_something_else_is_left_alone(street, tmp_path, capsys):
    out = tmp_path / "out"
    out.mkdir()
    (out / "thesis.txt").write_text("mine")
    assert main(["prepare", str(street), str(out)]) == 2
    assert "holds something else" in capsys.readouterr().err
    assert [path.name for path in out.iterdir()] == ["thesis.txt"]
    other = tmp_path / "other"
    assert main(["prepare", str(street), str(other), "--size", "48x32"]) == 0
    before = stamps(other)
    assert main(["prepare", str(street), str(other), "--size", "24x16"]) == 2
    assert stamps(other) == before
    (tmp_path / "file").touch()
    assert main(["prepare", str(street), str(tmp_path / "file")]) == 2


def test_dry_run_writes_nothing(street, tmp_path, capsys):
    assert main(["prepare", str(street), str(tmp_path / "out"), "--dry-run"]) == 0
    assert "would write 5 of 5" in capsys.readouterr().out
    assert not (tmp_path / "out").exists()


def test_time_and_change_choose_frames(street, tmp_path, capsys):
    def frames(*options: str) -> str:
        assert main(["prepare", str(street), str(tmp_path / "out"), "--dry-run", *options]) == 0
        return capsys.readouterr().out.split(" of ")[0].split()[-1]

    assert frames("--start", "0.1", "--end", "0.3") == "3"
    assert frames("--changed", "1") == "1"
    assert frames("--changed", "0") == "5"
    assert main(["prepare", str(street), str(tmp_path / "out"), "--start", "9"]) == 2
    assert main(["prepare", str(street), str(tmp_path / "out"), "--stride", "0"]) == 2
    assert main(["prepare", str(street), str(tmp_path / "out"), "--size", "big"]) == 2


def test_several_recordings(street, tmp_path):
    many = tmp_path / "many"
    for name in ("a", "b"):
        shutil.copytree(street, many / name)
    assert main(["prepare", str(many), str(tmp_path / "out"), "--stride", "4"]) == 0
    assert [(s.name, len(s)) for s in open_sequences(tmp_path / "out")] == [("a", 2), ("b", 2)]


def test_far_depth_survives(tmp_path):
    """LiDAR sees further than 65 m, which millimetres in 16 bits do not."""
    from kinodepth.data.prepare import Cut, prepare
    from kinodepth.types import Camera, Record, Sequence

    depth = torch.full((1, 8, 8), 80.0)
    load = {"image": lambda: torch.zeros(3, 8, 8), "depth": lambda: depth}
    sequence = Sequence("far", [Record(f"{i}", load, camera=Camera(8, 8, 4, 4, 8, 8)) for i in range(3)], "lidar")
    assert list(prepare(sequence, tmp_path / "out", Cut())) == ["0", "1", "2"]
    assert (open_sequence(tmp_path / "out").read(1).depth == 80).all()
    with pytest.raises(InputError, match="prepared from other frames"):
        list(prepare(sequence.select([1, 2]), tmp_path / "out", Cut()))


def test_select_writes_what_training_uses(street, tmp_path, capsys):
    out = tmp_path / "out"
    command = ["prepare", str(street), str(out), "--size", "48x32"]
    assert main([*command, "--select", "signed", "--select-share", "0.1"]) == 0
    said = capsys.readouterr().out
    kept = [int(line) for line in (out / "frame_index.txt").read_text().split()]
    assert 1 < len(kept) <= 5
    assert f"selected {len(kept)} of 5 frames" in said
    assert len(open_sequence(out)) == 5
    assert [r.name for r in training_frames(open_sequence(out)).records] == [f"{i:06d}" for i in kept]
    frames = stamps(out)
    assert main([*command, "--select", "signed", "--select-share", "1"]) == 0
    assert "1 frames left, and fewer than 4 cannot train" in capsys.readouterr().out
    assert (out / "frame_index.txt").read_text() == "0\n"
    assert stamps(out) == frames  # another selection leaves the pictures alone
    assert main(command) == 0
    assert not (out / "frame_index.txt").exists()


def test_the_selection_of_the_source_is_kept(street, tmp_path):
    source = shutil.copytree(street, tmp_path / "source")
    (source / "frame_index.txt").write_text("0\n1\n2\n4\n")
    assert main(["prepare", str(source), str(tmp_path / "out"), "--stride", "2"]) == 0
    assert (tmp_path / "out" / "frame_index.txt").read_text() == "0\n1\n2\n"


def test_check_and_train_look_at_the_selected_frames(street, tmp_path, capsys):
    source = shutil.copytree(street, tmp_path / "source")
    (source / "frame_index.txt").write_text("0\n2\n4\n")
    main(["check", str(source), "--out", str(tmp_path / "checked")])
    assert "3 of 5, selected for training" in capsys.readouterr().out
    words = ["train", "sc_depth_v1", "--data", str(source), "--out", str(tmp_path / "run"), "--skip-checks"]
    assert main(words) == 2
    assert "the longest has 3 frames" in capsys.readouterr().err
