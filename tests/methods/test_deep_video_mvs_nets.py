"""DeepVideoMVS beyond recorded numbers: streaming, keyframes, propagation, training stages, bad input."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch

from kinodepth import methods
from kinodepth.data.clips import collate, read_clip
from kinodepth.data.synthetic import sequence
from kinodepth.engine.stages import plan_stages, set_modes
from kinodepth.inference.stream import predict
from kinodepth.methods.deep_video_mvs import augmentation, convert, objective, propagation, recipe
from kinodepth.methods.deep_video_mvs.config import FusionConfig, PairConfig
from kinodepth.methods.deep_video_mvs.model import Memory, build
from kinodepth.methods.deep_video_mvs.networks import join
from kinodepth.methods.deep_video_mvs.predictor import DeepVideoMvsPredictor
from kinodepth.methods.weights import save_weights
from kinodepth.types import Camera, Clip, InputError

SMALL = {"height": 64, "width": 96, "train_height": 64, "train_width": 96, "batch_size": 1, "pretrained": False}


@pytest.fixture(scope="module")
def frames():
    return list(sequence(seed=3, width=128, height=96, frames=10, motion="driving", fps=5.0).frames(("depth",)))


@pytest.fixture(scope="module")
def fusion():
    torch.manual_seed(0)
    return build(FusionConfig(**SMALL, window=3)).eval()


def depths(model, frames):
    return [(p.name, p.depth) for p in predict(frames, DeepVideoMvsPredictor(model))]


def test_each_image_is_encoded_once_and_only_if_it_is_kept(fusion, frames):
    predictor = DeepVideoMvsPredictor(fusion)
    seen = []
    predictor.model.feature_extractor.register_forward_hook(lambda *_: seen.append(1))
    still = [frame for frame in frames for _ in range(3)]  # a camera that stops
    found = list(predict(still, predictor))
    assert len(seen) == len(found) + 1 <= len(frames)


def test_predictions_are_metric_and_carry_their_camera(fusion, frames):
    for prediction in predict(frames, DeepVideoMvsPredictor(fusion)):
        assert (prediction.scale, prediction.unit) == ("metric", "m")
        assert prediction.depth.shape == (1, 64, 96)
        assert prediction.camera == frames[0].camera.resize(96, 64)
        assert 0.25 <= float(prediction.depth.min()) <= float(prediction.depth.max()) <= 20.0001


def test_lost_frames_are_survived_and_losing_track_starts_anew(fusion, frames):
    lost = replace(frames[3], cam_to_world=torch.full((4, 4), torch.nan, dtype=torch.float64))
    none = replace(lost, cam_to_world=None)
    plain = depths(fusion, frames)
    waited = depths(fusion, [*frames[:4], *[lost, none] * 15, *frames[4:]])
    assert [name for name, _ in waited] == [name for name, _ in plain]
    assert all(torch.equal(a, b) for (_, a), (_, b) in zip(plain, waited, strict=True))
    begun = depths(fusion, [*frames[:4], *[lost, none] * 15, lost, *frames[4:]])
    fresh = depths(fusion, frames[:4]) + depths(fusion, frames[4:])
    assert [name for name, _ in begun] == [name for name, _ in fresh]
    assert all(torch.equal(a, b) for (_, a), (_, b) in zip(begun, fresh, strict=True))


def test_memory_changes_depth_and_the_pair_net_has_none(fusion, frames):
    predictor = DeepVideoMvsPredictor(fusion)
    state = predictor.init()
    for frame in frames[:-1]:
        _, state = predictor.step(frame, state)
    assert isinstance(state.memory, Memory)
    remembered, _ = predictor.step(frames[-1], state)
    forgotten, _ = predictor.step(frames[-1], replace(state, memory=None))
    assert not torch.equal(remembered.depth, forgotten.depth)
    pair = DeepVideoMvsPredictor(build(PairConfig(**SMALL)))
    state = pair.init()
    for frame in frames[:3]:
        _, state = pair.step(frame, state)
    assert state.memory is None


def test_state_stays_small(fusion, frames):
    predictor = DeepVideoMvsPredictor(fusion)
    state = predictor.init()
    for lap in range(4):
        for frame in frames if lap % 2 == 0 else frames[::-1]:
            _, state = predictor.step(frame, state)
    assert len(state.buffer.items) == len(state.buffer.poses) == fusion.config.buffer_size


def test_number_of_measurement_frames_is_a_setting(frames):
    torch.manual_seed(0)
    model = build(PairConfig(**SMALL))
    last = {}
    for count in (1, 2, 5):
        model.config = replace(model.config, measurements=count)
        last[count] = depths(model, frames)[-1][1]
    assert not torch.equal(last[1], last[2])
    assert not torch.equal(last[2], last[5])


def test_a_frame_without_camera_is_refused(fusion, frames):
    predictor = DeepVideoMvsPredictor(fusion)
    with pytest.raises(InputError, match="has no camera"):
        predictor.step(replace(frames[0], camera=None), predictor.init())


def camera_at(x=0.0, z=0.0):
    pose = torch.eye(4, dtype=torch.float64)
    pose[0, 3], pose[2, 3] = x, z
    return pose[None]


INTRINSICS = Camera(60.0, 60.0, 47.5, 31.5, 96, 64).matrix()[None]


def test_depth_projection_keeps_the_nearest_unless_published():
    depth = torch.full((1, 1, 64, 96), 4.0)
    depth[..., 40:50] = 1.0  # a post in front of a wall
    for convention, expected in (("exact", 1.0), ("published", 4.0)):
        moved = propagation.project_depth(depth, camera_at(), camera_at(x=0.2), INTRINSICS, convention)
        column = round((45 - 60 * 0.2) / 2)  # where the middle of the post is now
        assert (moved[..., column] == 1.0).all() if convention == "exact" else (moved[..., column] >= 1.0).all()
        hidden_wall = round((40 - 60 * 0.2) / 2) + 1
        assert moved[0, 0, 16, hidden_wall] == expected
    assert (propagation.project_depth(depth, camera_at(), camera_at(z=10.0), INTRINSICS) == 0).all()


def test_hidden_state_follows_the_camera_and_drops_what_is_behind():
    hidden = torch.rand(1, 5, 8, 12)
    grid = Camera(10.0, 10.0, 5.5, 3.5, 12, 8).matrix()[None]
    depth = torch.full((1, 1, 8, 12), 2.0)
    still = propagation.warp_hidden(hidden, depth, torch.eye(4)[None], grid)
    torch.testing.assert_close(still, hidden, rtol=0, atol=1e-5)
    move = torch.eye(4)[None].clone()
    move[0, 0, 3] = 0.4  # 10 * 0.4 / 2 = two cells
    shifted = propagation.warp_hidden(hidden, depth, move, grid)
    torch.testing.assert_close(shifted[..., :-2], hidden[..., 2:], rtol=0, atol=1e-5)
    assert (shifted[..., -2:] == 0).all()
    move[0, 2, 3] = -5.0
    assert (propagation.warp_hidden(hidden, depth, move, grid) == 0).all()
    assert (propagation.warp_hidden(hidden, 0 * depth, torch.eye(4)[None], grid, "published") == 0).all()


def batch(config, method):
    recording = sequence(seed=3, width=128, height=96, frames=10, motion="driving", fps=5.0)
    stage = method.stages(config)[0]
    window = stage.clips(recording)[0]
    return collate([stage.prepare(read_clip(recording, window, stage.target, {"depth"}))])


@pytest.mark.parametrize("frozen", [True, False])
def test_statistics_of_frozen_parts(frozen):
    method = methods.load("deep_video_mvs_pair")
    config = PairConfig(**SMALL, freeze_statistics=frozen)
    model, stage = method.build(config), method.stages(config)[0]
    set_modes(model, stage)
    assert stage.parts == ("feature_pyramid", "encoder", "decoder")
    before = model.feature_extractor.layer1[1].running_mean.clone()
    trained = model.encoder.merge[0][1].running_mean.clone()
    method.objective(model, batch(config, method), stage, torch.Generator()).total.backward()
    assert torch.equal(before, model.feature_extractor.layer1[1].running_mean) == frozen
    assert not torch.equal(trained, model.encoder.merge[0][1].running_mean)
    assert all(p.grad is None for p in model.feature_extractor.parameters())


def test_the_last_stage_trains_the_cell_on_predicted_depth(fusion):
    method, config = methods.load("deep_video_mvs"), fusion.config
    stages = {stage.name: stage for stage in method.stages(config)}
    assert list(stages) == ["memory", "matching", "all", "cell"]
    assert stages["cell"].parts == ("lstm",)
    assert stages["cell"].optimizer([torch.zeros(1, requires_grad=True)]).defaults["lr"] == config.cell_learning_rate
    clip = batch(config, method)
    no_truth = replace(clip, depth=0 * clip.depth)
    with torch.no_grad():
        for name, changes in (("cell", False), ("all", True)):
            found = [
                method.objective(fusion, c, stages[name], torch.Generator()).images["depth"] for c in (clip, no_truth)
            ]
            assert torch.equal(*found) != changes, name


def test_mirroring_mirrors_the_prediction():
    method, config = methods.load("deep_video_mvs_pair"), PairConfig(**SMALL)
    torch.manual_seed(0)
    model = method.build(config).eval()
    clip, stage = batch(config, method), method.stages(config)[0]
    with torch.no_grad():
        totals = {
            float(method.objective(model, clip, stage, torch.Generator().manual_seed(seed)).total) for seed in range(8)
        }
    assert 1 < len(totals) <= 4  # each direction is mirrored or not


@pytest.mark.parametrize("factor", [0.5, float("nan"), float("inf")])
def test_scales_that_are_none_are_refused(factor):
    with pytest.raises(InputError, match="largest_scale"):
        PairConfig(**SMALL, largest_scale=factor)


@pytest.mark.parametrize(("largest", "low", "high"), [(None, 0.66, 1.51), (4.0, 0.25, 4.0)])
def test_augmentation_keeps_what_belongs_together(largest, low, high):
    config = PairConfig(**SMALL, jitter_color=False, largest_scale=largest)
    clip = Clip(
        torch.rand(1, 2, 3, 96, 128),
        (Camera(100.0, 100.0, 63.5, 47.5, 128, 96),),
        cam_to_world=torch.cat([camera_at(), camera_at(x=0.3)])[None],
        depth=torch.full((1, 2, 1, 96, 128), 2.0),
    )
    factors = set()
    for seed in range(12):
        out = augmentation.augment(clip, torch.Generator().manual_seed(seed), config)
        factor = float(out.depth.max() / 2)
        gap = (out.cam_to_world[0, 1, :3, 3] - out.cam_to_world[0, 0, :3, 3]).norm()
        assert float(gap) == pytest.approx(0.3 * factor, rel=1e-5)
        assert low <= factor <= high
        factors.add(round(factor, 4))
    assert len(factors) > 3
    assert max(factors) - min(factors) > 0.25 * (high - low)


def test_windows_without_depth_cost_nothing():
    method, config = methods.load("deep_video_mvs_pair"), PairConfig(**SMALL)
    clip = batch(config, method)
    empty = replace(clip, depth=0 * clip.depth)
    model = method.build(config)
    found = method.objective(model, empty, method.stages(config)[0], torch.Generator())
    assert found.total.item() == 0
    assert torch.isnan(method.validate(model.eval(), empty))


def test_the_fusion_net_starts_from_a_pair_net(tmp_path):
    torch.manual_seed(1)
    pair = build(PairConfig(**SMALL))
    save_weights(tmp_path / "pair.safetensors", pair, "deep_video_mvs_pair")
    torch.manual_seed(2)
    settings = {**SMALL, "pretrained": str(tmp_path / "pair.safetensors")}
    fusion = build(FusionConfig(**settings))
    state = fusion.state_dict()
    for key, value in pair.state_dict().items():
        if value.ndim > 1 or not key.startswith("decoder."):  # norms start alike everywhere
            assert torch.equal(value, state[key]) != key.startswith("decoder."), key
    started = build(FusionConfig(**settings, start_decoder=True))
    state = started.state_dict()
    assert all(torch.equal(value, state[key]) for key, value in pair.state_dict().items())
    x, nothing = torch.rand(2, 512, 6, 8), torch.zeros(2, 512, 6, 8)
    for net, low, high in ((started, 0.8, 1.0), (fusion, -0.2, 0.2)):
        hidden = net.lstm(x, nothing, nothing)[0].flatten(2)
        together = torch.cosine_similarity(hidden - hidden.mean(2, True), x.flatten(2) - x.flatten(2).mean(2, True), 2)
        assert low < together.mean() < high


def test_any_timm_encoder_can_be_the_backbone(tmp_path, frames):
    settings = {**SMALL, "backbone": "resnet10t"}
    pair = build(PairConfig(**settings))
    assert "layer4" in dict(pair.feature_extractor.named_children())
    pyramid = pair.pyramid(torch.rand(1, 3, 64, 96))
    assert [tuple(level.shape) for level in pyramid] == [(1, 32, 64 // s, 96 // s) for s in (2, 4, 8, 16)]
    save_weights(tmp_path / "pair.safetensors", pair, "deep_video_mvs_pair")
    start = {"pretrained": str(tmp_path / "pair.safetensors")}
    state = build(FusionConfig(**{**settings, **start})).state_dict()
    key = "feature_extractor.layer4.0.conv1.weight"
    assert torch.equal(state[key], pair.state_dict()[key])
    with pytest.raises(InputError, match="set backbone=resnet10t"):
        build(FusionConfig(**{**SMALL, **start}))
    with pytest.raises(InputError, match="expected an encoder that timm knows"):
        build(PairConfig(**{**SMALL, "backbone": "resnet1"}))
    with pytest.raises(InputError, match=r"expected 1 / \[2, 4, 8, 16, 32\]"):
        build(PairConfig(**{**SMALL, "backbone": "vgg11"}))


def test_features_from_random_weights_begin_with_the_fine_maps():
    torch.manual_seed(1)
    exact, published = (build(PairConfig(**SMALL, convention=name)).feature_pyramid for name in ("exact", "published"))
    sizes = [[level.weight.detach().std() for level in net.inner] for net in (exact, published)]
    assert [float(a / b) for a, b in zip(*sizes)] == pytest.approx([1, 0.5, 0.1, 0.1, 0.1], rel=0.2)


def test_training_from_scratch_starts_in_the_middle_of_the_range(frames):
    torch.manual_seed(3)
    clip = Clip(torch.rand(2, 2, 3, 64, 96), (frames[0].camera.resize(96, 64),) * 2, 0, torch.eye(4).repeat(2, 2, 1, 1))
    model = build(PairConfig(**SMALL)).train()
    clip = replace(clip, depth=torch.ones(2, 2, 1, 64, 96))
    with torch.no_grad():
        depths, *_ = objective.predict_pairs(model, clip, torch.zeros(2, dtype=torch.bool))
    assert all(1.9 < depth.median() < 2.6 for depth in depths)  # sqrt(0.25 * 20) = 2.24
    before = model.feature_extractor.layer1[1].running_var.clone()
    published = build(PairConfig(**SMALL, convention="published"))
    momenta = {m.momentum for m in published.feature_extractor.modules() if hasattr(m, "momentum")}
    assert list(momenta) == pytest.approx([3e-4])
    assert (before - 1).abs().mean() > 0.05  # a tenth of the way to the batch's own


@pytest.mark.parametrize("steps", [None, 3, 12])
def test_the_rate_of_each_stage_falls_to_nothing_if_annealed(steps):
    config = FusionConfig(**SMALL, window=3, steps=(0, 0, 4, 2), anneal=True)
    for planned in plan_stages(recipe.stages(config), steps, None):
        stage = planned.stage
        optimizer = stage.optimizer([torch.nn.Parameter(torch.zeros(1))])
        schedule = stage.schedule(optimizer, stage.steps)
        start = optimizer.param_groups[0]["lr"]
        for _ in range(stage.steps):
            optimizer.step()
            schedule.step()
        assert optimizer.param_groups[0]["lr"] < 1e-3 * start
    assert recipe.stages(replace(config, anneal=False))[0].schedule is None


def test_matching_loss_asks_for_a_peak_at_the_true_plane():
    truth = torch.full((1, 1, 8, 12), 1 / (0.05 + 10.25 * 3.95 / 63))  # a quarter of the way from plane 10 to 11
    truth[..., :6] = 0  # unknown
    truth[..., :4, :] = 30  # beyond the planes
    volume = torch.full((1, 64, 4, 6), 1e-6)
    nothing = objective.matching_loss(volume, truth, 0.25, 20)
    assert nothing == pytest.approx(math.log(64), rel=1e-4)
    volume[:, :, 2:, 3:] = -100
    volume[:, 10, 2:, 3:], volume[:, 11, 2:, 3:] = (math.log(v) / 32**0.5 + 1 for v in (0.75, 0.25))
    best = objective.matching_loss(volume, truth, 0.25, 20)
    assert best == pytest.approx(-0.75 * math.log(0.75) - 0.25 * math.log(0.25), rel=1e-4)
    volume[:, 10:12, 2:, 3:] = 0  # the other view does not see these
    assert objective.matching_loss(volume, truth, 0.25, 20) == 0


def test_matching_loss_reaches_the_features(frames):
    config = PairConfig(**SMALL, matching_weight=1.0)
    model, generator = build(config).train(), torch.Generator().manual_seed(0)
    stage = recipe.stages(config)[-1]
    clip = collate([read_clip(sequence(seed=3, width=96, height=64, frames=4), (0, 3), 0, frozenset({"depth"}))])
    found = objective.objective(model, clip, stage, generator)
    (gradient,) = torch.autograd.grad(found.terms["matching"], [model.feature_pyramid.outer[0].weight])
    assert gradient.abs().max() > 0
    assert found.weights["matching"] == 1
    plain = objective.objective(build(PairConfig(**SMALL)), clip, stage, generator)
    assert "matching" not in plain.terms


def test_bad_settings_and_files_are_named(tmp_path):
    with pytest.raises(InputError, match="multiples of 32"):
        PairConfig(height=100)
    with pytest.raises(InputError, match="do not fit the stages"):
        methods.load("deep_video_mvs").stages(FusionConfig(steps=(1, 2)))
    with pytest.raises(InputError, match="no folder"):
        convert.convert(tmp_path / "nothing" / "weights")
    with pytest.raises(InputError, match="has no files"):
        convert.convert(tmp_path)
    torch.save({"a": torch.zeros(1)}, tmp_path / "0_a")
    with pytest.raises(InputError, match="no tensor of DeepVideoMVS"):
        convert.convert(tmp_path)
    torch.save(torch.nn.Linear(1, 1), tmp_path / "1_code")
    with pytest.raises(InputError, match="was not opened"):
        convert.convert(tmp_path)


def test_unmatched_keys_are_reported(tmp_path):
    torch.save({"lstm_cell.conv.weight": torch.zeros(3), "layer1.0.weight": torch.zeros(32, 3, 3, 3)}, tmp_path / "3_x")
    found = convert.convert(tmp_path / "3_x")
    assert found.unexpected == ("lstm_cell.conv.weight",)  # of another shape
    assert "lstm.conv.weight" in found.missing
    assert set(found.state_dict) == {"feature_extractor.layer1.0.weight"}


def test_joined_maps_keep_the_layout_of_the_first():
    wide, single = torch.rand(2, 4, 6, 5), torch.rand(2, 1, 6, 5)
    for layout in (torch.contiguous_format, torch.channels_last):
        joined = join(wide.contiguous(memory_format=layout), single.double())
        assert torch.equal(joined, torch.cat((wide, single), 1))
        assert joined.is_contiguous(memory_format=layout)
