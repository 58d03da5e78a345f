"""Maps of a recording in one file: what comes back, how exactly, and what happens when the file is not whole."""

from __future__ import annotations

import pytest
import torch

from kinodepth.data.shards import MAGIC, decode, encode, joined, read_note, write_shard
from kinodepth.types import Camera, InputError, Record, Sequence

CODECS = {"mask:objects": "ids", "mask:moving": "bits", "extra:depth": "depth", "extra:motion": "half"}


def maps(seed: int, height: int = 6, width: int = 10) -> dict[str, torch.Tensor]:
    draws = torch.Generator().manual_seed(seed)
    depth = 0.1 * 1000 ** torch.rand(1, height, width, generator=draws)
    return {
        "mask:objects": torch.randint(256, (1, height, width), generator=draws).to(torch.uint8),
        "mask:moving": torch.rand(3, height, width, generator=draws) < 0.3,
        "extra:depth": depth * (torch.rand(1, height, width, generator=draws) < 0.8),
        "extra:motion": 40 * torch.randn(4, height, width, generator=draws),
    }


def recording(names: str, height: int = 6, width: int = 10) -> Sequence:
    camera = Camera(8.0, 8.0, 4.5, 2.5, width, height)
    load = {"image": lambda: torch.rand(3, height, width), "depth": lambda: torch.ones(1, height, width)}
    return Sequence("clip", [Record(name, load, None, camera) for name in names])


@pytest.mark.parametrize("codec", ["bits", "ids"])
def test_masks_come_back_as_they_were(codec):
    values = maps(0)["mask:moving" if codec == "bits" else "mask:objects"]
    assert torch.equal(decode(encode(values, codec), codec, tuple(values.shape)), values)


@pytest.mark.parametrize("codec", ["depth", "half"])
def test_floats_come_back_within_the_stated_error(codec):
    values = maps(1)["extra:depth" if codec == "depth" else "extra:motion"]
    found = decode(encode(values, codec), codec, tuple(values.shape))
    assert torch.equal(found == 0, values == 0)
    assert ((found - values).abs() <= 5.1e-4 * values.abs()).all()


def test_a_recording_with_a_shard_has_its_fields(tmp_path):
    path = tmp_path / "0.shard"
    assert write_shard(path, ((name, maps(i)) for i, name in enumerate("ab")), CODECS, {"key": "k"}) == 2
    assert read_note(path) == {"key": "k"}
    found = joined(recording("abc"), path)
    frame = found.read(1)
    assert torch.equal(frame.masks["objects"], maps(1)["mask:objects"])
    assert torch.equal(frame.masks["moving"], maps(1)["mask:moving"])
    assert frame.depth is not None  # of the same size: the recording's own maps stay
    absent = found.read(2)
    assert not absent.masks["moving"].any()
    assert absent.extra["depth"].shape == (1, 6, 10)


def test_images_take_the_size_of_the_maps(tmp_path):
    write_shard(tmp_path / "0.shard", [("a", maps(0))], CODECS, {})
    frame = joined(recording("a", 12, 20), tmp_path / "0.shard").read(0)
    assert frame.image.shape == (3, 6, 10)
    assert (frame.camera.width, frame.camera.fx) == (10, 4.0)
    assert frame.depth is None


def test_a_later_shard_replaces_the_fields_of_an_earlier_one(tmp_path):
    for number in (0, 1):
        write_shard(tmp_path / f"{number}.shard", [("a", maps(number))], CODECS, {})
    found = joined(joined(recording("a"), tmp_path / "0.shard"), tmp_path / "1.shard").read(0)
    assert torch.equal(found.masks["objects"], maps(1)["mask:objects"])


def test_a_cut_off_shard_counts_as_none(tmp_path):
    path = tmp_path / "0.shard"
    write_shard(path, [("a", maps(0))], CODECS, {"key": "k"})
    path.write_bytes(path.read_bytes()[: -len(MAGIC)])
    assert read_note(path) is None
    with pytest.raises(InputError, match="no complete shard"):
        joined(recording("a"), path)
    assert read_note(tmp_path / "nothing") is None
