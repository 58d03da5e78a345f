"""Recordings in, predictions folders out; whatever happens on the way."""

from __future__ import annotations

import json
import warnings
from dataclasses import replace

import av
import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image

from kinodepth.inference import job, model, writers
from kinodepth.types import Camera, InputError, Record, Sequence
from toy_method import registered


@pytest.fixture(scope="module")
def toy():
    with registered(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield model.load("toy", device="cpu")


def recording(count=5, height=32, width=48, broken=None) -> Sequence:
    """Frames of smooth noise; reading frame ``broken`` fails."""

    def reader(index):
        def read():
            if index == broken:
                raise InputError(f"frame {index} is truncated")
            generator = torch.Generator().manual_seed(index)
            return F.interpolate(
                torch.rand(1, 3, height // 16, width // 16, generator=generator), (height, width), mode="bicubic"
            )[0].clamp(0, 1)

        return read

    camera = Camera(40, 40, width / 2, height / 2, width, height)
    records = [Record(f"{i:04d}", {"image": reader(i)}, i / 10, camera, torch.eye(4).double()) for i in range(count)]
    return Sequence("noise", records, "noise")


def run(toy, out, sequence=None, **options) -> job.Summary:
    return list(job.predict_folder(toy, recording() if sequence is None else sequence, out, job.Options(**options)))[-1]


def contents(folder):
    return {
        p.relative_to(folder): p.read_bytes() for p in sorted(folder.rglob("*")) if p.suffix in (".npz", ".ply", ".png")
    }


def test_folder_holds_every_format_and_what_it_means(toy, tmp_path):
    out = tmp_path / "out"
    summary = run(toy, out, save=("npz", "png16", "mp4", "ply"))
    metadata = json.loads((out / "prediction.json").read_text())
    rows = [json.loads(line) for line in (out / "frames.jsonl").read_text().splitlines()]
    assert (summary.frames, summary.computed) == (5, 5)
    assert [row["name"] for row in rows] == ["0000", "0001", "0002", "0003", "0004"]
    assert rows[2]["camera"]["fx"] == 40
    assert rows[2]["timestamp"] == pytest.approx(0.2)
    assert np.array_equal(rows[2]["cam_to_world"], np.eye(4))
    expected = {"method": "toy", "quantity": "depth", "depth_kind": "z", "scale": "metric", "unit": "m"}
    expected |= {"frames": 5, "complete": True}
    assert expected.items() <= metadata.items()
    for row in rows:
        depth = writers.read_npz(out / "npz" / f"{row['name']}.npz").depth[0].numpy()
        values = np.asarray(Image.open(out / "png16" / f"{row['name']}.png"))
        assert np.abs(values / metadata["png16_divisor"] - depth).max() <= 0.501 / metadata["png16_divisor"]
        assert (out / "ply" / f"{row['name']}.ply").stat().st_size > 1000
    with av.open(str(out / "video.mp4")) as video:
        assert sum(1 for _ in video.decode(video=0)) == 5
        assert float(video.streams.video[0].average_rate) == pytest.approx(10)
    page = (out / "report.html").read_text()
    assert "Depth is in m." in page
    assert page.count("data:image/jpeg") == 5
    assert not (out / ".spool").exists()


def test_saved_depth_is_the_depth_of_the_steps(toy, tmp_path):
    run(toy, tmp_path / "out")
    predictor, sequence = toy.predictor, recording()
    state = predictor.init()
    for index, offline in enumerate(toy.predict(sequence)):
        prediction, state = predictor.step(sequence.read(index), state)
        assert torch.equal(prediction.depth, offline.depth)
        assert torch.equal(prediction.depth, writers.read_npz(tmp_path / "out/npz" / f"{index:04d}.npz").depth)


def test_interrupted_job_continues_and_ends_with_the_same_bytes(toy, tmp_path):
    save = ("npz", "png16", "ply")
    with pytest.raises(InputError, match="truncated"):
        run(toy, tmp_path / "out", recording(broken=3), save=save)
    assert len(list((tmp_path / "out/npz").iterdir())) == 3
    assert json.loads((tmp_path / "out/prediction.json").read_text())["complete"] is False
    (tmp_path / "out/npz/.0003.torn.npz").write_bytes(b"what a killed job was writing")
    assert run(toy, tmp_path / "out", save=save).computed == 2
    assert run(toy, tmp_path / "whole", save=save).computed == 5
    assert contents(tmp_path / "out") == contents(tmp_path / "whole")
    assert run(toy, tmp_path / "out", save=save).computed == 0


def test_predictions_of_another_job_are_not_lost(toy, tmp_path):
    out = tmp_path / "out"
    run(toy, out)
    before = contents(out)
    with pytest.raises(InputError, match="--overwrite"):
        run(toy, out, recording(count=4))
    with pytest.raises(InputError, match="--overwrite"):
        run(toy, out, resolution="network")
    assert contents(out) == before
    run(toy, out, recording(count=4), overwrite=True)
    assert len(list((out / "npz").iterdir())) == 4


def test_a_folder_of_other_files_is_refused_even_with_overwrite(toy, tmp_path):
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(InputError, match="not predictions"):
        run(toy, tmp_path, overwrite=True)
    assert [p.name for p in tmp_path.iterdir()] == ["notes.txt"]


def test_colours_are_fixed_for_the_clip(toy, tmp_path):
    """The video of a clip of constant depth has one colour, though its images differ."""

    class Constant:
        def init(self):
            return None

        def step(self, frame, state):
            depth = torch.full((1, *frame.image.shape[-2:]), 5.0)
            return replace(template, name=frame.name, depth=depth), state

    template = next(iter(toy.predict(recording())))
    constant = replace(toy, method=replace(toy.method, predictor=lambda network: Constant()))
    run(constant, tmp_path / "out", save=("mp4",))
    with av.open(str(tmp_path / "out/video.mp4")) as video:
        depths = [frame.to_ndarray(format="rgb24")[:, 60:].astype(int) for frame in video.decode(video=0)]
    assert len(depths) == 5
    colours = np.array([d.reshape(-1, 3).mean(0) for d in depths])
    assert np.ptp(colours, axis=0).max() < 3  # of 255; what the video codec leaves


def test_fixed_range_is_used_and_written(toy, tmp_path):
    summary = run(toy, tmp_path / "out", span=(1.0, 50.0))
    assert summary.span == (1.0, 50.0)
    assert json.loads((tmp_path / "out/prediction.json").read_text())["color_range"] == [1.0, 50.0]


def test_point_cloud_of_a_recording_without_camera_is_refused(toy, tmp_path):
    sequence = recording()
    blind = Sequence("blind", [replace(record, camera=None) for record in sequence.records])
    with pytest.raises(InputError, match="no camera"):
        run(toy, tmp_path / "out", blind, save=("ply",))


def test_unusable_options_are_refused(toy, tmp_path):
    for options, words in (({"save": ("exr",)}, "npz,png16,mp4,ply"), ({"resolution": "huge"}, "image or network")):
        with pytest.raises(InputError, match=words):
            run(toy, tmp_path / "out", **options)
    with pytest.raises(InputError, match="no frames"):
        run(toy, tmp_path / "out", Sequence("empty", []))
    assert not (tmp_path / "out").exists()


def test_frame_rate_comes_from_the_timestamps():
    assert job.frame_rate(recording()) == pytest.approx(10)
    untimed = Sequence("x", [replace(record, timestamp=None) for record in recording().records])
    assert job.frame_rate(untimed) == 25


def test_page_shows_numbers_of_the_job(toy, tmp_path):
    summary = run(toy, tmp_path / "out")
    assert summary.numbers()["steps"] == 5
    assert "p95_ms" in (tmp_path / "out/report.html").read_text()
