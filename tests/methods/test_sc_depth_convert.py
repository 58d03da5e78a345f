"""Published SC-Depth checkpoints: what is in them, for which version, and what must not be run."""

from __future__ import annotations

import argparse
import os

import pytest
import torch

from kinodepth import methods
from kinodepth.methods.sc_depth import convert
from kinodepth.methods.sc_depth.config import ScDepthConfig, ScDepthV2Config
from kinodepth.types import InputError

V1, V2, V3 = (methods.load(f"sc_depth_{version}") for version in ("v1", "v2", "v3"))
SMALL = ScDepthConfig(height=64, width=96, pretrained=False)


def published_file(path, config=SMALL, extra=None, options=None, method=V1):
    """A checkpoint with the published keys and our weights, stored the way the published ones are."""
    torch.manual_seed(0)
    network = method.build(config)
    state = {convert.to_published(key): value for key, value in network.state_dict().items()}
    for net in {key.split(".")[0] for key in state}:
        state[f"{net}.encoder.encoder.fc.weight"] = torch.zeros(1000, 512)
    for scale in (1, 2, 3):
        state[f"depth_net.decoder.dispconvs.{scale}.conv.bias"] = torch.zeros(1)
    state |= extra or {}
    options = argparse.Namespace(**(options or {"dataset_name": "nyu", "skip_frames": 3, "no_ssim": True}))
    torch.save({"epoch": 3, "state_dict": state, "hyper_parameters": {"hparams": options}}, path)
    return network


def test_a_published_checkpoint_becomes_ours(tmp_path):
    network = published_file(tmp_path / "a.ckpt", extra={"depth_net.decoder.other.weight": torch.zeros(1)})
    found = V1.convert(tmp_path / "a.ckpt")
    assert all(torch.equal(found.state_dict[key], value) for key, value in network.state_dict().items())
    assert found.missing == ()
    assert found.unexpected == ("depth_net.decoder.other.weight",)
    assert len(found.surplus) == 5
    config = found.config
    assert (config.convention, config.height, config.width, config.stride) == ("published", 256, 320, 3)
    assert (config.ssim, config.auto_mask, config.resnet_layers) == (False, True, 18)


def test_resnet_depth_is_read_from_the_tensors_and_missing_keys_are_named(tmp_path):
    deep = ScDepthConfig(height=64, width=96, resnet_layers=50, pretrained=False)
    published_file(tmp_path / "a.ckpt", deep)
    assert V1.convert(tmp_path / "a.ckpt").config.resnet_layers == 50
    content = torch.load(tmp_path / "a.ckpt", weights_only=False)
    del content["state_dict"]["pose_net.decoder.conv_squeeze.bias"]
    torch.save(content, tmp_path / "b.ckpt")
    assert V1.convert(tmp_path / "b.ckpt").missing == ("pose_net.squeeze.bias",)


class Evil:
    def __reduce__(self):
        return os.mkdir, ("evil_was_here",)


def test_no_code_in_a_checkpoint_is_run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    torch.save({"state_dict": {"depth_net.x": torch.zeros(1)}, "callback": Evil()}, "evil.ckpt")
    with pytest.raises(InputError, match=r"wants to run \S*mkdir"):
        V1.convert(tmp_path / "evil.ckpt")
    assert not (tmp_path / "evil_was_here").exists()


def test_every_version_finds_its_part_of_a_file(tmp_path):
    """All share depth and pose net; only V2 has a rectify net."""
    options = {"model_version": "v2", "dataset_name": "nyu", "rot_c_weight": 0.5, "rot_t_weight": 2.0}
    small = ScDepthV2Config(height=64, width=96, pretrained=False)
    network = published_file(tmp_path / "v2.ckpt", small, options=options, method=V2)
    found = V2.convert(tmp_path / "v2.ckpt")
    assert all(torch.equal(found.state_dict[key], value) for key, value in network.state_dict().items())
    assert (found.missing, found.unexpected, len(found.surplus)) == ((), (), 6)
    assert (found.config.rotation_consistency_weight, found.config.rotation_triplet_weight) == (0.5, 2.0)
    rectifying = [key for key in network.state_dict() if key.startswith("rectify_net.")]
    for method in (V1, V3):
        found = method.convert(tmp_path / "v2.ckpt")
        assert (found.missing, found.unexpected, len(found.surplus)) == ((), (), 6 + len(rectifying))
        method.build(found.config).load_state_dict(found.state_dict)
    published_file(tmp_path / "v1.ckpt")
    assert sorted(V2.convert(tmp_path / "v1.ckpt").missing) == sorted(rectifying)


def test_options_of_v3_files(tmp_path):
    options = {"model_version": "v3", "dataset_name": "bonn", "skip_frames": 10, "smooth_weight": 0.1}
    options |= {"mask_rank_weight": 0.2, "normal_matching_weight": 0.3, "normal_rank_weight": 0.4}
    published_file(tmp_path / "v3.ckpt", options=options)
    config = V3.convert(tmp_path / "v3.ckpt").config
    assert (config.mask_ranking_weight, config.normal_matching_weight, config.normal_ranking_weight) == (0.2, 0.3, 0.4)
    assert (config.smooth_weight, config.stride, config.convention) == (0.0, 10, "published")
    assert V1.convert(tmp_path / "v3.ckpt").config.smooth_weight == 0.1


def test_files_that_are_no_checkpoints_are_explained(tmp_path):
    published_file(tmp_path / "good.ckpt")
    content = (tmp_path / "good.ckpt").read_bytes()
    (tmp_path / "cut.ckpt").write_bytes(content[: len(content) // 2])
    (tmp_path / "text.ckpt").write_text("hello")
    torch.save({"state_dict": {"encoder.weight": torch.zeros(1)}}, tmp_path / "other.ckpt")
    torch.save([1, 2], tmp_path / "list.ckpt")
    for name in ("cut", "text", "other", "list", "absent"):
        with pytest.raises(InputError, match=f"{name}.ckpt") as found:
            V1.convert(tmp_path / f"{name}.ckpt")
        assert "\n" not in str(found.value)
