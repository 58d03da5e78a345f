"""SC-Depth V1 beyond its recorded numbers (tests/golden): geometry it must satisfy, files, settings."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from kinodepth import methods
from kinodepth.data.synthetic import sequence
from kinodepth.geometry.pose import matrix_to_axis_angle, relative
from kinodepth.methods.sc_depth.augmentation import augment, prepare
from kinodepth.methods.sc_depth.config import ScDepthConfig
from kinodepth.methods.sc_depth.model import normalize
from kinodepth.methods.sc_depth.objective import pair_losses, pair_maps, predict_poses, views
from kinodepth.methods.sc_depth.recipe import windows
from kinodepth.types import Camera, Clip, Frame, InputError

V1 = methods.load("sc_depth_v1")
SMALL = ScDepthConfig(height=64, width=96, pretrained=False)


def clip(seed=0, batch=2, frames=3, height=64, width=96):
    images = torch.rand(batch, frames, 3, height // 8, width // 8, generator=torch.Generator().manual_seed(seed))
    images = torch.nn.functional.interpolate(images.flatten(0, 1), (height, width), mode="bilinear")
    camera = Camera(80.0, 82.0, 47.0, 31.0, width, height)
    return Clip(images.unflatten(0, (batch, frames)), (camera,) * batch)


def model(config=SMALL, **settings):
    torch.manual_seed(0)
    return V1.build(replace(config, **settings))


# -- losses -----------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def true_scene():
    """Images, depths, poses and camera of a still synthetic room, as the losses take them."""
    frames = list(sequence(seed=5, frames=3, width=192, height=128, movers=False))
    target, references = frames[1], [frames[0], frames[2]]
    order = [target, *references]
    images = normalize(torch.stack([f.image for f in order])[None])
    depths = torch.stack([f.depth for f in order])[None]

    def euler(a_from_b):  # for the small rotations of neighbours, tested against euler_to_matrix below
        from kinodepth.geometry.pose import euler_to_matrix

        angles = matrix_to_axis_angle(a_from_b[:3, :3])
        for _ in range(5):  # fixed point: the residual rotation is added as if angles were a vector
            angles = angles + matrix_to_axis_angle(a_from_b[:3, :3] @ euler_to_matrix(angles).T)
        assert torch.allclose(euler_to_matrix(angles), a_from_b[:3, :3], atol=1e-9)
        return torch.cat([a_from_b[:3, 3], angles]).float()

    poses = torch.stack([euler(relative(r.cam_to_world, target.cam_to_world)) for r in references])[None]
    back = torch.stack([euler(relative(target.cam_to_world, r.cam_to_world)) for r in references])[None]
    return images, depths, poses, back, target.camera.matrix()[None]


def test_true_depth_and_motion_explain_the_views(true_scene):
    images, depths, poses, back, intrinsics = true_scene
    maps = pair_maps(images, depths, poses, back, intrinsics, SMALL)
    truth = pair_losses(maps, SMALL)
    for wrong_depth, wrong_poses in [(depths * 1.3, poses), (depths, -poses), (depths.mean().expand_as(depths), poses)]:
        wrong = pair_losses(pair_maps(images, wrong_depth, wrong_poses, back, intrinsics, SMALL), SMALL)
        assert wrong["photo"] > 1.2 * truth["photo"]
    assert maps.geometry[maps.valid].median() < 2e-3


def test_exact_geometry_explains_better_than_the_published_one(true_scene):
    images, depths, poses, back, intrinsics = true_scene
    published = ScDepthConfig(height=64, width=96, convention="published", pretrained=False)
    errors = []
    for config in (SMALL, published):
        maps = pair_maps(images, depths, poses, back, intrinsics, config)
        errors.append(maps.geometry[maps.valid].mean())
    assert errors[0] < errors[1]


def test_points_behind_the_camera_do_not_count(true_scene):
    images, depths, poses, _, intrinsics = true_scene
    beyond = torch.tensor([0.0, 0.0, -100.0, 0.0, 0.0, 0.0]).expand_as(poses)
    maps = pair_maps(images, depths, beyond, beyond, intrinsics, SMALL)
    assert not maps.valid.any()
    assert all(torch.isfinite(term) for term in pair_losses(maps, SMALL).values())


@pytest.mark.parametrize("value", [0.0, 0.5, 1.0])
def test_flat_images_give_finite_losses_and_gradients(value):
    flat = Clip(torch.full((1, 3, 3, 64, 96), value), clip().cameras[:1])
    network, stage = model().train(), V1.stages(SMALL)[0]
    result = V1.objective(network, flat, stage, torch.Generator())
    result.total.backward()
    assert torch.isfinite(result.total)
    assert all(torch.isfinite(p.grad).all() for p in network.parameters() if p.grad is not None)


def test_validation_of_unusable_images_is_nan_not_the_best_score():
    flat = Clip(torch.full((1, 3, 3, 64, 96), 0.5), clip().cameras[:1])  # the auto-mask drops every pixel
    assert torch.isnan(V1.validate(model().eval(), flat))
    assert torch.isfinite(V1.validate(model().eval(), clip()))


@pytest.mark.parametrize("frames", [3, 5])
def test_batched_calls_equal_separate_calls(frames):
    together, apart = (model(joint_statistics=False).train() for _ in range(2))
    images = views(clip(frames=frames))
    depths = together.depths(images)
    there, back = predict_poses(together, images)
    separate = torch.stack([apart.depths(images[:, v, None])[:, 0] for v in range(frames)], 1)
    torch.testing.assert_close(depths, separate)
    pairs = [(0, r) for r in range(1, frames)], [(r, 0) for r in range(1, frames)]
    for found, pair in zip((there, back), pairs):  # order as published: all forward, then all back
        separate = torch.stack([apart.pose_net(images[:, a], images[:, b]) for a, b in pair], 1)
        torch.testing.assert_close(found, separate, rtol=1e-4, atol=1e-6)
    for (key, value), expected in zip(together.state_dict().items(), apart.state_dict().values()):
        torch.testing.assert_close(value, expected, msg=key, rtol=1e-4, atol=1e-5)


def test_statistics_are_those_of_all_calls_together():
    """Unless per call (published), views are normalised together, and pairs together with their reverse."""
    images = views(clip(frames=3))
    target, references = images[:, :1].expand(-1, 2, -1, -1, -1), images[:, 1:]
    first, second = torch.cat([target, references], 1), torch.cat([references, target], 1)
    joint, plain = model().train(), model().train()
    expected = plain.pose_net(first.flatten(0, 1), second.flatten(0, 1)).unflatten(0, (len(images), 4))
    torch.testing.assert_close(joint.poses(first, second), expected)
    torch.testing.assert_close(joint.depths(images).flatten(0, 1), plain.depths(images.flatten(0, 1)[:, None])[:, 0])
    apart = model(joint_statistics=False).train().poses(first, second)
    published = model(convention="published").train().poses(first, second)
    torch.testing.assert_close(apart, published)
    assert not torch.allclose(apart, expected)


# -- settings and data ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "wrong", [{"height": 100}, {"width": 32}, {"sequence_length": 4}, {"sequence_length": 1}, {"resnet_layers": 20}]
)
def test_impossible_settings_are_refused(wrong):
    with pytest.raises(InputError):
        V1.build(ScDepthConfig(**{"height": 64, "width": 96, "pretrained": False, **wrong}))


def test_windows_are_target_first_and_strided():
    frames = sequence(frames=8, width=64, height=48)
    assert windows(frames, ScDepthConfig(stride=2)) == [(2, 0, 4), (3, 1, 5), (4, 2, 6), (5, 3, 7)]
    assert windows(frames, ScDepthConfig(sequence_length=5))[0] == (2, 0, 1, 3, 4)


@pytest.mark.parametrize("convention", ["exact", "published"])
def test_augmentation_keeps_image_and_camera_together(convention):
    config = ScDepthConfig(height=64, width=96, convention=convention)
    camera = Camera(150.0, 160.0, 95.5, 64.5, 192, 128)
    x, y = torch.meshgrid(torch.arange(192.0), torch.arange(128.0), indexing="xy")
    rays = torch.stack([(x - camera.cx) / camera.fx, (y - camera.cy) / camera.fy, torch.ones_like(x)])
    window = Clip(rays.expand(1, 3, 3, 128, 192).clone(), (camera,))  # an image that holds its own viewing rays
    seen = set()
    for seed in range(8):
        result = augment(window, torch.Generator().manual_seed(seed), config)
        again = augment(window, torch.Generator().manual_seed(seed), config)
        assert torch.equal(result.images, again.images)
        assert result.cameras == again.cameras
        assert result.images.shape == (1, 3, 3, 64, 96)
        (k,) = result.cameras
        sign = 1 if result.images[0, 0, 0, 32, 60] > result.images[0, 0, 0, 32, 30] else -1
        expected = sign * (torch.arange(96.0) - k.cx) / k.fx
        tolerance = 1e-3 if convention == "exact" else 1.5 / k.fx  # the published one is about a pixel off
        assert (result.images[0, 0, 0, 32, 4:-4] - expected[4:-4]).abs().max() < tolerance
        seen.add((k.fx, k.cx))
    assert len(seen) == 8
    assert prepare(window, config).cameras[0] == camera.resize(96, 64, convention)


def test_predictor_takes_any_size_and_moves_the_camera_along():
    predictor = V1.predictor(model())
    camera = Camera(150.0, 160.0, 95.5, 64.5, 192, 128)
    prediction, _ = predictor.step(Frame("a", torch.rand(3, 128, 192), 0.5, camera), predictor.init())
    assert prediction.depth.shape == (1, 64, 96)
    assert prediction.camera == camera.resize(96, 64)
    assert (prediction.scale, prediction.unit, prediction.timestamp) == ("up_to_scale", "scene unit", 0.5)
