"""Dynamic-multiframe-depth beyond recorded numbers: geometry, streaming, losses on bad data, planes, conversion."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from kinodepth import methods
from kinodepth.data.synthetic import sequence
from kinodepth.geometry.depth import plane_depths
from kinodepth.inference.stream import predict
from kinodepth.methods.dynamic_multiframe import augmentation, convert, losses, objective, planes, recipe
from kinodepth.methods.dynamic_multiframe.config import DynamicMultiframeConfig
from kinodepth.methods.dynamic_multiframe.model import Outputs, build
from kinodepth.methods.dynamic_multiframe.predictor import DynamicMultiframePredictor
from kinodepth.methods.dynamic_multiframe.volume import Matcher, photometric_volume
from kinodepth.types import Camera, Clip, InputError

SMALL = {"height": 64, "width": 96, "batch_size": 1, "pretrained": False}


@pytest.fixture(scope="module")
def frames():
    return list(sequence(seed=3, width=96, height=64, frames=6, motion="driving", fps=5.0).frames(("depth",)))


@pytest.fixture(scope="module")
def model():
    torch.manual_seed(0)
    return build(DynamicMultiframeConfig(**SMALL)).eval()


def wall(distance, baseline=0.5, size=(64, 96)):
    """A textured wall that faces two cameras side by side: pictures, the move between them, intrinsics."""
    height, width = size
    focal = 80.0
    torch.manual_seed(1)
    pattern = torch.nn.functional.interpolate(torch.rand(1, 3, 24, 48), (height, 2 * width), mode="bicubic").clamp(0, 1)
    shift = round(focal * baseline / distance)
    key, other = pattern[..., :width], pattern[..., shift : shift + width]
    move = torch.eye(4)
    move[0, 3] = -baseline
    camera = Camera(focal, focal, (width - 1) / 2, (height - 1) / 2, width, height)
    return key, other[:, None], move[None, None], camera.matrix()[None], focal * baseline / shift


def test_the_volume_peaks_at_the_true_depth():
    key, others, move, intrinsics, distance = wall(4.0)
    depths = plane_depths(16, 2.0, 40.0)
    depths[5] = distance
    volume = photometric_volume(key, others, move, intrinsics, depths)
    best = volume[0, :, 4:-4, 20:-20].argmax(0)
    assert (best == 5).float().mean() > 0.97
    assert volume[0, 5, 4:-4, 20:-20].mean() > 0.95
    assert volume.abs().max() <= 1 + 1e-5


def test_a_neighbour_counts_on_the_planes_that_it_sees():
    key, others, move, intrinsics, _ = wall(4.0)
    depths = plane_depths(16, 0.6, 40.0)  # near planes leave the other picture
    exact = photometric_volume(key, others, move, intrinsics, depths)
    released = photometric_volume(key, others, move, intrinsics, depths, Matcher(convention="published"))
    assert (exact[0, 0, 3:-3, 5:20] != 0).all()
    assert (exact[0, -1, :, 5:20] == 0).all()
    assert (released[0, :, :, 5:20] == 0).all()
    behind = move.clone()
    behind[0, 0, 2, 3] = -100.0
    assert (photometric_volume(key, others, behind, intrinsics, depths) == 0).all()


def test_without_texture_or_move_the_volume_is_finite():
    key = torch.full((1, 3, 32, 48), 0.5)
    intrinsics = Camera(40.0, 40.0, 23.5, 15.5, 48, 32).matrix()[None]
    for convention in ("exact", "published"):
        move = torch.eye(4).expand(1, 2, 4, 4)
        volume = photometric_volume(
            key, key[:, None].expand(-1, 2, -1, -1, -1), move, intrinsics, plane_depths(8, 1, 10),
            Matcher(convention=convention),
        )  # fmt: skip
        assert torch.isfinite(volume).all()


def test_strips_do_not_show(monkeypatch):
    key, others, move, intrinsics, _ = wall(4.0)
    depths = plane_depths(4, 2.0, 40.0)
    for convention in ("exact", "published"):
        whole = photometric_volume(key, others, move, intrinsics, depths, Matcher(convention=convention))
        with monkeypatch.context() as patch:
            patch.setattr("kinodepth.methods.dynamic_multiframe.volume.ELEMENTS", 1)
            strips = photometric_volume(key, others, move, intrinsics, depths, Matcher(convention=convention))
        torch.testing.assert_close(strips, whole, rtol=0, atol=1e-5)


@pytest.mark.parametrize("convention", ["exact", "published"])
@pytest.mark.parametrize("matching", ["ssim", "ssim_l1", "l1"])
def test_loops_find_what_tensors_find(monkeypatch, matching, convention):
    key, others, move, intrinsics, _ = wall(4.0)
    keys, frames = torch.cat((key, key.flip(1))), torch.cat((others, others.roll(1, -1)), 1)
    frames, moves = torch.cat((frames, frames.flip(2))), move.repeat(2, 2, 1, 1)
    moves[:, 1, 2, 3] = 2.5  # some planes lie behind this one
    moves[1, 0, 0, 3] = torch.nan
    depths = plane_depths(4, 2.0, 40.0)
    of_pixels = depths[None, :, None, None] * torch.linspace(0.9, 1.1, 96).expand(2, 4, 64, 96)
    of_pixels[0, 0, 7, 9] = 0
    for swept in (depths, of_pixels):
        inputs = keys, frames, moves, intrinsics.repeat(2, 1, 1), swept, Matcher(matching, 5, convention=convention)
        loops = photometric_volume(*inputs)
        with monkeypatch.context() as patch:
            patch.setattr("kinodepth.methods.dynamic_multiframe.volume.LOOPS", ())
            tensors = photometric_volume(*inputs)
        assert tensors.std() > 0.1
        near = (loops - tensors).abs() < 1e-4
        assert near.float().mean() > 0.999 if swept is of_pixels else near.all()  # around the pixel at no depth


def test_delayed_and_causal_streams(model, frames):
    delayed = list(predict(frames, DynamicMultiframePredictor(model)))
    assert [p.name for p in delayed] == [f.name for f in frames[:-1]]
    model_causal = build(replace(model.config, online="causal"))
    model_causal.load_state_dict(model.state_dict())
    causal = list(predict(frames, DynamicMultiframePredictor(model_causal)))
    assert [p.name for p in causal] == [f.name for f in frames]
    for prediction in (*delayed, *causal):
        assert (prediction.scale, prediction.unit) == ("metric", "m")
        assert 3.03 <= float(prediction.depth.min()) <= float(prediction.depth.max()) <= 400.1
    changed = [*frames[:-1], replace(frames[-1], image=1 - frames[-1].image)]
    again = list(predict(changed, DynamicMultiframePredictor(model_causal)))
    assert all(torch.equal(a.depth, b.depth) for a, b in zip(causal[:-1], again[:-1]))  # no look ahead
    assert not torch.equal(causal[-1].depth, again[-1].depth)


def test_frames_without_pose_leave_the_mono_cue(model, frames):
    predictor = DynamicMultiframePredictor(model)
    lost = [replace(frame, cam_to_world=None) for frame in frames[:3]]
    alone = list(predict(lost, predictor))
    assert len(alone) == 2
    nothing = torch.zeros(1, model.config.planes, *frames[0].image.shape[-2:])
    for frame, prediction in zip(frames, alone):
        with torch.no_grad():
            expected = 1 / model.eval()(frame.image[None], nothing).final[0][0]
        torch.testing.assert_close(prediction.depth, expected, rtol=1e-4, atol=1e-4)
    with pytest.raises(InputError, match="has no camera"):
        predictor.step(replace(frames[0], camera=None), predictor.init())


@pytest.mark.parametrize("cues", ["mono", "multi"])
def test_a_network_of_one_cue_does_not_look_at_the_other(cues):
    """Nor does it have batch norms behind constant maps, whose running statistics would be of no use."""
    torch.manual_seed(0)
    network = build(DynamicMultiframeConfig(**SMALL, cues=cues)).eval()
    mono, multi, other = torch.rand(3, 1, network.config.planes, 64, 96)
    with torch.no_grad():
        found = network.fusion(mono, multi)
        assert torch.equal(found, network.fusion(other, multi)) == (cues == "multi")
        assert torch.equal(found, network.fusion(mono, other)) == (cues == "mono")
    assert {key.split(".")[1] for key in network.state_dict() if key.startswith("fusion.")} == {cues, "gain"}


def test_wide_pictures_are_predicted_whole_at_training_scale(model, frames):
    camera = Camera(80.0, 80.0, 102.0, 31.5, 204, 64)
    wide = [replace(frame, image=torch.rand(3, 64, 204), camera=camera) for frame in frames[:2]]
    prediction = next(predict(wide, DynamicMultiframePredictor(model)))
    assert prediction.depth.shape == (1, 64, 208)
    assert prediction.camera == camera.resize(208, 64)


def test_losses_of_nothing_are_zero_with_finite_gradients():
    prediction = torch.full((2, 1, 32, 48), 0.1, requires_grad=True)
    intrinsics = Camera(40.0, 40.0, 23.5, 15.5, 48, 32).matrix().expand(2, 3, 3)
    config = DynamicMultiframeConfig(**SMALL)
    for depth in (torch.zeros(2, 1, 32, 48), torch.full((2, 1, 32, 48), 10.0)):
        triples = objective.triples_for(depth, intrinsics, config, torch.Generator().manual_seed(0))
        outputs = Outputs([prediction], [prediction], torch.empty(0))
        terms = objective.depth_terms(outputs, depth, config, lambda found=triples: next(found))
        loss = sum(terms.values())
        loss.backward()
        assert torch.isfinite(loss)
        assert torch.isfinite(prediction.grad).all()
        assert loss.item() < 1e-3  # nothing to compare, and a perfect prediction
    one = torch.zeros(2, 1, 32, 48)
    one[0, 0, 3, 4] = 5.0
    assert losses.scale_invariant_loss(prediction, one, one > 0).item() == 0


def test_triples_come_from_measured_pixels():
    known = torch.zeros(3, 1, 32, 48, dtype=torch.bool)
    known[0, 0, 5:9, 7:30] = True
    known[1, 0, 31, 47] = True
    indices = losses.draw_triples(known, 500, torch.Generator().manual_seed(0))
    for i in (0, 1):
        assert known[i].flatten()[indices[i]].all()
    assert len(indices[0].unique()) == int(known[0].sum())
    assert 0 <= int(indices.min()) <= int(indices.max()) < 32 * 48


def test_mirrored_samples_differ_only_by_the_networks(model, frames):
    images = torch.stack([frame.image for frame in frames[:3]])[None, [1, 0, 2]]
    poses = torch.stack([frame.cam_to_world for frame in frames[:3]])[None, [1, 0, 2]]
    clip = Clip(images, (frames[0].camera,), 0, poses)
    both = Clip(images.repeat(2, 1, 1, 1, 1), clip.cameras * 2, 0, poses.repeat(2, 1, 1, 1))
    with torch.no_grad():
        plain = objective.predict(model, clip)
        found = objective.predict(model, both, torch.tensor([False, True]))
    torch.testing.assert_close(found.final[0][:1], plain.final[0], rtol=1e-4, atol=1e-6)
    assert not torch.allclose(found.final[0][1:], plain.final[0], rtol=1e-3)
    assert torch.corrcoef(torch.stack((found.mono[0][1].flatten(), plain.mono[0].flatten())))[0, 1] > 0


def test_preparation_keeps_every_measurement_and_the_geometry(frames):
    config = DynamicMultiframeConfig(height=32, width=64, pretrained=False)
    image, depth = frames[0].image[None, None], torch.zeros(1, 1, 1, 64, 96)
    depth[..., 33, 50], depth[..., 32, 51], depth[..., 0, 0] = 7.0, 5.0, 3.0
    clip = augmentation.prepare(Clip(image, (frames[0].camera,), depth=depth), config)
    assert clip.images.shape == (1, 1, 3, 32, 64)
    camera = clip.cameras[0]
    assert camera == frames[0].camera.crop(0, 8, 96, 48).resize(64, 32)
    place = int((33 - 8 + 0.5) / 48 * 32), int((50 + 0.5) / 96 * 64)
    assert clip.depth[0, 0, 0][place] in (5.0, 7.0)
    assert clip.depth.max() <= 7.0
    assert (clip.depth > 0).sum() <= 2  # the corner was cut off, neighbours may share a pixel


def test_planes_follow_baseline_and_field_of_view():
    near, far = planes.plane_range(1.0, 489.231, 512)
    config = DynamicMultiframeConfig()
    assert near == pytest.approx(config.near, rel=0.01)
    assert far == pytest.approx(config.far, rel=0.01)
    recording = sequence(seed=3, width=96, height=64, frames=8, motion="driving", fps=5.0)
    found, lines = planes.adapt(replace(config, plane_range="auto"), [recording])
    assert found.near < config.near
    assert "planes from" in lines[0]
    assert planes.adapt(config, [recording]) == (config, [])
    still = type(recording)("still", [replace(r, cam_to_world=torch.eye(4).double()) for r in recording.records])
    with pytest.raises(InputError, match="do not move"):
        planes.adapt(replace(config, plane_range="auto"), [still])


def test_windows_of_both_kinds():
    recording = sequence(seed=3, width=96, height=64, frames=8)
    assert recipe.windows(recording, DynamicMultiframeConfig()) == [(i, i - 1, i + 1) for i in range(1, 7)]
    causal = DynamicMultiframeConfig(online="causal", margin=3)
    assert recipe.windows(recording, causal) == [(i, i - 2, i - 1) for i in range(3, 5)]


class Stranger:
    def __init__(self):
        self.name = "settings of a training script"


def test_foreign_classes_in_a_checkpoint_stay_inert(tmp_path):
    method = methods.load("dynamic_multiframe")
    torch.save({"config": Stranger(), "state_dict": {"fusion_module.gamma": torch.ones(1)}}, tmp_path / "file.pth")
    found = method.convert(tmp_path / "file.pth")
    assert torch.equal(found.state_dict["fusion.gain"], torch.ones(1))
    assert found.missing
    torch.save({"state_dict": {"something": torch.ones(1)}}, tmp_path / "other.pth")
    with pytest.raises(InputError, match="no tensor of Dynamic"):
        method.convert(tmp_path / "other.pth")
    (tmp_path / "torn.pth").write_bytes(b"PK\x03\x04 nothing")
    with pytest.raises(InputError, match=r"cannot be read|was not opened"):
        convert.convert(tmp_path / "torn.pth")


def test_bad_settings_are_refused():
    for wrong in ({"height": 250}, {"near": 5.0, "far": 2.0}, {"patch": 2}):
        with pytest.raises(InputError):
            DynamicMultiframeConfig(**wrong)
    with pytest.raises(InputError, match="backbone"):
        build(DynamicMultiframeConfig(backbone="convnext_atto", pretrained=False))
