"""The folder contract: what is written is read back, joined by stem, in every form that users write."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from PIL import Image

from kinodepth import data
from kinodepth.data.folder import write_folder
from kinodepth.data.video import write_video
from kinodepth.types import Camera, Frame, InputError

SIZE = (48, 64)  # height, width


def frame(number, **fields):
    generator = torch.Generator().manual_seed(number)
    smooth = torch.nn.functional.interpolate(torch.rand(1, 3, 6, 8, generator=generator), SIZE, mode="bicubic")[0]
    return Frame(f"{number:04d}", smooth.clamp(0, 1), **fields)


def full_frame(number):
    generator = torch.Generator().manual_seed(number)
    depth = 20 * torch.rand(1, *SIZE, generator=generator)
    depth[:, :5] = 0
    pose = torch.eye(4, dtype=torch.float64)
    pose[:3, 3] = torch.tensor([0.1 * number, 1 / 3, -7.25])
    ids = torch.randint(0, 900, (1, *SIZE), generator=generator, dtype=torch.int32)
    camera = Camera(50.25, 51.5, 30.125, 24.0, SIZE[1], SIZE[0])
    return frame(
        number, timestamp=number / 30, camera=camera, cam_to_world=pose, depth=depth, prior_depth=depth / 3,
        masks={"dynamic": ids % 2 == 1, "instances": ids},
    )  # fmt: skip


@pytest.fixture
def clip(tmp_path):
    """Three frames in the folder contract, with everything."""
    list(write_folder((full_frame(i) for i in range(3)), tmp_path / "clip", {"source": "made up"}))
    return tmp_path / "clip"


def test_everything_that_is_written_is_read_back(clip):
    sequence = data.open_sequence(clip)
    assert (sequence.name, len(sequence)) == ("clip", 3)
    for number, read in enumerate(sequence):
        wrote = full_frame(number)
        assert (read.name, read.timestamp, read.camera) == (wrote.name, wrote.timestamp, wrote.camera)
        torch.testing.assert_close(read.cam_to_world, wrote.cam_to_world, rtol=0, atol=0)
        torch.testing.assert_close(read.depth, wrote.depth, rtol=0, atol=0.5001e-3)
        torch.testing.assert_close(read.prior_depth, wrote.prior_depth, rtol=0, atol=0)
        assert (read.image - wrote.image).abs().mean() < 0.02  # JPEG
        assert torch.equal(read.masks["dynamic"], wrote.masks["dynamic"])
        assert torch.equal(read.masks["instances"], wrote.masks["instances"])


def test_fields_join_by_stem_and_never_by_position(clip):
    (clip / "images" / "0000.jpg").unlink()
    (clip / "depth" / "0001.png").unlink()
    (clip / "masks" / "dynamic" / "0002.png").unlink()
    sequence = data.open_sequence(clip)
    assert [r.name for r in sequence.records] == ["0001", "0002"]
    assert [r.timestamp for r in sequence.records] == [1 / 30, 2 / 30]
    assert sequence.records[0].cam_to_world[0, 3] == pytest.approx(0.1)
    assert [sorted(r.load) for r in sequence.records] == [
        ["image", "mask:dynamic", "mask:instances", "prior_depth"],
        ["depth", "image", "mask:instances", "prior_depth"],
    ]
    assert sequence.provides == {"image", "mask:instances", "prior_depth", "camera", "cam_to_world", "timestamp"}


def test_writing_again_keeps_the_frames_that_are_there(clip):
    first = clip / "images" / "0000.jpg"
    before = first.stat().st_mtime_ns
    (clip / "images" / "0001.jpg").unlink()
    (clip / "sequence.json").unlink()
    list(write_folder((full_frame(i) for i in range(3)), clip, {}))
    assert first.stat().st_mtime_ns == before
    assert len(data.open_sequence(clip)) == 3


@pytest.mark.parametrize(
    ("name", "content", "expected"),
    [
        ("intrinsics.txt", "50 0 30\n0 51 24\n0 0 1\n", (50, 51, 30, 24)),
        ("intrinsics.txt", "50 51 30 24", (50, 51, 30, 24)),
        ("intrinsics.txt", "\ufeff# phone\n50, 51,\n30, 24\n", (50, 51, 30, 24)),
        ("intrinsics.json", '{"fx": 50, "fy": 51, "cx": 30, "cy": 24}', (50, 51, 30, 24)),
        (
            "intrinsics.json",
            '{"fx": 100, "fy": 102, "cx": 60.5, "cy": 48.5, "width": 128, "height": 96}',
            (50, 51, 30, 24),
        ),
        ("intrinsics.json", '{"fov": 90}', (32, 32, 31.5, 23.5)),
    ],
)
def test_intrinsics_in_every_form(clip, name, content, expected):
    (clip / "intrinsics.json").unlink()
    (clip / name).write_text(content, encoding="utf-8")
    camera = data.open_sequence(clip).records[0].camera
    assert (camera.fx, camera.fy, camera.cx, camera.cy) == pytest.approx(expected)
    assert (camera.width, camera.height) == (64, 48)


def test_a_video_in_the_folder_carries_what_is_known_about_it(clip):
    pictures = [np.full((48, 64, 3), 60 * i, np.uint8) for i in range(3)]
    for path in (clip / "images").iterdir():
        path.unlink()
    (clip / "images").rmdir()
    (clip / "timestamps.txt").unlink()
    write_video(clip / "video.mp4", pictures, rate=10)
    for part in ("depth", "prior", "masks/dynamic", "masks/instances"):  # frames of a video are called 000000, ...
        for path in (clip / part).iterdir():
            path.rename(path.with_name(f"00{path.name}"))
    lines = (clip / "poses.txt").read_text().splitlines()
    (clip / "poses.txt").write_text("".join(f"00{line}\n" for line in lines))
    sequence = data.open_sequence(clip)
    read, wrote = sequence.read(2), full_frame(2)
    assert (read.name, read.camera) == ("000002", wrote.camera)
    assert read.timestamp == pytest.approx(0.2)
    assert read.image.mean() == pytest.approx(120 / 255, abs=0.02)
    torch.testing.assert_close(read.cam_to_world, wrote.cam_to_world, rtol=0, atol=0)
    assert torch.equal(read.masks["instances"], wrote.masks["instances"])


def test_a_dataset_is_a_folder_of_folders(tmp_path):
    for name in ("b", "a"):
        list(write_folder(map(full_frame, range(2)), tmp_path / name, {}))
    assert [sequence.name for sequence in data.open_sequences(tmp_path)] == ["a", "b"]
    with pytest.raises(InputError, match=r"holds 2 recordings \(a, b"):
        data.open_sequence(tmp_path)


def test_depth_of_another_unit_by_an_option(tmp_path):
    for name in ("images/0.png", "images/1.png"):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        Image.new("RGB", (64, 48)).save(path)
    (tmp_path / "depth").mkdir()
    for number in range(2):
        Image.fromarray(np.full((48, 64), 5000, np.uint16)).save(tmp_path / "depth" / f"{number}.png")
    (tmp_path / "K.txt").write_text("50 0 32 0 50 24 0 0 1")
    assert data.open_sequence(tmp_path).read(0).depth.max() == 5
    assert data.open_sequence(tmp_path, depth_divisor=5000).read(0).depth.max() == 1
    with pytest.raises(InputError, match="takes no depth_divisor"):
        data.open_sequence(tmp_path / "images", depth_divisor=5000)


@pytest.mark.parametrize(
    ("file", "content", "message"),
    [
        ("intrinsics.json", '{"fov": "wide"}', r"intrinsics\.json: fov is 'wide'"),
        ("intrinsics.json", '{"fov": 400}', "field of view of 400"),
        ("intrinsics.json", '{"fx": NaN, "fy": 1, "cx": 1, "cy": 1}', "fx is nan"),
        ("intrinsics.json", "[1, 2]", r"intrinsics\.json holds a list"),
        ("intrinsics.json", '{"fx": 1', r"intrinsics\.json is not JSON"),
        ("intrinsics.json", '{"fx": 1}', "lacks fy, cx, cy"),
        ("sequence.json", '{"depth_divisor": 0}', "depth_divisor is 0"),
        ("sequence.json", "[]", r"sequence\.json holds a list"),
        ("timestamps.txt", "0000 nan\n", r"timestamps\.txt, frame 0000"),
        ("timestamps.txt", "0000\n", r"timestamps\.txt, frame 0000"),
        ("timestamps.txt", "0000 0\n0000 1\n", "about 0000 again"),
        ("timestamps.txt", "x 0\n", "none of the 1 timestamps entries .such as x. belongs to an image .such as 0000."),
        ("timestamps.txt", "0000 noon\n", "reads '0000 noon'"),
        ("poses.txt", "0000 " + "1 " * 16, "not a rotation and translation"),
        ("poses.txt", "0000 1 2 3\n", "has 3 numbers; expected the 16"),
    ],
)
def test_small_files_that_are_wrong_are_one_sentence(clip, file, content, message):
    (clip / file).write_text(content)
    with pytest.raises(InputError, match=message) as caught:
        data.open_sequence(clip)
    assert "\n" not in str(caught.value)


def test_json_of_what_was_written(clip):
    assert json.loads((clip / "sequence.json").read_text()) == {"source": "made up", "depth_divisor": 1000.0}


def test_a_prior_is_depth_whatever_it_is_stored_as(clip):
    def prior(about):
        (clip / "prior" / "prior.json").write_text(json.dumps(about))
        return data.open_sequence(clip).read(0, ("prior_depth",)).prior_depth[0]

    stored = np.linspace(-1, 3, SIZE[0] * SIZE[1], dtype=np.float32).reshape(SIZE)
    stored[0, 0] = np.nan
    for number in range(3):
        np.save(clip / "prior" / f"{number:04d}.npy", stored)
    values = torch.from_numpy(stored)
    positive = values > 0
    for about in ({}, {"quantity": "depth", "scale": "metric"}, {"scale": "affine", "model": "any"}):
        torch.testing.assert_close(prior(about), torch.where(positive, values, 0), rtol=0, atol=0)
    metric = prior({"quantity": "inverse_depth", "scale": "metric"})
    torch.testing.assert_close(metric, torch.where(positive, 1 / values, 0), rtol=0, atol=0)
    affine = prior({"quantity": "inverse_depth", "scale": "affine"})
    assert affine[0, 0] == 0
    known = affine.flatten()[1:]
    assert (known > 0).all()
    assert (known.diff() <= 0).all()
    assert known.max() / known.min() == pytest.approx(100, rel=1e-5)


@pytest.mark.parametrize(("key", "value"), [("quantity", "disparity"), ("scale", "up_to_scale"), ("scale", 3)])
def test_what_a_prior_cannot_be_is_named(clip, key, value):
    (clip / "prior" / "prior.json").write_text(json.dumps({key: value}))
    with pytest.raises(InputError, match=f"prior.json: {key} is {value!r}; expected one of"):
        data.open_sequence(clip)
