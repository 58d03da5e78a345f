"""SC-Depth V2 beyond its recorded numbers: what rectifying does, which rotation is learnt, what reaches which net."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from kinodepth import methods
from kinodepth.geometry.pose import euler_to_matrix
from kinodepth.geometry.warp import rotation_warp
from kinodepth.methods.sc_depth.config import ScDepthV2Config
from kinodepth.methods.sc_depth.model import normalize
from kinodepth.methods.sc_depth.objective import explain, views
from kinodepth.methods.sc_depth.rectification import known_rotation, rectify, rotation_terms
from kinodepth.types import Camera, Clip

V1, V2 = methods.load("sc_depth_v1"), methods.load("sc_depth_v2")
SMALL = ScDepthV2Config(height=64, width=96, pretrained=False)
CAMERA = Camera(80.0, 82.0, 47.0, 31.0, 96, 64)


def smooth(*shape, seed=0):
    coarse = torch.rand(*shape[:-2], 8, 12, generator=torch.Generator().manual_seed(seed))
    flat = coarse.flatten(0, -4)
    return torch.nn.functional.interpolate(flat, shape[-2:], mode="bicubic").clamp(0, 1).view(shape)


def clip(seed=0, batch=2):
    return Clip(smooth(batch, 3, 3, 64, 96, seed=seed), (CAMERA,) * batch)


def model(config=SMALL, **settings):
    torch.manual_seed(0)
    return V2.build(replace(config, **settings))


def run(network, seed=0):
    (stage,) = V2.stages(network.config)
    return V2.objective(network.train(), clip(), stage, torch.Generator().manual_seed(seed))


@pytest.fixture
def turned_views():
    """A picture and two of what a camera sees that has turned from there; and the rotations."""
    target = normalize(smooth(1, 1, 3, 64, 96))
    angles = torch.tensor([[[0.05, -0.03, 0.08], [-0.04, 0.06, -0.05]]])
    intrinsics = CAMERA.matrix()[None]
    back = euler_to_matrix(angles[0]).transpose(1, 2)  # turned -> target
    seen = rotation_warp(target[0].expand(2, -1, -1, -1), back, intrinsics.expand(2, -1, -1))
    return torch.cat([target, seen[None]], 1), angles, intrinsics


def test_the_right_rotation_makes_the_views_equal_where_they_overlap(turned_views):
    images, angles, intrinsics = turned_views
    found = rectify(lambda first, second: angles, images, intrinsics)
    target = images[:, :1]
    for view in (1, 2):
        filled = found.filled[:, view]
        assert 0.6 < filled.float().mean() < 0.95
        # what left the view when the camera turned is grey in both: compare what was seen
        inner = filled & (found.images[:, view].abs().amin(1, keepdim=True) > 1e-2)
        error = (found.images[:, view] - target[:, 0]).abs().amax(1, keepdim=True)[inner]
        before = (images[:, view] - target[:, 0]).abs().amax(1, keepdim=True)[inner]
        assert error.quantile(0.9) < 0.2 * before.quantile(0.9)
        assert (found.images[:, view] == 0).all(1, keepdim=True)[~filled].float().mean() > 0.5
    assert found.filled[:, 0].all()


def test_recognised_rotations_cost_nothing(turned_views):
    images, angles, intrinsics = turned_views

    def oracle(first, second):
        return angles if first.shape[1] == 2 else torch.cat([torch.zeros_like(angles), angles], 1)

    found = rectify(oracle, images, intrinsics)
    terms, scalars = rotation_terms(oracle, images, found, intrinsics, torch.zeros_like(angles))
    assert terms["rotation_consistency"] == 0
    torch.testing.assert_close(terms["rotation_triplet"], (0.05 - angles.abs()).relu().mean())
    assert scalars["rotation_after"] == 0 < scalars["rotation_before"]


def test_the_network_teaches_itself_only_plausible_rotations():
    means = torch.tensor([0.0, 0.019, 0.021, 0.099, 0.101, 3.0])
    before = (means[:, None] * torch.tensor([0.5, -1.5, 1.0])).expand(4, 6, 3).clone().requires_grad_()
    uniform = torch.rand(4, 6, 3, generator=torch.Generator().manual_seed(0))
    known = known_rotation(before, uniform)
    trusted = torch.tensor([False, False, True, True, False, False])
    assert not known.requires_grad
    assert torch.equal(known[:, trusted], before[:, trusted])
    torch.testing.assert_close(known[:, ~trusted], (uniform[:, ~trusted] - 0.5) / 10)
    assert known[:, ~trusted].abs().max() <= 0.05
    # one decision for the whole batch: a single wild window does not change the others' rule
    uneven = torch.tensor([[[0.0] * 3], [[0.1] * 3]])
    assert torch.equal(known_rotation(uneven, uniform[:2, :1]), uneven)


@pytest.mark.parametrize("convention", ["exact", "published"])
def test_photometric_error_reaches_the_rectify_net_through_the_turned_views(convention):
    network = model(convention=convention)
    result = run(network)
    result.terms["photo"].backward()
    assert network.rectify_net.head.weight.grad.abs().max() > 0
    network.zero_grad(set_to_none=True)
    result = run(network)
    (result.terms["rotation_consistency"] + result.terms["rotation_triplet"]).backward()
    assert network.rectify_net.head.weight.grad.abs().max() > 0
    assert all(p.grad is None for part in (network.depth_net, network.pose_net) for p in part.parameters())


def test_empty_parts_of_turned_views_do_not_count():
    network = model().eval()
    torch.nn.init.zeros_(network.pose_net.head.weight)  # the camera stands still
    torch.nn.init.zeros_(network.pose_net.head.bias)
    images = views(clip())
    intrinsics = clip().intrinsics
    network.config = replace(network.config, auto_mask=False)
    empty_left = torch.ones(2, 3, 1, 64, 96, dtype=torch.bool)
    empty_left[:, 1, :, :, :30] = False
    with torch.no_grad():
        all_valid = explain(network, images, intrinsics).maps.valid
        valid = explain(network, images, intrinsics, empty_left).maps.valid
    assert all_valid.all()
    assert torch.equal(valid[:, 2:], all_valid[:, 2:])  # the other reference is complete
    assert not valid[:, :2, :, :30].any()  # neither looking into the empty part nor from it
    assert valid[:, :2, :, 30:].all()


def test_without_rotation_it_scores_as_v1():
    network = model().eval()
    torch.nn.init.zeros_(network.rectify_net.head.weight)
    torch.nn.init.zeros_(network.rectify_net.head.bias)
    torch.testing.assert_close(V2.validate(network, clip()), V1.validate(network, clip()), rtol=1e-3, atol=0)
    torch.nn.init.constant_(network.rectify_net.head.bias, 0.05)
    assert (V2.validate(network, clip()) / V1.validate(network, clip()) - 1).abs() > 0.01


def test_draws_come_from_the_generator():
    network = model(joint_statistics=False)
    torch.nn.init.zeros_(network.rectify_net.head.weight)  # nothing found: every known rotation is drawn
    torch.nn.init.zeros_(network.rectify_net.head.bias)
    first, again, other = (run(network, seed).terms["rotation_consistency"].item() for seed in (0, 0, 1))
    assert first == again != other
    assert 0.015 < first < 0.035  # mean of |uniform in +-0.05|


def test_pairs_in_one_forward_equal_separate_calls():
    together, apart = (model(convention="published").train() for _ in range(2))
    images = views(clip())
    target, references = images[:, :1].expand_as(images[:, 1:]), images[:, 1:]
    found = together.rotations(target, references)
    separate = torch.stack([apart.rectify_net(target[:, r], references[:, r]) for r in range(2)], 1)
    torch.testing.assert_close(found, separate, rtol=1e-4, atol=1e-6)
    for (key, value), expected in zip(together.state_dict().items(), apart.state_dict().values()):
        torch.testing.assert_close(value, expected, msg=key, rtol=1e-4, atol=1e-5)
