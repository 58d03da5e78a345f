"""What users really give: each bad input ends in one sentence on the command line, and costs nothing that was done."""

from __future__ import annotations

import errno
import re
import shutil

import av
import numpy as np
import pytest
import torch
from PIL import Image

from kinodepth import data
from kinodepth.cli.main import main
from kinodepth.data.video import write_video
from kinodepth.types import InputError

NAMES = [f"{i:04d}" for i in range(5)]


def pixels(number):
    return np.random.default_rng(number).integers(0, 255, (48, 64, 3), np.uint8)


@pytest.fixture
def clip(tmp_path):
    """Five frames with camera, poses, depth and masks in the folder contract."""
    folder = tmp_path / "clip"
    for kind in ("images", "depth", "masks/dynamic"):
        (folder / kind).mkdir(parents=True)
    for number, name in enumerate(NAMES):
        Image.fromarray(pixels(number)).save(folder / "images" / f"{name}.jpg")
        Image.fromarray(np.full((48, 64), 2000 + number, np.uint16)).save(folder / "depth" / f"{name}.png")
        Image.fromarray(np.full((48, 64), 255, np.uint8)).save(folder / "masks" / "dynamic" / f"{name}.png")
    (folder / "intrinsics.txt").write_text("60 60 31.5 23.5")
    write_poses(folder, [np.eye(4)] * 5)
    return folder


def write_poses(folder, poses):
    rows = [f"{name} {' '.join(str(float(v)) for v in pose.ravel())}" for name, pose in zip(NAMES, poses)]
    (folder / "poses.txt").write_text("\n".join(rows) + "\n")


def refused(capsys, *words):
    """The one sentence that a command line ends with."""
    assert main([str(word) for word in words]) == 2
    lines = [line for line in capsys.readouterr().err.splitlines() if line.strip()]
    assert len(lines) == 1, lines
    assert lines[0].startswith(f"kinodepth {words[0]}: ")
    return lines[0]


def test_poses_that_are_missing_short_or_not_numbers(clip, tmp_path, capsys):
    out = tmp_path / "out"
    write_poses(clip, [np.eye(4)] * 3)
    message = refused(capsys, "prepare", clip, out)
    assert "poses.txt has no pose for 2 of 5 frames, such as 0003; expected one row per image" in message
    broken = np.eye(4)
    broken[0, 3] = np.nan
    write_poses(clip, [np.eye(4), broken, *[np.eye(4)] * 3])
    assert [r.cam_to_world is None for r in data.open_sequence(clip).records] == [False, True, False, False, False]
    write_poses(clip, [broken] * 5)
    assert "poses.txt, frame 0000 holds NaN or inf; expected finite numbers" in refused(capsys, "check", clip)
    (clip / "poses.txt").write_text("")
    assert "has no pose for 5 of 5 frames" in refused(capsys, "prepare", clip, out)
    assert not out.exists()
    (clip / "poses.txt").unlink()  # none at all is a recording without poses, and said to be one
    assert main(["prepare", str(clip), str(out)]) == 0
    assert "without cam_to_world" in capsys.readouterr().out


def test_rows_of_poses_that_do_not_fit_the_images(clip, capsys, tmp_path):
    (clip / "K.txt").write_text("60 0 31.5 0 60 23.5 0 0 1")
    (clip / "intrinsics.txt").unlink()
    shutil.rmtree(clip / "masks")
    (clip / "poses.txt").write_text("1 0 0 0 0 1 0 0 0 0 1 0 0 0 0 1\n" * 4)
    assert "poses.txt has 4 poses for 5 images; expected one row per image" in refused(capsys, "check", clip)
    (clip / "poses.txt").write_text("1 0 0 0 0 1 0 0 0 0 nan 0 0 0 0 1\n" * 5)
    assert "poses.txt row 1 holds NaN or inf" in refused(capsys, "check", clip)


@pytest.mark.parametrize("content", ["1200 1200 960 540", "1200 0 960\n0 1200 540\n0 0 1\n"])
def test_intrinsics_of_another_size(clip, capsys, content):
    (clip / "intrinsics.txt").write_text(content)
    message = refused(capsys, "check", clip)
    assert "principal point (960, 540) is far from the centre of 64 x 48 images" in message
    assert "rescale them, or give JSON with width and height" in message


def test_intrinsics_of_another_shape(clip, capsys):
    (clip / "intrinsics.txt").unlink()
    (clip / "intrinsics.json").write_text('{"fx": 9, "fy": 9, "cx": 5, "cy": 5, "width": 10, "height": 10}')
    assert "is for 10 x 10 images, found 64 x 48 of another shape" in refused(capsys, "check", clip)


def sc_depth_scene(folder, cam):
    folder.mkdir()
    for name in NAMES:
        Image.fromarray(pixels(0)).save(folder / f"{name}.jpg")
    (folder / "cam.txt").write_text(cam)
    return folder


