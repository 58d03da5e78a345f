"""Frames as they come, without a camera: sources in memory, files that are written meanwhile, one command line."""

from __future__ import annotations

import io
import json
import re
import signal
import threading
import time
import warnings
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer

import av
import numpy as np
import pytest
import torch
from PIL import Image

from kinodepth.cli.main import main
from kinodepth.data import live as sources
from kinodepth.data.predictions import open_predictions
from kinodepth.data.trajectory import PoseFeed, StreamLines
from kinodepth.inference import live, model
from kinodepth.inference.live_folder import LiveFolder
from kinodepth.types import Camera, Frame, InputError
from toy_method import registered


@pytest.fixture
def toy():
    with registered(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield model.load("toy", device="cpu")


def frame(number):
    return number, Frame(f"{number:06d}", torch.full((3, 12, 16), number / 1000), number / 10)


def numbers(arrived):
    return [number for _, number, _ in arrived]


def test_every_frame_is_taken_in_order():
    counters = live.Counters()
    assert numbers(live.every(map(frame, range(7)), counters)) == list(range(7))
    assert (counters.read, counters.dropped) == (7, 0)


def test_frames_that_arrive_during_work_are_dropped():
    counters, go = live.Counters(), [threading.Event() for _ in range(2)]

    def camera():
        yield frame(0)
        go[0].wait(10)
        yield from map(frame, range(1, 6))
        go[1].set()
        go[0].clear()
        go[0].wait(10)

    taken = live.latest(camera(), counters)
    assert next(taken)[1] == 0
    go[0].set()
    assert go[1].wait(10)  # five frames came while the first was in work
    assert next(taken)[1] == 5
    go[0].set()
    assert list(taken) == []
    assert (counters.read, counters.dropped) == (6, 4)


def test_errors_of_the_source_and_stopping():
    def broken():
        yield frame(0)
        raise InputError("the cable is out")

    taken = live.latest(broken(), live.Counters())
    assert next(taken)[1] == 0
    with pytest.raises(InputError, match="cable"):
        next(taken)
    stop = threading.Event()
    for policy in (live.every, live.latest):
        stop.clear()
        taken = policy(map(frame, range(10**9)), live.Counters(), stop)
        next(taken)
        stop.set()
        assert len(list(taken)) == 0


def test_a_recording_is_played_in_time():
    now, slept = [100.0], []

    def sleep(seconds):
        slept.append(round(seconds, 6))
        now[0] += seconds

    for _ in sources.in_real_time(map(frame, range(3)), lambda: now[0], sleep):
        now[0] += 0.03  # work
    assert slept == [0, pytest.approx(0.07), pytest.approx(0.07)]


def test_poses_and_cameras_find_their_frames(toy):
    rows = [{"timestamp": 5 + t / 10, "cam_to_world": (np.eye(4) * [1, 1, 1, 1]).ravel().tolist()} for t in (0, 1, 3)]
    rows[1]["intrinsics"] = [20, 20, 7.5, 5.5]
    feed = PoseFeed(StreamLines(io.StringIO("".join(json.dumps(row) + "\n" for row in rows))), "json")
    counters = live.Counters()
    given = Camera(10, 10, 7.5, 5.5, 16, 12)
    taken = live.every(map(frame, range(4)), counters)
    stream = live.posed(taken, counters, feed, lambda width, height: given, offset=5.0)
    found = list(live.live(toy, stream, counters, "network"))
    assert [f.cam_to_world is not None for f, _ in found] == [True, True, False, True]
    assert [f.camera.fx for f, _ in found] == [10, 20, 10, 10]
    assert counters.sentence().startswith("read 4, dropped 0, without pose 1, predicted 4, latency p50 ")


def test_a_jump_is_said_and_survived():
    poses = [np.eye(4) for _ in range(8)]
    for number, pose in enumerate(poses):
        pose[0, 3] = 0.1 * number + 10 * (number >= 5)
    rows = [{"timestamp": t / 10, "cam_to_world": pose.ravel().tolist()} for t, pose in enumerate(poses)]
    feed = PoseFeed(StreamLines(io.StringIO("".join(json.dumps(row) + "\n" for row in rows))), "json")
    counters = live.Counters()
    with pytest.warns(UserWarning, match="position jumps by 10.1 m at frame 000005") as told:
        assert len(list(live.posed(live.every(map(frame, range(8)), counters), counters, feed))) == 8
    assert len(told) == 1


def test_intrinsics_for_another_size_are_named():
    row = {"timestamp": 0.0, "cam_to_world": np.eye(4).ravel().tolist(), "intrinsics": [500, 500, 320, 240]}
    feed = PoseFeed(StreamLines(io.StringIO(json.dumps(row) + "\n")), "json")
    stream = live.posed(live.every([frame(0)], live.Counters()), live.Counters(), feed)
    with pytest.raises(InputError, match=r"intrinsics: principal point \(320, 240\) is far from the centre of 16 x 12"):
        next(stream)


def test_a_folder_that_grows(tmp_path):
    def write():
        for number in range(5):
            data = io.BytesIO()
            Image.fromarray(np.full((12, 16, 3), number, np.uint8)).save(data, "PNG")
            path = tmp_path / f"{number + 0.25:.2f}.png"
            path.write_bytes(data.getvalue()[:40])  # half written for a while
            time.sleep(0.1)
            path.write_bytes(data.getvalue())

    thread = threading.Thread(target=write)
    thread.start()
    found = list(sources.growing_folder(tmp_path, idle=3.0))
    thread.join()
    assert [number for number, _ in found] == list(range(5))
    assert [f.timestamp for _, f in found] == [0.25, 1.25, 2.25, 3.25, 4.25]
    assert [round(float(f.image.mean() * 255)) for _, f in found] == list(range(5))


def test_a_video_that_grows(tmp_path):
    path = tmp_path / "drive.mkv"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mjpeg", rate=10)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuvj420p"
        for number in range(30):
            pixels = np.random.default_rng(number).integers(0, 255, (48, 64, 3), np.uint8)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(pixels, format="rgb24")))
        container.mux(stream.encode())
    whole, growing = path.read_bytes(), tmp_path / "growing.mkv"
    growing.write_bytes(whole[: len(whole) // 3])

    def write():
        time.sleep(1.0)
        with growing.open("ab") as file:
            file.write(whole[len(whole) // 3 :])

    thread = threading.Thread(target=write)
    thread.start()
    found = list(sources.growing_video(growing, idle=3.0))
    thread.join()
    assert len(found) == 30
    assert found[20][1].timestamp == pytest.approx(2.0)


def test_a_network_stream(tmp_path):
    with av.open(str(tmp_path / "drive.ts"), "w") as container:
        stream = container.add_stream("mpeg2video", rate=25)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        for number in range(12):
            pixels = np.full((48, 64, 3), 8 * number, np.uint8)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(pixels, format="rgb24")))
        container.mux(stream.encode())
    handler = partial(SimpleHTTPRequestHandler, directory=str(tmp_path))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        address = f"http://127.0.0.1:{server.server_port}/drive.ts"
        assert sources.is_device(address)
        before = time.time()
        found = list(sources.device(address))
        with pytest.raises(InputError, match="cannot be opened"):
            next(sources.device(address + ".not"))
        server.shutdown()
    assert [number for number, _ in found] == list(range(12))
    assert before <= found[0][1].timestamp <= found[-1][1].timestamp <= time.time()
    assert abs(float(found[11][1].image.mean()) * 255 - 88) < 4


def test_the_folder_is_whole_after_every_frame(toy, tmp_path):
    out, counters = tmp_path / "out", live.Counters()
    stream = live.posed(live.every(map(frame, range(3)), counters), counters)
    with LiveFolder(out, toy, "memory", ("npz", "png16"), "network", "") as folder:
        for number, (given, prediction) in enumerate(live.live(toy, stream, counters, "network"), 1):
            folder.write(given, prediction)
            found = open_predictions(out)
            assert len(found) == number
            assert torch.equal(found[given.name].depth, prediction.depth)
            assert json.loads((out / "prediction.json").read_text())["complete"] is False
    about = json.loads((out / "prediction.json").read_text())
    assert (about["complete"], about["frames"], about["unit"]) == (True, 3, "m")
    with pytest.raises(InputError, match="is not empty"):
        LiveFolder(out, toy, "memory", ("npz",), "network", "")
    with pytest.raises(InputError, match="cannot be written live"):
        LiveFolder(tmp_path / "new", toy, "memory", ("mp4",), "network", "")


@pytest.fixture
def clip(tmp_path):
    """A posed clip as images and a trajectory beside it."""
    from kinodepth.data.folder import write_folder
    from kinodepth.data.synthetic import sequence

    made = sequence(0, "room", 12, 96, 64, "walking")
    list(write_folder(made.frames(()), tmp_path / "clip", {}))
    rows = [{"timestamp": r.timestamp, "cam_to_world": r.cam_to_world.ravel().tolist()} for r in made.records]
    (tmp_path / "poses.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return tmp_path


DVMVS = ["deep_video_mvs_pair", "--set", "height=64", "--set", "width=96"]


def depths(folder):
    return {path.name: np.load(path)["depth"] for path in sorted((folder / "npz").iterdir())}


def test_command_with_poses_on_standard_input_equals_predict(clip, monkeypatch, capsys):
    bare = clip / "bare"
    (clip / "clip" / "images").rename(bare)
    images = sorted(bare.iterdir())
    rate = str(1 / json.loads((clip / "poses.jsonl").read_text().splitlines()[1])["timestamp"])
    monkeypatch.setattr("sys.stdin", io.StringIO((clip / "poses.jsonl").read_text()))
    camera = str(clip / "clip" / "intrinsics.json")
    options = ["--poses", "-", "--intrinsics", camera, "--follow", "0.2", "--fps", rate, "--out", str(clip / "live")]
    assert main(["live", *DVMVS, str(bare), *options, "--every", "0"]) == 0
    told = capsys.readouterr()
    assert "read 12, dropped 0, without pose 0, predicted" in told.out
    assert "latency p50" in told.out
    assert len([line for line in told.err.splitlines() if line.startswith("read ")]) >= 11
    bare.rename(clip / "clip" / "images")
    assert main(["predict", *DVMVS, str(clip / "clip"), "--out", str(clip / "offline")]) == 0
    online, offline = depths(clip / "live"), depths(clip / "offline")
    assert len(images) == 12
    assert len(online) > 3
    assert list(online) == list(offline)
    assert all(np.array_equal(online[name], offline[name]) for name in online)


def test_command_on_a_posed_recording(clip, capsys):
    options = ["--frames", "latest", "--out", str(clip / "live"), "--resolution", "network"]
    assert main(["live", *DVMVS, str(clip / "clip"), *options]) == 0
    told = capsys.readouterr().out
    read, dropped, _, predicted = (int(word) for word in re.findall(r"\d+", told)[:4])
    assert read == 12
    assert 0 < predicted <= read - dropped
    assert len(open_predictions(clip / "live")) == predicted
    (clip / "clip" / "poses.txt").unlink()
    assert main(["live", *DVMVS, str(clip / "clip")]) == 2
    assert "has no cam_to_world" in capsys.readouterr().err


def test_ctrl_c_ends_with_everything_written(toy, tmp_path, capsys, monkeypatch):
    def camera(source, size, rate):
        for number in range(10**6):
            if number == 5:
                signal.raise_signal(signal.SIGINT)
            yield frame(number)

    monkeypatch.setattr(sources, "device", camera)
    assert main(["live", "toy", "0", "--frames", "all", "--out", str(tmp_path / "out")]) == 0
    assert "read 5, dropped 0, without pose 0, predicted 5" in capsys.readouterr().out
    assert len(open_predictions(tmp_path / "out")) == 5
    assert json.loads((tmp_path / "out" / "prediction.json").read_text())["complete"] is True


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["nowhere.mp4"], "nowhere.mp4 does not exist"),
        (["/dev/video77"], "cannot be opened"),
        (["0", "--intrinsics", "nothing.txt"], "is no file"),
        (["0"], "0 has no poses, deep_video_mvs_pair needs them; give --poses FILE or --poses -"),
    ],
)
def test_what_cannot_be_streamed(toy, tmp_path, capsys, words, message):
    method = ["toy"] if "needs them" not in message else DVMVS
    assert main(["live", *method, *words]) == 2
    assert message in capsys.readouterr().err.strip().splitlines()[-1]
