"""Videos written here, whole, turned, with frames at odd times, cut off and damaged."""

from __future__ import annotations

import pickle
import struct
import warnings
from fractions import Fraction

import av
import numpy as np
import pytest

from kinodepth import data
from kinodepth.data.video import write_video
from kinodepth.types import InputError

COUNT = 40


def picture(number):
    """A picture whose brightness says its number, with a bright corner at the top left."""
    values = np.full((64, 96, 3), 5 * number + 10, np.uint8)
    values[:16, :16] = 255
    return values


def write(path, codec="libx264", layout="yuv420p", times=None, fast_start=False, noise=False, **options):
    """``COUNT`` pictures; ``times`` in milliseconds."""
    generator = np.random.default_rng(0)
    with av.open(str(path), "w", options={"movflags": "faststart"} if fast_start else {}) as container:
        stream = container.add_stream(codec, rate=25)
        stream.width, stream.height, stream.pix_fmt, stream.options = 96, 64, layout, options
        if times:
            stream.codec_context.time_base = Fraction(1, 1000)
        for number in range(COUNT):
            values = picture(number)
            if noise:  # so that the data and not the header make up the file
                values[32:] = generator.integers(0, 255, values[32:].shape)
            frame = av.VideoFrame.from_ndarray(values, format="rgb24")
            if times:
                frame.pts, frame.time_base = times[number], Fraction(1, 1000)
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path


def numbers(sequence, indices=None):
    """The number that each picture carries."""
    images = [sequence.read(i).image for i in (range(len(sequence)) if indices is None else indices)]
    return [round((float(image[:, 20:30, 20:90].mean()) * 255 - 10) / 5) for image in images]


@pytest.mark.parametrize(
    ("name", "codec", "layout"),
    [
        ("a.mp4", "libx264", "yuv420p"),
        ("grey.mkv", "ffv1", "gray"),
        ("ten_bit.mkv", "ffv1", "yuv420p10le"),
        ("full_range.mov", "mjpeg", "yuvj420p"),
        ("reordered.avi", "libx264", "yuv420p"),  # B-frames, for which AVI stores no times
    ],
)
def test_every_frame_is_the_right_one_in_any_order(tmp_path, name, codec, layout):
    sequence = data.open_sequence(write(tmp_path / name, codec, layout))
    assert numbers(sequence) == list(range(COUNT))
    some = [39, 3, 4, 30, 5, 0, 38]
    assert numbers(sequence, some) == some
    assert sequence.provides == {"image", "timestamp"}
    times = np.array([record.timestamp for record in sequence.records])
    assert np.allclose(np.diff(times), 0.04, atol=1e-3)


def test_a_copy_for_another_process_reads_on_its_own(tmp_path):
    sequence = data.open_sequence(write(tmp_path / "a.mp4"))
    assert numbers(sequence, [9]) == [9]
    copy = pickle.loads(pickle.dumps(sequence))
    assert numbers(copy, [30, 2]) == [30, 2]
    assert numbers(sequence, [10]) == [10]


def test_times_are_those_of_the_file(tmp_path):
    times = [int(1000 * t) for t in np.random.default_rng(0).uniform(0.01, 0.2, COUNT).cumsum()]
    sequence = data.open_sequence(write(tmp_path / "a.mkv", "ffv1", "yuv444p", times))
    assert [round(1000 * record.timestamp) for record in sequence.records] == times
    assert numbers(sequence, [7, 2]) == [7, 2]