def test_cam_txt_with_commas(tmp_path):
    cam = "60.5, 0.0, 31.5,\n0.0, 61.5, 23.5,\n0.0, 0.0, 1.0\n"
    camera = data.open_sequence(sc_depth_scene(tmp_path / "a", cam)).records[0].camera
    assert (camera.fx, camera.fy, camera.cx, camera.cy) == (60.5, 61.5, 31.5, 23.5)


@pytest.mark.parametrize(
    ("cam", "message"),
    [
        ("60;0;31\n0;60;23\n0;0;1\n", "cam.txt line 1 reads '60;0;31'; expected numbers"),
        ("60 0 nan\n0 60 23\n0 0 1\n", "cx=nan"),
        ("60 0 31\n0 60 23\n", "cam.txt holds 6 numbers; expected 3 x 3 or fx fy cx cy"),
        ("-60 0 31\n0 60 23\n0 0 1\n", "positive focal lengths"),
    ],
)
def test_cam_txt_that_cannot_be_meant(tmp_path, capsys, cam, message):
    assert message in refused(capsys, "check", sc_depth_scene(tmp_path / "a", cam))


def test_pictures_of_every_kind_become_rgb(tmp_path):
    folder = tmp_path / "photos"
    folder.mkdir()
    rgb = pixels(0)
    grey = rgb[..., 0]
    alpha = np.concatenate([rgb, grey[..., None]], -1)
    expected = {
        "a_rgb": (Image.fromarray(rgb), rgb / 255),
        "b_grey": (Image.fromarray(grey), np.stack([grey] * 3, -1) / 255),
        "c_rgba": (Image.fromarray(alpha), rgb / 255),
        "d_grey_alpha": (Image.fromarray(alpha[..., 2:]), np.stack([rgb[..., 2]] * 3, -1) / 255),
        "e_16_bit": (Image.fromarray(grey.astype(np.uint16) * 257), np.stack([grey] * 3, -1) / 255),
        "f_palette": (Image.fromarray(grey).convert("P"), np.stack([grey] * 3, -1) / 255),
        "g_one_bit": (Image.fromarray(grey > 99), np.stack([grey > 99] * 3, -1)),
    }
    for name, (image, _) in expected.items():
        image.save(folder / f"{name}.png")
    turned = Image.fromarray(rgb).getexif()
    turned[0x0112] = 6  # the camera was held upright: turn clockwise to look at it
    Image.fromarray(rgb).save(folder / "h_turned.png", exif=turned)
    sequence = data.open_sequence(folder)
    for name, values in {**{k: v for k, (_, v) in expected.items()}, "h_turned": np.rot90(rgb, -1) / 255}.items():
        frame = next(f for f in sequence if f.name == name)
        assert frame.image.dtype == torch.float32
        np.testing.assert_allclose(frame.image.permute(1, 2, 0), values, atol=1e-6, err_msg=name)


