"""Training windows: which frames, read how, joined how."""

from __future__ import annotations

import pytest
import torch

from kinodepth.data.clips import collate, read_clip, triplets
from kinodepth.types import Camera, InputError, Record, Sequence


def recording(count=5, size=(8, 12), camera=True, drop=(), read=None):
    """Frames whose values are their number; ``drop`` frames have no depth, ``read`` collects what is loaded."""

    def load(number, scale):
        def reader():
            if read is not None:
                read.append((number, scale))
            return torch.full((3 if scale == 1 else 1, *size), float(number) * scale)

        return reader

    records = []
    for i in range(count):
        fields = {"image": load(i, 1), "mask:dynamic": load(i, 3), "extra:flow": load(i, 4)}
        if i not in drop:
            fields["depth"] = load(i, 2)
        pose = torch.eye(4, dtype=torch.float64) * (i + 1)
        known = Camera(10, 10, 5.5, 3.5, size[1], size[0]) if camera else None
        records.append(Record(f"{i:03d}", fields, 0.1 * i, known, pose))
    return Sequence("clip", records)


def test_triplets_never_leave_the_recording():
    assert triplets(5) == [(1, 0, 2), (2, 1, 3), (3, 2, 4)]
    assert triplets(3) == []  # SC-Depth needs more frames than the window is long
    for count, stride, length in ((20, 1, 3), (20, 4, 3), (20, 2, 5), (7, 3, 3), (4, 3, 3)):
        for window in triplets(count, stride, length):
            assert min(window) >= 0
            assert max(window) < count
            assert [i - window[0] for i in window[1:]] == [
                k * stride for k in range(-(length // 2), length // 2 + 1) if k
            ]


def test_a_window_holds_what_was_asked_for_and_reads_nothing_else():
    read = []
    clip = read_clip(recording(read=read), (2, 1, 3), 0, ("depth", "mask:dynamic"))
    assert sorted(set(read)) == [(n, s) for n in (1, 2, 3) for s in (1, 2, 3)]
    assert clip.images.shape == (1, 3, 3, 8, 12)
    assert clip.images[0, :, 0, 0, 0].tolist() == [2, 1, 3]
    assert clip.depth[0, :, 0, 0, 0].tolist() == [4, 2, 6]
    assert clip.masks["dynamic"][0, :, 0, 0, 0].tolist() == [6, 3, 9]
    assert clip.cam_to_world[0, :, 0, 0].tolist() == [3, 2, 4]
    assert (clip.extra, clip.prior_depth, clip.names) == ({}, None, ("clip/002",))


def test_windows_are_joined_along_the_batch():
    clips = [read_clip(recording(), window, 0, ("depth", "extra:flow")) for window in triplets(5)]
    batch = collate(clips)
    assert batch.images[:, :, 0, 0, 0].tolist() == [[1, 0, 2], [2, 1, 3], [3, 2, 4]]
    assert batch.depth[:, 0, 0, 0, 0].tolist() == [2, 4, 6]
    assert batch.extra["flow"].shape == (3, 3, 1, 8, 12)
    assert batch.intrinsics.shape == (3, 3, 3)
    assert batch.names == ("clip/001", "clip/002", "clip/003")


def test_what_a_window_lacks_is_one_sentence():
    with pytest.raises(InputError, match="frame 001 has no depth; expected it for every frame"):
        read_clip(recording(drop=(1,)), (2, 1, 3), 0, ("depth",))
    with pytest.raises(InputError, match="has no camera"):
        read_clip(recording(camera=False), (2, 1, 3))
    mixed = Sequence("clip", [*recording(2).records, *recording(3, size=(8, 10)).records])
    with pytest.raises(InputError, match="frames 001 and 000 differ in size"):
        read_clip(mixed, (1, 0, 2))
    small = recording(3).records
    small[1].load["prior_depth"] = lambda: torch.ones(1, 4, 6)
    for index in (0, 2):
        small[index].load["prior_depth"] = lambda: torch.ones(1, 8, 12)
    with pytest.raises(InputError, match="prior_depth of frame 001 is 4 x 6, its image 8 x 12"):
        read_clip(Sequence("clip", small), (1, 0, 2), 0, ("prior_depth",))
