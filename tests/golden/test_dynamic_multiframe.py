"""Dynamic-multiframe-depth against recorded numbers. Sizes, seeds and values come from the files, tolerances from
their README."""

from __future__ import annotations

import pytest
import torch

from golden.closeness import assert_close
from kinodepth.geometry.depth import plane_depths
from kinodepth.geometry.pose import move_between
from kinodepth.methods.dynamic_multiframe import convert
from kinodepth.methods.dynamic_multiframe.config import DynamicMultiframeConfig
from kinodepth.methods.dynamic_multiframe.fusion import attend
from kinodepth.methods.dynamic_multiframe.model import build
from kinodepth.methods.dynamic_multiframe.volume import Matcher, photometric_volume

FOLDER = "dynamic_multiframe"
BACKBONES = {"resnet18": convert.RESNET, "efficientnetb5": convert.B5}


def assert_near(actual, expected, limit):
    """The largest difference, as a share of the largest expected value."""
    assert_close(actual, expected, atol=limit * float(expected.abs().max()))


def published(**settings):
    return DynamicMultiframeConfig(pretrained=False, convention="published", **settings)


@pytest.fixture
def network(seeded_weights):
    """``network(variant, **settings)``: the seeded published networks under our names."""

    def load(variant, **settings):
        state = seeded_weights(f"{FOLDER}/manifest_{variant}.json")
        model = build(published(backbone=BACKBONES.get(variant, convert.RESNET), **settings))
        ours = {convert.to_ours(k): v for k, v in state.items() if not convert.SURPLUS.match(k)}
        model.load_state_dict(ours)
        return model.eval()

    return load


# ---------------------------------------------------------------------------------------------------------------
# Cost volume
# ---------------------------------------------------------------------------------------------------------------


def images(g, prefix=""):
    """Keyframe, frames, poses and intrinsics of a file in our layout; images in [0, 1]."""
    key, frames, pose, poses, k = (
        getattr(g, prefix + name) for name in ("keyframe", "frames", "keyframe_pose", "poses", "keyframe_intrinsics")
    )
    return key + 0.5, frames.transpose(0, 1) + 0.5, pose, poses.transpose(0, 1), k[:, :3, :3]


def volume(g, depths, prefix="", samples=slice(None), **settings):
    key, frames, pose, poses, intrinsics = (values[samples] for values in images(g, prefix))
    moves = move_between(poses, pose[:, None].expand_as(poses))
    matcher = Matcher(convention="published", **settings)
    others = getattr(g, prefix + "intrinsics").transpose(0, 1)[samples, :, :3, :3]
    return photometric_volume(key, frames, moves, intrinsics, depths, matcher, others)


def test_planes(golden):
    g = golden(f"{FOLDER}/cost_volume.npz")
    config = published()
    assert_close(plane_depths(len(g.depth_planes), config.near, config.far), g.depth_planes, rtol=1e-5)


def test_cost_volume(golden):
    g = golden(f"{FOLDER}/cost_volume.npz")
    found = volume(g, g.depth_planes)
    assert_close(found, g.cost_volume, atol=5e-4)
    assert_close(found, g.cost_volume, atol=1e-4, share=0.999)


VARIANTS = {
    "ssim": {},
    "ssim_l1": {"matching": "ssim_l1"},
    "l1": {"matching": "l1"},
    "l1_pooled": {"matching": "l1_pooled"},
    "patch5": {"patch": 5},
    "uniform_channels": {"channels": (1 / 3, 1 / 3, 1 / 3)},
    "not_centered": {"centered": False},
    "alpha1": {"sharpness": 1.0},
}


@pytest.mark.parametrize("variant", VARIANTS)
def test_cost_volume_variants(golden, variant):
    inputs, g = golden(f"{FOLDER}/cost_volume.npz"), golden(f"{FOLDER}/cost_volume_variants.npz")
    found = volume(inputs, g.depth_planes, samples=slice(1), **VARIANTS[variant])
    assert_close(found, getattr(g, f"cost_volume_{variant}"), atol=5e-4)


def test_cost_volume_of_planes_per_pixel_and_of_three_frames(golden):
    inputs, g = golden(f"{FOLDER}/cost_volume.npz"), golden(f"{FOLDER}/cost_volume_variants.npz")
    found = volume(inputs, g.custom_planes, samples=slice(1))
    assert_close(found, g.cost_volume_custom_planes, atol=5e-4)
    assert_close(volume(g, g.depth_planes, "three_"), g.cost_volume_three_frames, atol=5e-4)