@pytest.mark.parametrize("turns", [1, 2, 3])  # quarter turns clockwise, as a phone writes them
def test_pictures_are_upright(tmp_path, turns):
    path = write(tmp_path / "phone.mp4")
    content = bytearray(path.read_bytes())
    cosine, sine = ((0, 1), (-1, 0), (0, -1))[turns - 1]
    at = content.index(b"tkhd") + 4 + 40  # version 0: the matrix follows 40 bytes
    matrix = [cosine, sine, 0, -sine, cosine, 0, 0, 0]
    content[at : at + 36] = struct.pack(">9i", *(v * 65536 for v in matrix), 1 << 30)
    path.write_bytes(content)
    image = data.open_sequence(path).read(5).image
    assert tuple(image.shape[1:]) == ((96, 64) if turns % 2 else (64, 96))
    corner = {1: image[:, :12, -12:], 2: image[:, -12:, -12:], 3: image[:, -12:, :12]}[turns]
    assert corner.mean() > 0.9
    assert image.mean() < 0.3


@pytest.mark.parametrize("name", ["a.mp4", "a.mkv"])
def test_a_file_that_was_cut_off_gives_what_is_there(tmp_path, name):
    path = write(tmp_path / name, fast_start=name == "a.mp4", noise=True)
    path.write_bytes(path.read_bytes()[: path.stat().st_size * 6 // 10])
    with pytest.warns(UserWarning, match=r"a\.m.. is cut off: \d+ (of 40 )?frames can be read, the rest is left out$"):
        sequence = data.open_sequence(path)
    assert 5 < len(sequence) < 35
    found = numbers(sequence)
    assert found == sorted(found)
    assert found[:3] == [0, 1, 2]


def test_whole_files_raise_no_warning(tmp_path):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for name in ("a.mp4", "a.mkv", "a.ts", "a.mov"):
            assert len(data.open_sequence(write(tmp_path / name))) == COUNT


def test_a_file_without_its_index_is_one_sentence(tmp_path):
    path = write(tmp_path / "a.mp4", noise=True)  # the index of an mp4 lies at its end
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(InputError, match=r"a\.mp4 cannot be opened as a video .* may be cut off"):
        data.open_sequence(path)
    (tmp_path / "text.mp4").write_text("not a video")
    with pytest.raises(InputError, match="cannot be opened as a video"):
        data.open_sequence(tmp_path / "text.mp4")


def test_a_damaged_frame_is_never_replaced_by_another(tmp_path):
    path = write(tmp_path / "a.mkv", "ffv1", "yuv444p", g="1")
    with av.open(str(path)) as container:
        packets = [bytes(packet) for packet in container.demux() if packet.size]
    path.write_bytes(path.read_bytes().replace(packets[20], b"\xff" * len(packets[20])))
    sequence = data.open_sequence(path)
    with pytest.raises(InputError, match=r"a\.mkv: frame 20 cannot be decoded"):
        sequence.read(20)
    assert numbers(sequence, [19, 21, 39]) == [19, 21, 39]


def test_a_recording_that_begins_between_key_frames(tmp_path):
    path = write(tmp_path / "a.ts", g="10", bf="0", sc_threshold="0")
    with av.open(str(path)) as container, av.open(str(tmp_path / "b.ts"), "w") as out:
        stream = out.add_stream_from_template(container.streams.video[0])
        for number, packet in enumerate(container.demux(video=0)):
            if packet.pts is not None and number >= 5:
                packet.stream = stream
                out.mux(packet)
    found = numbers(data.open_sequence(tmp_path / "b.ts"))
    assert found == list(range(found[0], COUNT))
    assert 5 < found[0] <= 10


def test_what_is_written_is_read_back(tmp_path):
    write_video(tmp_path / "out" / "a.mp4", (picture(i)[:63] for i in range(COUNT)), rate=12.5)
    sequence = data.open_sequence(tmp_path / "out" / "a.mp4")
    assert numbers(sequence) == list(range(COUNT))
    assert tuple(sequence.read(0).image.shape) == (3, 62, 96)
    assert sequence.records[10].timestamp == pytest.approx(0.8)


def test_writing_that_fails_leaves_nothing(tmp_path):
    def frames():
        yield picture(0)
        raise RuntimeError("no more")

    with pytest.raises(RuntimeError, match="no more"):
        write_video(tmp_path / "a.mp4", frames())
    assert list(tmp_path.iterdir()) == []
