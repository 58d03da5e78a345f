"""RM-Depth beyond its analytic fixtures (tests/golden): sizes, switches, and what units and losses must satisfy."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
import torch

from kinodepth import methods
from kinodepth.cli.main import main
from kinodepth.data.synthetic import sequence
from kinodepth.evaluation.trajectory import absolute_trajectory_error
from kinodepth.geometry.pose import invert, relative
from kinodepth.geometry.sampling import resize
from kinodepth.geometry.warp import rigid_flow
from kinodepth.inference import writers
from kinodepth.inference.model import DepthModel, with_outputs
from kinodepth.methods.rm_depth import motion_losses
from kinodepth.methods.rm_depth.augmentation import JITTERED, augment
from kinodepth.methods.rm_depth.config import RmDepthConfig
from kinodepth.methods.rm_depth.model import Motion, RmDepth, moving_mask, optical_flow
from kinodepth.methods.rm_depth.motion_net import enlarge
from kinodepth.methods.rm_depth.objective import Pairs, explain, objective, photometric_loss, ramp_of
from kinodepth.methods.rm_depth.photometric import target_statistics
from kinodepth.methods.weights import save_weights
from kinodepth.networks.modulation import ModulationUnit
from kinodepth.networks.residual_upsampling import ResidualUpsampling, bands
from kinodepth.types import Camera, Clip, InputError

RM = methods.load("rm_depth")
SMALL = RmDepthConfig(height=64, width=96, pretrained=False, batch_size=1)
BEFORE = torch.tensor([True])  # of one pair: the source was taken before the target
SHORT = {"encoder": "resnet18_short", "kernel_mod": 3, "kernel_gate": 3}


def count(module):
    return sum(parameter.numel() for parameter in module.parameters())


def model(**settings):
    torch.manual_seed(0)
    return RmDepth(replace(SMALL, **settings))


def clip(seed=0, batch=1):
    images = torch.rand(batch * 3, 3, 8, 12, generator=torch.Generator().manual_seed(seed))
    images = resize(images, (64, 96)).unflatten(0, (batch, 3))
    return Clip(images, (Camera(80.0, 82.0, 47.0, 31.0, 96, 64),) * batch)


def stage(config=SMALL, done=0):
    return replace(RM.stages(config)[0], done=done)


def terms(network, **changes):
    found = objective(network, clip(), stage(network.config, **changes), torch.Generator().manual_seed(0))
    network.zero_grad(set_to_none=True)
    found.total.backward()
    return found


def wake(network):
    """Give the object-motion decoder outputs other than zero."""
    for decoder in network.motion_net.fields:
        torch.nn.init.normal_(decoder.head.weight, std=0.5)
    return network


# -- sizes (spec 3.7, 4.2) ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({}, 2_975_828),
        ({"iterations": (1, 1, 1)}, 2_975_828),
        ({"iterations": (4, 2, 2)}, 2_975_828),
        ({"bands": 1}, 2_973_524),
        ({"modulation": False}, 2_945_844),
        ({"rmu": False}, 2_997_668),
        ({"rmu": False, "bands": 1}, 2_995_364),
        ({"widths": (128, 64, 60), **SHORT}, 2_989_036),
        ({"widths": (36, 28, 20), "kernel_mod": 3, "kernel_gate": 3}, 2_974_364),
    ],
)
def test_parameters_of_the_depth_net(settings, expected):
    with torch.device("meta"):
        found = count(RmDepth(replace(SMALL, **settings)).depth_net)
    assert found == expected
    assert abs(found - 2.97e6) <= 0.03 * 2.97e6


def test_presets_are_those_sizes_and_the_motion_net_has_its_own():
    with torch.device("meta"):
        nets = {name: RmDepth(RM.config(**RM.presets[name])) for name in ("wide_decoder", "large_kernels", "kitti")
                for RM.presets[name] in [{**RM.presets[name], "pretrained": False}]}  # fmt: skip
        rigid = RmDepth(replace(SMALL, object_motion=False))
    assert [count(net.depth_net) for net in nets.values()] == [2_989_036, 2_974_364, 2_975_828]
    motion = nets["kitti"].motion_net
    assert [count(part) for part in (motion.encoder, motion.pose, motion.fields)] == [983_120, 1_247_494, 710_034]
    assert count(rigid.motion_net) == count(motion) - 710_034


def test_maps_have_their_sizes():
    network = model().eval()
    with torch.no_grad():
        found = network.depth_net.scales(torch.rand(1, 3, 64, 96))
        assert [(d.scale, *d.sigma.shape[-2:]) for d in found] == [(3, 4, 6), (2, 8, 12), (1, 16, 24), (0, 32, 48)]
        every = model(supervise_all_iterations=True).depth_net.eval().scales(torch.rand(1, 3, 64, 96))
    assert [d.scale for d in every] == [3] * 9 + [2] * 2 + [1] * 2 + [0]


def test_the_finest_map_alone_is_the_last_scale():
    network = model().eval()
    with torch.no_grad():
        image = torch.rand(1, 3, 64, 96)
        assert torch.equal(network.depth_net(image), network.depth_net.scales(image)[-1].sigma)


# -- units and upsampling (spec 3.4, 3.5; tests 3, 4, 5) --------------------------------------------------------------


def test_hidden_states_stay_inside_one():
    torch.manual_seed(1)
    unit = ModulationUnit(8)
    for parameter in unit.parameters():
        torch.nn.init.normal_(parameter, std=3.0)
    states = unit(10 * torch.randn(2, 8, 5, 6), torch.empty(2, 8, 5, 6).uniform_(-0.999, 0.999), 9)
    assert len(states) == 9
    assert all(state.abs().max() < 1 + 1e-6 for state in states)


@pytest.mark.parametrize("modulation", [True, False])
def test_only_modulation_changes_what_enters_the_state(modulation):
    torch.manual_seed(0)
    unit = ModulationUnit(8, modulation=modulation)
    if modulation:
        torch.nn.init.normal_(unit.modulate.weight, std=0.5)
    contents = []
    unit.gate.register_forward_pre_hook(lambda _, inputs: contents.append(inputs[0][:, 8:]))
    unit(torch.randn(1, 8, 5, 6), torch.zeros(1, 8, 5, 6), 4)
    assert len(contents) == 4
    assert all(torch.equal(contents[0], content) for content in contents[1:]) is not modulation


def test_a_new_unit_does_not_modulate():
    torch.manual_seed(0)
    unit = ModulationUnit(32)
    feature, hidden = torch.randn(2, 1, 32, 7, 7)
    factor, offset = unit.modulate(torch.cat([feature, hidden], 1)).chunk(2, 1)
    assert (factor - 1).abs().max() < 0.5
    assert offset.abs().max() < 0.5


@pytest.mark.parametrize("number", [1, 2, 3])
def test_upsampling_starts_bilinear(number):
    torch.manual_seed(0)
    x = torch.randn(2, 6, 5, 7)
    up = ResidualUpsampling(6, 4, number)
    assert up.filters.shape == (number, 6, 4, 4)
    assert torch.allclose(sum(bands(x, number)), x, atol=1e-6)
    assert torch.allclose(up.spread(x), resize(x, (10, 14)), atol=1e-5)
    assert up(x).shape == (2, 4, 10, 14)


def test_upsampling_equals_the_transposed_convolution_of_its_definition():
    torch.manual_seed(0)
    x, up = torch.randn(2, 3, 5, 7), ResidualUpsampling(3, 4)
    torch.nn.init.normal_(up.filters)
    parts = zip(bands(x, 2), up.filters)
    pad = torch.nn.functional.pad
    expected = sum(
        torch.nn.functional.conv_transpose2d(
            pad(part, (1,) * 4, mode="replicate"), kernel[:, None], stride=2, padding=1, groups=3
        )[..., 2:-2, 2:-2]
        for part, kernel in parts
    )
    assert torch.allclose(up.spread(x), expected, atol=1e-5)


def test_a_constant_has_no_high_band():
    up = ResidualUpsampling(3, 4)
    before = up.spread(torch.full((1, 3, 4, 5), 0.7))
    torch.nn.init.normal_(up.filters.data[1])
    assert torch.allclose(up.spread(torch.full((1, 3, 4, 5), 0.7)), before, atol=1e-5)


# -- motion (spec 2, 4; tests 6, 7) -----------------------------------------------------------------------------------


def test_a_field_keeps_its_values_when_it_grows():
    field = torch.tensor([0.1, -2.0, 3.0])[None, :, None, None].expand(2, 3, 3, 4)
    assert torch.allclose(enlarge(field, torch.Size((6, 8))), field[..., :1, :1].expand(2, 3, 6, 8))


def test_the_scene_starts_rigid():
    network = model().eval()
    target, source = torch.rand(2, 1, 3, 64, 96)
    depth = torch.full((1, 1, 64, 96), 2.0)
    motion = network.motion(target, source, BEFORE, depth, clip().intrinsics)
    assert motion.field.shape == (1, 3, 64, 96)
    assert not motion.field.any()
    full, rigid = optical_flow(depth, motion, clip().intrinsics)
    assert torch.equal(full, rigid)
    still = Motion(torch.eye(4)[None], torch.zeros(1, 3, 64, 96))
    assert optical_flow(depth, still, clip().intrinsics)[0].abs().max() < 1e-4
    assert not moving_mask(full, rigid).any()


def test_what_moves_by_itself_is_one_pixel_and_five_percent():
    rigid = torch.zeros(1, 2, 1, 5)
    own = torch.tensor([0.9, 1.1, 0.0, 4.0, 6.0])
    rigid[0, 0, 0] = torch.tensor([0.0, 0.0, 50.0, 100.0, 100.0])
    full = rigid + torch.stack([own, torch.zeros(5)])[None, :, None]
    assert moving_mask(full, rigid)[0, 0, 0].tolist() == [False, True, False, False, True]


def test_pairs_are_seen_in_the_order_of_time():
    network = model().motion_net.eval()
    torch.nn.init.normal_(network.pose.head.weight)
    early, late = torch.rand(2, 1, 3, 64, 96)
    with torch.no_grad():
        there = network.ego_motion(early, late)
        back = network.ego_motion(late, early, BEFORE)
        target_first = network.ego_motion(late, early)
        both = network.ego_motion(torch.cat([late, early]), torch.cat([early, late]), torch.tensor([True, False]))
    identity = torch.eye(4)
    assert torch.allclose(back @ there, identity[None], atol=1e-6)
    assert not torch.allclose(target_first @ there, identity[None], atol=1e-3)
    assert torch.allclose(both, torch.cat([back, there]), atol=1e-6)


@pytest.mark.parametrize("warping", [True, False])
def test_warping_decides_what_object_motion_sees(warping):
    network = wake(model(warping=warping)).eval()
    target, source = torch.rand(2, 1, 3, 64, 96)
    fields = [
        network.motion(target, source, BEFORE, torch.full((1, 1, 64, 96), d), clip().intrinsics).field
        for d in (0.2, 0.02)
    ]
    assert torch.equal(*fields) is not warping  # depth matters only through the warp


def test_each_level_encodes_only_as_deep_as_it_needs():
    network, seen = model().motion_net, []
    forward = network.encoder.forward
    network.encoder.forward = lambda a, b, levels=6: seen.append(levels) or forward(a, b, levels)
    target, source = torch.rand(2, 1, 3, 64, 96)
    network.object_motion(target, source, lambda field: source)
    assert seen == [6, 5, 4, 3, 2, 1]


def test_the_warp_carries_no_gradient_unless_asked():
    for detach in (True, False):
        network = wake(model(detach_warp_input=detach))
        depth = torch.full((1, 1, 64, 96), 2.0, requires_grad=True)
        target, source = resize(torch.rand(2, 3, 8, 12), (64, 96)).unsqueeze(1)
        network.motion(target, source, BEFORE, depth, clip().intrinsics).field.sum().backward()
        assert (depth.grad is None) is detach


def test_burn_in_is_zero_then_linear_then_one():
    config = replace(SMALL, steps=100, burn_in=0.4)
    assert [ramp_of(stage(config, done), config) for done in (0, 20, 30, 40, 99)] == [0, 0, 0.5, 1, 1]
    assert ramp_of(stage(), replace(SMALL, burn_in=0.0)) == 1
    network = wake(model(steps=100, burn_in=0.4))
    assert not explain(network, clip(), 0.0).motion.field.any()
    half, whole = (explain(network, clip(), ramp).motion.field for ramp in (0.5, 1.0))
    assert half.abs().mean() < whole.abs().mean()
    terms(network, done=0)
    gradients = [p.grad for p in network.motion_net.fields.parameters()]
    assert all(g is not None and not g.any() for g in gradients)


# -- losses (spec 5; test 8) ------------------------------------------------------------------------------------------


def moving_field():
    """A clean object over a rigid background, and t_cam."""
    field = torch.zeros(1, 3, 8, 10)
    field[:, :, 2:5, 3:7] = torch.tensor([1.0, -0.5, 2.0])[:, None, None]
    return field, torch.tensor([[0.1, 0.0, -1.0]])


def outlier_loss(field, translation):
    return motion_losses.outlier_aware_loss(field, translation, motion_losses.rigid_by_size(field))


def test_outlier_aware_loss_has_its_properties():
    field, translation = moving_field()
    inside = field.abs().sum(1, keepdim=True) > 0
    assert outlier_loss(field, translation) == 0  # P6
    assert outlier_loss(torch.zeros_like(field), translation) == 0  # P5
    noisy = (field + 0.01).requires_grad_()
    loss = outlier_loss(noisy, translation)
    assert loss > 0  # P1
    loss.backward()
    assert not noisy.grad[inside.expand_as(noisy)].any()  # P2, P4
    assert (noisy.grad[~inside.expand_as(noisy)] > 0).all()
    for factor in (1e-2, 37.0):  # P3
        assert torch.allclose(outlier_loss(factor * noisy, factor * translation), loss, rtol=1e-6)
    worse = outlier_loss(field + 0.02, translation)
    assert 1.9 < worse / loss < 2.1  # L1-like; the scale of motion hardly moves


def test_photometric_outliers_are_where_object_motion_helps():
    field, translation = (value.requires_grad_() for value in moving_field())
    rigid_error, full_error = torch.full((2, 1, 1, 8, 10), 0.2)
    full_error = full_error.clone()
    full_error[..., 2:5, 3:7] = 0.1
    rigid = motion_losses.rigid_by_error(rigid_error, full_error)
    assert torch.equal(~rigid, field.detach().abs().sum(1, keepdim=True) > 0)
    assert motion_losses.rigid_by_error(rigid_error, full_error, slack=0.2).all()
    assert motion_losses.outlier_aware_loss(field, translation, rigid) == 0


@pytest.mark.parametrize("loss", [motion_losses.sqrt_sparsity_loss, motion_losses.group_smoothness_loss])
def test_other_losses_do_not_depend_on_the_unit(loss):
    field, translation = moving_field()
    field = field + 0.01 * torch.randn(field.shape, generator=torch.Generator().manual_seed(0))
    assert loss(field, translation) > 0
    assert torch.allclose(loss(37 * field, 37 * translation), loss(field, translation), rtol=1e-5)


def test_switches_choose_the_terms():
    expected = {
        (): {"photo", "smooth", "outlier", "motion_smooth"},
        ("outlier", "none"): {"photo", "smooth", "motion_smooth"},
        ("motion_smooth_weight", 0.0): {"photo", "smooth", "outlier"},
        ("object_motion", False): {"photo", "smooth"},
    }
    for change, names in expected.items():
        network = model(**dict([change] if change else []), burn_in=0.0)
        assert set(terms(network).terms) == names
    values = [
        terms(wake(model(**kind, burn_in=0.0))).terms["outlier"]
        for kind in ({}, {"outlier_mode": "photo"}, {"outlier": "sqrt_sparsity"}, {"kappa": 0.5})
    ]
    assert all(a != b for i, a in enumerate(values) for b in values[:i])


def test_standing_pictures_teach_nothing():
    still = replace(clip(), images=clip().images[:, :1].expand(-1, 3, -1, -1, -1))
    found = {}
    for automask in (True, False):
        network = model(automask=automask, smooth_weight=0.0, motion_smooth_weight=0.0)
        outcome = objective(network, still, stage(done=SMALL.steps), torch.Generator().manual_seed(0))
        outcome.total.backward()
        found[automask] = outcome.scalars["kept_share"], network.depth_net.heads["3"].weight.grad.abs().max()
    assert found[True][0] < 0.01  # what ties within the noise of 1e-5
    assert found[False][0] == 1
    assert found[True][1] < 0.01 * found[False][1]


def test_the_automask_waits_for_the_first_half_of_the_burn_in():
    config = replace(SMALL, steps=100, burn_in=0.4)
    network = model(steps=100, burn_in=0.4)
    draw = torch.Generator().manual_seed(0)
    kept = [objective(network, clip(), stage(config, done), draw).scalars["kept_share"] for done in (20, 21)]
    assert kept[0] == 1
    assert kept[1] < 1


def test_truth_explains_a_moving_scene_and_a_rigid_scene_does_not():
    """Exact depth, pose and object motion of a synthetic street against the same without object motion (test 9)."""
    frames = list(sequence(seed=4, kind="street", frames=2, width=192, height=96))
    target, source = frames
    assert target.masks["dynamic"].float().mean() > 0.005
    images = (target.image[None], source.image[None])
    pairs = Pairs(*images, target.camera.matrix()[None], target_statistics(images[0]), 1)
    move = relative(source.cam_to_world, target.cam_to_world)[None].float()
    depth = torch.where(target.depth > 0, target.depth, 1e3)[None]
    field = target.extra["object_motion"][None]
    moving = target.masks["dynamic"][0]
    full, rigid = (pairs.errors(depth, move, f)[0, 0][moving].mean() for f in (field, None))
    assert full < 0.5 * rigid
    assert photometric_loss(pairs.errors(depth, move, field), None) < photometric_loss(
        pairs.errors(depth, move, None), None
    )
    flow = rigid_flow(depth, move, pairs.intrinsics, field)[0]
    known = (target.depth > 0).expand_as(flow)
    assert (flow - target.extra["optical_flow"])[known].abs().max() < 0.01


# -- data and files ---------------------------------------------------------------------------------------------------


def test_networks_see_other_colours_than_losses():
    found = [augment(clip(i), torch.Generator().manual_seed(i), replace(SMALL, flip=False)) for i in range(8)]
    changed = [not torch.equal(c.extra[JITTERED], c.images) for c in found]
    assert 0 < sum(changed) < 8
    assert all(torch.equal(c.images, clip(i).images) for i, c in enumerate(found))


def test_no_published_weights_exist(tmp_path):
    (tmp_path / "published.pth").write_bytes(b"x")
    with pytest.raises(InputError, match="without code and weights"):
        RM.convert(tmp_path / "published.pth")
    with pytest.raises(InputError, match="does not exist"):
        RM.convert(tmp_path / "nothing.pth")


def test_settings_that_cannot_be_are_refused():
    for wrong in ({"height": 100}, {"widths": (1, 2)}, {"kernel_gate": 2}, {"near": 5.0, "far": 1.0}, {"bands": 0}):
        with pytest.raises(InputError):
            RmDepthConfig(**wrong)


# -- outputs ----------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def recording():
    return sequence(seed=3, kind="room", frames=3, width=128, height=96)


def test_outputs_lead_to_the_frame_before(recording):
    network = wake(model()).eval()
    wanted = with_outputs(DepthModel(RM, network, torch.device("cpu")), ["depth", "flow", "motion", "mask", "poses"])
    found = list(wanted.predict(recording))
    assert not any(values.any() for values in found[0].outputs.values())
    assert torch.equal(found[0].cam_to_world, torch.eye(4, dtype=torch.float64))
    last = found[-1]
    assert {k: tuple(v.shape) for k, v in last.outputs.items()} == {
        "flow": (2, 96, 128), "motion": (3, 96, 128), "mask": (1, 96, 128)}  # fmt: skip
    assert last.outputs["mask"].dtype == torch.bool
    small = list(wanted.predict(recording, "network"))[-1]
    move = relative(found[-2].cam_to_world, last.cam_to_world)[None].float()  # before from this frame
    flow = rigid_flow(small.depth[None], move, small.camera.matrix()[None], small.outputs["motion"][None])[0]
    assert torch.allclose(flow, small.outputs["flow"], atol=1e-2)
    grown = resize(small.outputs["flow"][None], (96, 128))[0] * torch.tensor([128 / 96, 96 / 64])[:, None, None]
    assert torch.allclose(grown, last.outputs["flow"], atol=1e-4)
    alone = list(DepthModel(RM, network, torch.device("cpu")).predict(recording))
    assert all(torch.equal(a.depth, b.depth) for a, b in zip(alone, found))
    assert not alone[-1].outputs


def test_a_recording_read_backwards_gives_the_inverse_motion(recording):
    """The pose net sees pairs in the order of time, whichever way they are read."""
    network = wake(model()).eval()
    wanted = with_outputs(DepthModel(RM, network, torch.device("cpu")), ["poses"])
    there, back = (
        [prediction.cam_to_world for prediction in wanted.predict(recording.select(order))]
        for order in ([0, 1, 2], [2, 1, 0])
    )
    forwards, backwards = relative(there[1], there[2]), relative(back[0], back[1])
    assert forwards[:3, 3].any()
    torch.testing.assert_close(backwards, invert(forwards))


def test_other_outputs_are_refused(recording):
    with pytest.raises(InputError, match="cannot predict normals"):
        with_outputs(DepthModel(RM, model(), torch.device("cpu")), ["normals"])
    blind = recording.select([0, 1])
    blind.records = [replace(record, camera=None) for record in blind.records]
    wanted = with_outputs(DepthModel(RM, model(), torch.device("cpu")), ["flow"])
    with pytest.raises(InputError, match="has no camera"):
        list(wanted.predict(blind))


def test_predict_writes_flow_motion_mask_and_poses(tmp_path, capsys):
    save_weights(tmp_path / "rm.safetensors", wake(model()), "rm_depth")
    assert main(["synth", str(tmp_path / "clip"), "--frames", "3", "--size", "128x96"]) == 0
    out = tmp_path / "out"
    command = ["predict", str(tmp_path / "rm.safetensors"), str(tmp_path / "clip"), "--out", str(out)]
    assert main([*command, "--outputs", "depth,flow,motion,mask,poses"]) == 0
    stored = writers.read_npz(sorted((out / "npz").glob("*.npz"))[-1])
    assert {k: tuple(v.shape) for k, v in stored.outputs.items()} == {
        "flow": (2, 96, 128), "motion": (3, 96, 128), "mask": (1, 96, 128)}  # fmt: skip
    for kind in ("flow", "motion", "mask"):
        assert len(list((out / kind).glob("*.png"))) == 3
    about = json.loads((out / "prediction.json").read_text())
    assert set(about["outputs"]) == {"flow", "motion", "mask", "poses"}
    tum, kitti = (np.loadtxt(out / f"poses_{kind}.txt") for kind in ("tum", "kitti"))
    assert (tum.shape, kitti.shape) == ((3, 8), (3, 12))
    assert np.allclose(kitti[0].reshape(3, 4), np.eye(4)[:3])
    assert np.allclose(tum[:, 1:4], kitti.reshape(3, 3, 4)[:, :, 3], atol=1e-6)
    assert np.allclose(stored.cam_to_world.numpy()[:3], kitti[-1].reshape(3, 4), atol=1e-6)

    capsys.readouterr()
    assert main(["evaluate", str(out), "--data", str(tmp_path / "clip"), "--out", str(tmp_path / "scores")]) == 0
    found = json.loads((tmp_path / "scores" / "evaluation.json").read_text())["trajectory"]
    true = torch.from_numpy(np.loadtxt(tmp_path / "clip" / "poses.txt", usecols=range(1, 17)).reshape(-1, 4, 4))
    predicted = torch.eye(4, dtype=torch.float64).repeat(3, 1, 1)
    predicted[:, :3] = torch.from_numpy(kitti.reshape(3, 3, 4))
    assert found["ate_m"] == pytest.approx(absolute_trajectory_error(predicted, true), rel=1e-3)
    assert found["poses"] == 3
    assert "predicted trajectory: poses 3" in capsys.readouterr().out
    (out / "frames.jsonl").unlink()  # as an interrupted job leaves it
    assert main(["evaluate", str(out), "--data", str(tmp_path / "clip"), "--out", str(tmp_path / "scores")]) == 0
