"""``kinodepth check``: printed, written, and the exit status."""

from __future__ import annotations

import pytest

from kinodepth.cli.main import main
from kinodepth.data.folder import write_folder
from kinodepth.data.synthetic import sequence


def folder_of(path, motion):
    for _ in write_folder(sequence(0, "room", 6, 213, 160, motion).frames(("depth",)), path, {}):
        pass
    return path


def test_a_good_recording(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert main(["check", str(folder_of(tmp_path / "walk", "walking"))]) == 0
    said = capsys.readouterr().out
    for words in ("frames: 6", "size: 213 x 160", "frames/s", "degrees", "cam_to_world, camera, depth, image"):
        assert words in said
    page = (tmp_path / "walk_check" / "report.html").read_text(encoding="utf-8")
    assert page.count("data:image/jpeg;base64") == 6
    assert 'src="http' not in page


def test_a_static_camera_is_refused(tmp_path, capsys):
    folder = folder_of(tmp_path / "still", "static")
    assert main(["check", str(folder), "--out", str(tmp_path / "page")]) == 1
    message = "the camera does not move"
    assert f"fatal: {message}" in capsys.readouterr().out
    assert message in (tmp_path / "page" / "report.html").read_text(encoding="utf-8")


def test_field_of_view_is_shown(tmp_path, capsys):
    for frame in sequence(0, "room", 4, 213, 160).frames(()):
        bare = type(frame)(frame.name, frame.image)
        for _ in write_folder(iter([bare]), tmp_path / "bare", {}):
            pass
    assert main(["check", str(tmp_path / "bare"), "--out", str(tmp_path / "a")]) in (0, 1)
    assert "note: there are no intrinsics" in capsys.readouterr().out
    assert main(["check", str(tmp_path / "bare"), "--fov", "70", "--out", str(tmp_path / "a")]) in (0, 1)
    assert "field of view: 70.0 x" in capsys.readouterr().out


@pytest.mark.parametrize("at", [0, 3])
def test_a_broken_image_is_found(tmp_path, capsys, at):
    folder = folder_of(tmp_path / "walk", "walking")
    image = sorted((folder / "images").iterdir())[at]
    image.write_bytes(image.read_bytes()[:2000])
    assert main(["check", str(folder), "--out", str(tmp_path / "page")]) == 1
    assert f"{image.name} is truncated" in capsys.readouterr().out


def test_report_where_a_file_is(tmp_path, capsys):
    (tmp_path / "file").touch()
    still = folder_of(tmp_path / "still", "static")
    assert main(["check", str(still), "--out", str(tmp_path / "file")]) == 2
    assert "a file is in the way" in capsys.readouterr().err