# ---------------------------------------------------------------------------------------------------------------
# Networks
# ---------------------------------------------------------------------------------------------------------------


def one_hot(index, planes):
    return torch.zeros(len(index), planes, *index.shape[-2:]).scatter_(1, index, 1)


@torch.no_grad()
def test_fusion(golden, network):
    g = golden(f"{FOLDER}/fusion.npz")
    fusion = network("resnet18").fusion
    mono = one_hot(g.pseudo_index, g.cost_volume.shape[1])
    assert_close(fusion(mono, g.cost_volume), g.ccf, atol=1e-5)
    tokens = fusion.mono.expand(mono)
    assert_close(tokens, g.ccf_mono_features, atol=1e-5)
    assert_close(fusion.multi.expand(g.cost_volume), g.ccf_multi_features, atol=1e-5)
    n = tokens[0, 0].numel()  # gathering one-hot values gives the attention itself
    rows = attend(fusion.mono, tokens, torch.eye(n).view(1, n, *tokens.shape[-2:]).expand(len(tokens), -1, -1, -1))
    count = g.ccf_mono_attention_rows.shape[1]
    assert_close(rows.flatten(2).mT[:, :count], g.ccf_mono_attention_rows, atol=1e-5)


@torch.no_grad()
@pytest.mark.parametrize(
    ("variant", "name", "settings"),
    [
        ("resnet18_wide", "ccf_wide", {"width": 960}),
        ("resnet18_mono_guide_multi", "mono_guide_multi", {"fusion": "mono_guide_multi"}),
        ("resnet18_multi_guide_mono", "multi_guide_mono", {"fusion": "multi_guide_mono"}),
    ],
)
def test_fusion_variants(golden, network, variant, name, settings):
    g = golden(f"{FOLDER}/fusion.npz")
    mono = one_hot(g.pseudo_index, g.cost_volume.shape[1])
    found = network(variant, **settings).fusion(mono[:1], g.cost_volume[:1])
    assert_close(found, getattr(g, name), atol=1e-5)


@torch.no_grad()
@pytest.mark.parametrize("variant", BACKBONES)
def test_whole_network(golden, network, variant):
    g = golden(f"{FOLDER}/network_{variant}.npz")
    model = network(variant)
    key, *others = images(g)
    found = model.volume(key, *others)
    assert_close(found[:, ::8], g.cost_volume_every8, atol=5e-4)
    features = model.image_encoder(key)
    for ours, theirs in zip(
        (features[0][..., ::4, ::4], features[1][..., ::2, ::2], features[2]),
        (g.feature_0_s4, g.feature_1_s2, g.feature_2), strict=True,
    ):  # fmt: skip
        assert_near(ours, theirs, 1e-4)
    outputs = model(key, found)
    assert torch.equal(outputs.index, g.pseudo_index.long())
    mono = [g.result_mono, *(getattr(g, f"predicted_inverse_depth_mono_{i}") for i in (1, 2, 3))]
    final = [g.result, *(getattr(g, f"predicted_inverse_depth_{i}") for i in (1, 2, 3))]
    for ours, theirs in zip(outputs.mono, mono, strict=True):
        assert_close(ours, theirs, atol=1e-5)
    for ours, theirs in zip(outputs.final, final, strict=True):
        assert_close(ours, theirs, atol=2e-4)
    fused = model.fusion(model.pseudo_volume(outputs.index, found), found)
    assert_close(fused[..., ::4, ::4], g.fused_volume_s4, atol=2e-3)


@pytest.mark.parametrize("variant", BACKBONES)
def test_published_checkpoints_convert(seeded_weights, tmp_path, variant):
    state = seeded_weights(f"{FOLDER}/manifest_{variant}.json")
    torch.save({"arch": "DataParallel", "epoch": 3, "state_dict": {f"module.{k}": v for k, v in state.items()}},
               tmp_path / "file.pth")  # fmt: skip
    found = convert.convert(tmp_path / "file.pth")
    assert (found.missing, found.unexpected) == ((), ())
    assert found.config == published(backbone=BACKBONES[variant], freeze_encoder=variant == "resnet18")
    assert len(found.state_dict) + len(found.surplus) == len(state)
    build(found.config).load_state_dict(found.state_dict)
