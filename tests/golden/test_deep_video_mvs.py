"""DeepVideoMVS against recorded numbers. Sizes, seeds and values come from the files, tolerances from their README."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from golden.closeness import assert_close
from kinodepth.data import keyframes
from kinodepth.data.images import read_depth, read_image
from kinodepth.evaluation.metrics import deep_video_mvs_errors
from kinodepth.geometry import cost_volume
from kinodepth.geometry.cost_volume import plane_sweep_volume
from kinodepth.geometry.depth import plane_depths
from kinodepth.geometry.pose import move_between, pose_distance
from kinodepth.methods.deep_video_mvs import augmentation, convert, objective, propagation, recipe, samples
from kinodepth.methods.deep_video_mvs.config import FusionConfig, PairConfig
from kinodepth.methods.deep_video_mvs.model import MEAN, STD, Memory, build, match, normalize
from kinodepth.networks.fusion import fuse_batch_norm
from kinodepth.types import Camera, Clip

PARTS = ("feature_extractor", "feature_pyramid", "encoder", "lstm_fusion", "decoder")
SIZES = ("full", "half", "quarter", "one_eight", "one_sixteen")


def assert_near(actual, expected, limit):
    """The largest difference, as a share of the largest expected value."""
    assert_close(actual, expected, atol=limit * float(expected.abs().max()))


def published_keys(seeded_weights, parts=PARTS):
    return {part: seeded_weights(f"deep_video_mvs/{part}/manifest.json") for part in parts}


@pytest.fixture
def network(seeded_weights):
    """``network(config)``: the seeded published networks under our names."""

    def load(config):
        state = {}
        for values in published_keys(seeded_weights).values():
            state |= {convert.to_ours(key): value for key, value in values.items()}
        model = build(config)
        missing, unexpected = model.load_state_dict({k: v for k, v in state.items() if k}, strict=False)
        assert not missing
        assert all(key.startswith("lstm.") for key in unexpected)
        return model.eval()

    return load


@pytest.fixture
def fusion_net(network):
    return network(FusionConfig(pretrained=False, convention="published"))


@pytest.fixture
def pair_net(network):
    return network(PairConfig(pretrained=False, convention="published"))


# ---------------------------------------------------------------------------------------------------------------
# Geometry
# ---------------------------------------------------------------------------------------------------------------


def test_planes(golden):
    g = golden("deep_video_mvs/cost_volume.npz")
    assert_close(plane_depths(len(g.depth_planes), 0.25, 20), g.depth_planes, rtol=1e-6)


@pytest.mark.parametrize("form", ["swept", "sampled"])
def test_cost_volume(golden, form, monkeypatch):
    g = golden("deep_video_mvs/cost_volume.npz")
    if form == "sampled":  # as on accelerators
        monkeypatch.setattr(cost_volume._Swept, "apply", cost_volume._sampled_volume)
    planes = plane_depths(len(g.depth_planes), 0.25, 20)
    assert_close(propagation.divide_intrinsics(g.full_K, 2), g.half_K, rtol=1e-6)

    def volume(features, poses, depths=planes):
        moves = move_between(torch.stack(poses, 1), g.pose_reference[:, None]).float()
        return plane_sweep_volume(g.feature_reference, torch.stack(features, 1), moves, g.half_K, depths, "published")

    first, second = g.feature_measurement_0, g.feature_measurement_1
    assert_near(volume([first], [g.pose_measurement_0]), g.cost_volume_1, 1e-5)
    both = volume([first, second], [g.pose_measurement_0, g.pose_measurement_1])
    assert_near(both, g.cost_volume_2, 1e-5)
    identity = volume([g.feature_reference], [g.pose_reference], planes[: g.cost_volume_identity.shape[1]])
    assert_near(identity, g.cost_volume_identity, 1e-5)


def test_hidden_state_warp(golden):
    g = golden("deep_video_mvs/hidden_warp.npz")

    def warp(depth, move):
        return propagation.warp_hidden(g.hidden, depth, move, g.K, "published")

    hole = g.depth_current <= propagation.HOLE
    assert bool(hole.any())
    assert_near(warp(g.depth_current, g.src_trans_dst), g.warped_masked, 1e-5)
    for move, expected in ((g.src_trans_dst, g.warped), (g.src_trans_dst_behind, g.warped_behind)):
        assert_near(warp(g.depth_current, move), torch.where(hole, 0, expected), 1e-5)


def test_depth_projection(golden):
    g = golden("deep_video_mvs/hidden_warp.npz")
    found = propagation.project_depth(g.previous_depth, g.pose_previous, g.pose_reference, g.full_K, "published")
    assert_close(found, g.depth_hypothesis, atol=1e-4 * float(g.depth_hypothesis.max()), share=0.995)
    assert_near(found[..., ::16, ::16], g.depth_hypothesis_low, 1e-4)


# ---------------------------------------------------------------------------------------------------------------
# Networks
# ---------------------------------------------------------------------------------------------------------------


@torch.no_grad()
def test_features(golden, pair_net):
    g = golden("deep_video_mvs/features.npz")
    for fused in (False, True):
        extractor = fuse_batch_norm(pair_net.feature_extractor) if fused else pair_net.feature_extractor
        backbone = extractor(g.image)
        for level, found in enumerate(backbone, 1):
            assert_near(found, getattr(g, f"backbone_{level}"), 1e-5)
        for name, found in zip(SIZES[1:], pair_net.feature_pyramid(backbone), strict=True):
            assert_near(found, getattr(g, f"feature_{name}"), 1e-5)


@torch.no_grad()
def test_encoder_and_decoder(golden, pair_net):
    g = golden("deep_video_mvs/encoder_decoder.npz")
    *skips, bottom = pair_net.encoder([getattr(g, f"feature_{size}") for size in SIZES[1:]], g.cost_volume)
    for level, found in enumerate(skips):
        assert_near(found, getattr(g, f"skip{level}"), 1e-5)
    assert_near(bottom, g.bottom, 1e-5)
    for size, found in zip(SIZES, pair_net.depths(pair_net.decoder(g.image, skips, bottom)), strict=True):
        assert_near(found[:, 0], getattr(g, f"depth_{size}"), 1e-5)


@torch.no_grad()
def test_recurrent_cell(golden, fusion_net):
    g = golden("deep_video_mvs/convlstm.npz")
    zero = torch.zeros_like(g.hidden)
    move = move_between(g.pose_previous, g.pose_current).float()
    warped = propagation.warp_hidden(g.hidden, g.depth_current, move, g.lstm_K, "published")
    for case, hidden, cell in (("", warped, g.cell), ("_first", zero, zero), ("_nowarp", g.hidden, g.cell)):
        next_hidden, next_cell = fusion_net.lstm(g.input, hidden, cell)
        assert_near(next_hidden, getattr(g, f"hidden_next{case}"), 1e-5)
        assert_near(next_cell, getattr(g, f"cell_next{case}"), 1e-5)


@torch.no_grad()
def test_pair_net(golden, pair_net):
    g = golden("deep_video_mvs/pairnet_forward.npz")
    pyramid = pair_net.pyramid(g.image_reference)
    measured = [pair_net.pyramid(image)[0] for image in (g.image_measurement_0, g.image_measurement_1)]
    poses = torch.stack((g.pose_measurement_0, g.pose_measurement_1), 1)

    def predict(count):
        features = torch.stack(measured[:count], 1)
        volume = match(pair_net.config, pyramid[0], features, g.pose_reference, poses[:, :count], g.full_K)
        *skips, bottom = pair_net.encoder(pyramid, volume)
        return bottom, pair_net.depths(pair_net.decoder(g.image_reference, skips, bottom))

    bottom, depths = predict(2)
    assert_near(bottom, g.bottom, 1e-4)
    for size, found in zip(SIZES, depths, strict=True):
        assert_near(found[:, 0], getattr(g, f"depth_{size}"), 1e-4)
    assert_near(predict(1)[1][0][:, 0], g.depth_full_one_measurement, 1e-4)


# ---------------------------------------------------------------------------------------------------------------
# Published weights
# ---------------------------------------------------------------------------------------------------------------


def test_published_files_convert(seeded_weights, tmp_path):
    published = published_keys(seeded_weights)
    for number, (part, state) in enumerate(published.items()):
        torch.save(state, tmp_path / f"{number}_{part}")
    found = convert.convert(tmp_path, FusionConfig)
    assert (found.missing, found.unexpected) == ((), ())
    everything = {key: value for state in published.values() for key, value in state.items()}
    back = {convert.to_published(key): value for key, value in found.state_dict.items()}
    assert set(back) | set(found.surplus) == set(everything)
    assert all(torch.equal(value, everything[key]) for key, value in back.items())
    build(found.config).load_state_dict(found.state_dict)
    pair = convert.convert(tmp_path, PairConfig)
    assert (pair.missing, pair.unexpected) == ((), tuple(published["lstm_fusion"]))


# ---------------------------------------------------------------------------------------------------------------
# Keyframes
# ---------------------------------------------------------------------------------------------------------------


def test_pose_distance(golden):
    g = golden("deep_video_mvs/pose_distance.npz")
    found = torch.stack(pose_distance(move_between(g.reference, g.measurement)), -1)
    assert_close(found, g.combined_R_t, atol=1e-6)


def as_sets(rows):
    return [row if isinstance(row, str) else (row[0], set(row[1:])) for row in rows]


@pytest.mark.parametrize("case", ["full_n1", "full_n2", "full_n3", "lost_n1", "lost_n2", "lost_n3", "custom_n4"])
def test_keyframe_decisions(golden, case):
    expected, g = golden("deep_video_mvs/keyframes.json")[case], golden("deep_video_mvs/keyframe_poses.npz")
    p = expected.get("params", {})
    rule = keyframes.KeyframeRule()
    if p:
        rule = keyframes.KeyframeRule(
            p["buffer_size"], p["keyframe_pose_distance"], p["optimal_t_score"], p["optimal_R_score"]
        )
    poses = g.lost if case.startswith("lost") else g.poses
    decisions, rows = keyframes.keyframe_rows(poses, int(case[-1]), rule)
    assert decisions == expected["responses"]
    assert as_sets(rows) == as_sets(expected["rows"])


@pytest.mark.parametrize("case", ["simple_skip10_n2", "simple_skip20_n2", "simple_lost_skip3_n2"])
def test_simple_buffer(golden, case):
    expected, g = golden("deep_video_mvs/keyframes.json")[case], golden("deep_video_mvs/keyframe_poses.npz")
    skip, count = case.split("_")[-2:]
    poses = g.lost if "lost" in case else g.poses
    decisions, rows = keyframes.simple_rows(poses, int(count[1:]), int(skip.removeprefix("skip")))
    assert [list(pair) for pair in decisions] == expected["responses"]
    assert as_sets(rows) == as_sets(expected["rows"])


@pytest.mark.parametrize("count", [1, 2, 3])
def test_index_files(golden, golden_path, count, tmp_path):
    g = golden("deep_video_mvs/keyframe_poses.npz")
    names = [str(name) for name in g.names]
    name = keyframes.index_name("keyframe", "hololens-dataset", "000", count)
    shipped = keyframes.read_index(golden_path(f"deep_video_mvs/indices/{name}"), names)
    _, rows = keyframes.keyframe_rows(g.poses, count)
    assert as_sets(shipped) == as_sets(rows)
    keyframes.write_index(tmp_path / name, rows, names)
    assert keyframes.read_index(tmp_path / name, names) == rows


# ---------------------------------------------------------------------------------------------------------------
# Errors
# ---------------------------------------------------------------------------------------------------------------


def test_eight_errors(golden):
    g = golden("deep_video_mvs/metrics.npz")
    errors = deep_video_mvs_errors(g.prediction_64, g.groundtruth_64)
    assert_close(list(errors.values()), g.errors_64, rtol=1e-6)
    near = deep_video_mvs_errors(g.prediction_64, g.groundtruth_64, max_depth=2.0)
    assert_close(list(near.values()), g.errors_max_depth_2_64, rtol=1e-6)
    nothing = deep_video_mvs_errors(g.prediction_64, 0 * g.groundtruth_64)
    assert np.isnan(list(nothing.values())).all()
    assert g.errors_no_valid_64.isnan().all()


# ---------------------------------------------------------------------------------------------------------------
# Fusion net, losses and training
# ---------------------------------------------------------------------------------------------------------------


@torch.no_grad()
def test_fusion_net(golden, fusion_net):
    g = golden("deep_video_mvs/fusionnet_forward.npz")
    pyramids = [fusion_net.pyramid(image[None]) for image in g.images]
    memory = None
    for step, (now, *others) in enumerate(g.steps.tolist()):
        pose = g.poses[now][None]
        measured = torch.stack([pyramids[i][0] for i in others], 1)
        intrinsics = g.full_K.view(1, 3, 3)
        volume = match(fusion_net.config, pyramids[now][0], measured, pose, g.poses[others][None], intrinsics)
        *skips, bottom = fusion_net.encoder(pyramids[now], volume)
        if memory is not None:
            seen = propagation.project_depth(memory.depth, memory.pose, pose, intrinsics, "published")
            expected = getattr(g, f"depth_hypothesis_{step}")
            assert_close(seen, expected, atol=1e-4 * float(expected.max()), share=0.995)
            assert_near(seen[..., ::16, ::16], getattr(g, f"depth_estimation_{step}"), 1e-4)
        hidden, cell = fusion_net.recall(bottom, memory, pose, intrinsics)
        depths = fusion_net.depths(fusion_net.decoder(g.images[now][None], skips, hidden))
        memory = Memory(hidden, cell, depths[0], pose)
        assert_near(hidden, getattr(g, f"hidden_{step}"), 1e-4)
        assert_near(cell, getattr(g, f"cell_{step}"), 1e-4)
        assert_near(depths[0][:, 0], getattr(g, f"depth_full_{step}"), 1e-4)
        assert_near(depths[-1][:, 0], getattr(g, f"depth_one_sixteen_{step}"), 1e-4)


LOSSES = ("l1", "inverse", "relative", "huber")  # in the order of total_64
RECORDED = {"inverse": "L1-inv", "l1": "L1", "relative": "L1-rel", "huber": "Huber"}  # their names in the files
METERS = ("l1", "huber", "inverse", "relative")  # in that of the sums and meters


def test_losses(golden):
    g = golden("deep_video_mvs/losses.npz")
    truth = g.groundtruth[:, None]
    found = [objective.depth_losses(getattr(g, f"prediction_{size}")[:, None], truth) for size in reversed(SIZES)]
    for losses, expected in zip(found, g.sums_64, strict=True):
        assert_close([losses[name] * expected[4] for name in METERS], expected[:4], rtol=1e-5)
    assert_close([sum(losses[name] for losses in found) for name in LOSSES], g.total_64, rtol=1e-5)
    assert_close([found[-1][name] for name in METERS], g.meters_64, rtol=1e-5)


@pytest.fixture
def training(golden, network):
    """``training(net, mode, loss, dtype)``: recorded numbers, the network, its objective on their frames."""

    def run(net, mode, loss="inverse", dtype=torch.float32):
        g = golden("deep_video_mvs/training_loss.npz")
        frames = 2 if net == "pairnet" else len(g.images)
        config_type = PairConfig if net == "pairnet" else FusionConfig
        model = network(config_type(pretrained=False, convention="published", loss=loss, flip=False, window=frames))
        model.to(dtype).train(mode == "train")
        mean, std = torch.tensor(MEAN)[:, None, None], torch.tensor(STD)[:, None, None]
        images = (g.images * std + mean)[None, :frames].to(dtype)
        camera = Camera.from_matrix(g.full_K[0], images.shape[-1], images.shape[-2])
        clip = Clip(images, (camera,), 0, g.poses[None, :frames], g.depths[None, :frames, None].to(dtype))
        return g, model, objective.objective(model, clip, recipe.stages(model.config)[0], torch.Generator())

    return run


@pytest.mark.parametrize("net", ["pairnet", "fusionnet"])
@pytest.mark.parametrize(
    ("mode", "loss"), [*(("eval", loss) for loss in RECORDED), ("train", "inverse")], ids=lambda value: value
)
def test_training_loss(training, net, mode, loss):
    g, _, found = training(net, mode, loss)
    expected, rtol = getattr(g, f"{net}_{mode}_{RECORDED[loss]}_64"), 1e-4 if mode == "eval" else 1e-3
    assert_close(found.total, expected[0], rtol=rtol)
    assert_close([found.scalars[name] for name in METERS], expected[1:], rtol=rtol)


@pytest.mark.parametrize("net", ["pairnet", "fusionnet"])
@pytest.mark.parametrize(("mode", "rtol"), [("eval", 1e-3), ("train", 2e-2)])
def test_training_gradients(training, net, mode, rtol):
    g, model, found = training(net, mode, dtype=torch.float64)  # in float32 ReLUs that switch change norms by 1e-3
    found.total.backward()
    parts = [part for part in PARTS if net == "fusionnet" or part != "lstm_fusion"]
    for part in parts:
        child = model.get_submodule("lstm" if part == "lstm_fusion" else part)
        norm = torch.cat([p.grad.flatten() for p in child.parameters()]).norm()
        assert_close(norm, getattr(g, f"{net}_{mode}_gradnorm_{part}_64"), rtol=rtol)


# ---------------------------------------------------------------------------------------------------------------
# Training data
# ---------------------------------------------------------------------------------------------------------------


def test_training_samples(golden):
    expected, poses = golden("deep_video_mvs/training_samples.json"), golden("deep_video_mvs/keyframe_poses.npz").poses
    distances = samples.Distances(poses.double())
    assert [list(pair) for pair in samples.pairs(distances)] == expected["pairs"]
    for length in (3, 8):
        found = samples.subsequences(distances, length)
        assert [list(window) for window in found] == expected[f"subsequences_{length}"]


def test_colour(golden):
    g = golden("deep_video_mvs/augmentation.npz")
    assert_near(augmentation.gamma(g.image, 0.83), g.gamma_0p83, 1e-5)
    assert_near(augmentation.contrast(g.image, 1.15), g.contrast_1p15, 1e-5)
    assert_near(augmentation.brightness(g.image, -0.02), g.brightness_m0p02, 1e-5)
    both = augmentation.contrast(augmentation.gamma(g.image, 1.1), 0.9)
    assert_near(augmentation.brightness(both, 0.03), g.gcb, 1e-5)


@pytest.mark.parametrize("number", range(4))
def test_preparation(golden, golden_path, number):
    g = golden("deep_video_mvs/preprocess.npz")
    image = read_image(golden_path("deep_video_mvs/preprocess_image.png"))
    depth = read_depth(golden_path("deep_video_mvs/preprocess_depth.png"), 1000.0)
    camera = Camera.from_matrix(g.K_in, image.shape[-1], image.shape[-2])
    clip = Clip(image[None, None], (camera,), depth=depth[None, None])
    width, height, crops, border = (int(v) for v in getattr(g, f"config_{number}"))
    margins = augmentation.crop_margins(image.shape[-1], image.shape[-2], width, height, border) if crops else (0, 0)
    assert list(margins) == getattr(g, f"crop_xy_{number}").tolist()
    fitted = augmentation.fit(clip, height, width, "published", bool(crops), border)
    assert_close(fitted.cameras[0].matrix(torch.float64), getattr(g, f"K_{number}_64"), rtol=1e-6)
    assert_close(normalize(fitted.images[0, 0]), getattr(g, f"image_{number}"), atol=1e-4)
    assert_close(fitted.depth[0, 0, 0], getattr(g, f"depth_{number}"), atol=1e-6)