def test_a_truncated_jpeg_in_the_middle_loses_nothing(clip, tmp_path, capsys):
    bad, out = clip / "images" / "0002.jpg", tmp_path / "out"
    whole = bad.read_bytes()
    bad.write_bytes(whole[: len(whole) // 2])
    assert len(data.open_sequence(clip)) == 5  # nothing is decoded before it is read
    message = refused(capsys, "prepare", clip, out)
    assert f"{bad} is truncated or damaged; expected an intact image file; copy it again or remove it" in message
    done = {path: path.stat().st_mtime_ns for path in (out / "images").iterdir()}
    assert [path.stem for path in sorted(done)] == ["0000", "0001"]
    bad.write_bytes(whole)
    assert main(["prepare", str(clip), str(out)]) == 0
    assert all(path.stat().st_mtime_ns == before for path, before in done.items())
    assert len(data.open_sequence(out)) == 5


def test_pictures_of_several_sizes_are_not_mixed(clip, tmp_path, capsys):
    Image.fromarray(pixels(3)[:24, :32]).save(clip / "images" / "0003.jpg")
    message = refused(capsys, "prepare", clip, tmp_path / "out")
    assert "frame 0003 is 32 x 24, the first one 64 x 48" in message
    assert main(["prepare", str(clip), str(tmp_path / "one"), "--size", "32x24"]) == 0


@pytest.mark.parametrize("size", ["1x1", "99999999x16"])
def test_sizes_that_are_none(clip, tmp_path, capsys, size):
    assert "no size for a picture" in refused(capsys, "prepare", clip, tmp_path / "out", "--size", size)
    assert not (tmp_path / "out").exists()


def test_a_folder_where_a_file_is_meant(clip, capsys):
    assert "this is a folder; give a file" in refused(capsys, "evaluate", clip, "--data", clip, "--split", clip)


@pytest.mark.parametrize("kind", ["depth", "masks/dynamic"])
def test_a_damaged_map_names_its_file(clip, tmp_path, capsys, kind):
    path = clip / kind / "0003.png"
    path.write_bytes(path.read_bytes()[:60])
    assert f"{path} is" in refused(capsys, "prepare", clip, tmp_path / "out")


def test_a_file_that_is_no_picture(clip, tmp_path, capsys):
    (clip / "images" / "0001.jpg").write_text("<html>not found</html>")
    assert "0001.jpg is not a readable image" in refused(capsys, "prepare", clip, tmp_path / "out")


@pytest.mark.parametrize("command", ["check", "prepare"])
def test_an_empty_folder(tmp_path, capsys, command):
    (tmp_path / "empty" / "images").mkdir(parents=True)
    for folder in (tmp_path / "empty", tmp_path / "empty" / "images"):
        words = [command, folder, *([tmp_path / "out"] if command == "prepare" else [])]
        assert "has no images, video or known layout; expected one of" in refused(capsys, *words)
    (tmp_path / "empty" / "intrinsics.txt").write_text("60 60 31.5 23.5")
    assert "images has no images; expected files such as .jpg or .png" in refused(capsys, "check", tmp_path / "empty")
    assert not (tmp_path / "out").exists()


def test_a_video_that_was_cut_off(tmp_path, capsys):
    path = tmp_path / "drive.mkv"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mjpeg", rate=10)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuvj420p"
        for number in range(20):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(pixels(number), format="rgb24")))
        container.mux(stream.encode())
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    assert main(["prepare", str(path), str(tmp_path / "out")]) == 0
    (warning,) = capsys.readouterr().err.strip().splitlines()
    assert re.fullmatch(r"warning: \S*drive\.mkv is cut off: .* the rest is left out", warning)
    assert 5 < len(data.open_sequence(tmp_path / "out")) < 15
    write_video(tmp_path / "whole.mp4", map(pixels, range(20)))
    content = (tmp_path / "whole.mp4").read_bytes()
    (tmp_path / "half.mp4").write_bytes(content[: len(content) // 2])  # its index was at the end
    assert "half.mp4 cannot be opened as a video" in refused(capsys, "check", tmp_path / "half.mp4")


def test_masks_missing_for_some_frames_are_not_mixed_up(clip, tmp_path, capsys):
    (clip / "masks" / "dynamic" / "0002.png").unlink()
    sequence = data.open_sequence(clip)
    assert "mask:dynamic" not in sequence.provides
    assert [bool(sequence.read(i).masks) for i in range(5)] == [True, True, False, True, True]
    predictions = tmp_path / "theirs"
    predictions.mkdir()
    for name in NAMES:
        np.save(predictions / f"{name}.npy", np.full((48, 64), 2.0, np.float32))
    message = refused(capsys, "evaluate", predictions, "--data", clip, "--out", tmp_path / "scores")
    assert "0002" in message
    assert "mask" in message


def test_masks_named_after_no_frame(clip, capsys):
    for path in (clip / "masks" / "dynamic").iterdir():
        path.rename(path.with_stem(f"mask_{path.stem}"))
    message = refused(capsys, "check", clip)
    assert "none of the 5 mask:dynamic entries (such as mask_0000) belongs to an image (such as 0000)" in message


def test_two_files_for_one_frame(clip, capsys):
    Image.fromarray(pixels(0)).save(clip / "images" / "0000.png")
    assert "has two images called 0000; expected one file per frame" in refused(capsys, "check", clip)


def test_output_that_cannot_be_written(clip, tmp_path, capsys, monkeypatch):
    (tmp_path / "file").write_text("mine")
    assert "file is a file" in refused(capsys, "prepare", clip, tmp_path / "file")
    assert (tmp_path / "file").read_text() == "mine"

    def forbidden(*args, **kwargs):
        raise PermissionError(errno.EACCES, "Permission denied", str(tmp_path / "out"))

    monkeypatch.setattr("tempfile.mkstemp", forbidden)
    message = refused(capsys, "prepare", clip, tmp_path / "out")
    assert f"{tmp_path / 'out'}: permission denied; choose a place you may write to" in message


def test_a_full_disk_leaves_whole_files_only(clip, tmp_path, capsys, monkeypatch):
    out, save, written = tmp_path / "out", Image.Image.save, []

    def nearly_full(self, path, *args, **kwargs):
        if len(written) == 7:
            path.write_bytes(b"half")
            raise OSError(errno.ENOSPC, "No space left on device", str(path))
        written.append(path)
        save(self, path, *args, **kwargs)

    with monkeypatch.context() as patch:
        patch.setattr(Image.Image, "save", nearly_full)
        assert "the disk is full; free some space and run the same command again" in refused(
            capsys, "prepare", clip, out
        )
    pictures = [path for path in out.rglob("*") if path.suffix in (".jpg", ".png")]
    assert len(pictures) == 7
    for path in pictures:
        Image.open(path).load()
    assert main(["prepare", str(clip), str(out)]) == 0
    assert data.open_sequence(out).provides == data.open_sequence(clip).provides


def test_arrays_with_code_in_them_are_not_run(clip, tmp_path):
    class Attack:
        def __reduce__(self):
            return (open, (str(tmp_path / "was_run"), "w"))

    (clip / "depth" / "0001.png").unlink()
    np.save(clip / "depth" / "0001.npy", np.array([Attack()], object), allow_pickle=True)
    with pytest.raises(InputError, match=r"0001\.npy cannot be read as a NumPy file"):
        data.open_sequence(clip).read(1)
    assert not (tmp_path / "was_run").exists()
