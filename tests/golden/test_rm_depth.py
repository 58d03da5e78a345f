"""RM-Depth against analytic fixtures. Every size and value comes from the files; tolerances from their README."""

from __future__ import annotations

from math import sqrt

import pytest
import torch

from golden.closeness import assert_close
from kinodepth.evaluation import trajectory
from kinodepth.geometry import pose, warp
from kinodepth.geometry.depth import sigmoid_to_depth, sigmoid_to_inverse_depth
from kinodepth.losses.photometric import l1_error, ssim_error
from kinodepth.losses.smoothness import edge_aware_smoothness_loss
from kinodepth.methods.rm_depth import motion_losses
from kinodepth.methods.rm_depth.photometric import photometric_error
from kinodepth.networks.modulation import ModulationUnit
from kinodepth.networks.residual_upsampling import ResidualUpsampling, bands

BOTH = pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=["float32", "float64"])
CASES = ("zero", "constant", "clean_object", "noisy_background", "signed")

# -- geometry -------------------------------------------------------------------------------------------------------


def scene_flow(g, dtype, with_objects=True):
    motion = g.obj_motion[None].to(dtype) if with_objects else None
    return warp.rigid_flow(g.depth[None].to(dtype), g.T_t2s[None].to(dtype), g.K[None].to(dtype), motion)


def looked_up(source, g, dtype, with_objects=True):
    motion = g.obj_motion[None].to(dtype) if with_objects else None
    depth, move, matrix = (value[None].to(dtype) for value in (g.depth, g.T_t2s, g.K))
    return warp.inverse_warp(source[None].to(dtype), depth, move, matrix, object_motion=motion, padding="border")


@BOTH
def test_flow(golden, dtype):
    g = golden("rm_depth/scene.npz")
    atol = 1e-4 if dtype is torch.float32 else 1e-9
    assert_close(scene_flow(g, dtype)[0], g.flow_full, atol=atol)
    assert_close(scene_flow(g, dtype, with_objects=False)[0], g.flow_rigid, atol=atol)
    rotation = pose.axis_angle_to_matrix(g.cam_axisangle)
    assert_close(rotation, g.T_t2s[:3, :3], atol=1e-12)


def test_places_depths_and_validity(golden):
    g = golden("rm_depth/scene.npz")
    warped = looked_up(g.image_s, g, torch.float64)
    assert_close(warped.pixels[0], g.coords_s, atol=1e-9)
    assert_close(warped.z[0], g.depth_in_source, atol=1e-9)
    assert torch.equal(warped.valid[0], g.valid.bool())


@BOTH
def test_warp_of_bilinear_functions_is_exact(golden, dtype):
    g = golden("rm_depth/scene.npz")
    warped = looked_up(g.bilinear_source, g, dtype)
    valid = g.valid.bool().expand(3, -1, -1)
    assert_close(warped.image[0][valid], g.bilinear_warped[valid], atol=1e-4)


def test_warped_image_and_depth(golden):
    g, about = golden("rm_depth/scene.npz"), golden("rm_depth/scene.json")["statistics"]
    strict, visible, box = (m.bool() for m in (g.visible_strict, g.visible, g.box_mask))
    full = l1_error(looked_up(g.image_s, g, torch.float64).image, g.image_t[None])[0]
    rigid = l1_error(looked_up(g.image_s, g, torch.float64, with_objects=False).image, g.image_t[None])[0]
    assert full[strict].max() < 0.003
    assert_close(full[strict].mean(), about["l1_full_strict_mean"], rtol=1e-6)
    assert_close(rigid[strict & box].mean(), about["l1_rigid_box_strict_mean"], rtol=1e-6)
    assert_close(full[visible & box].mean(), about["l1_full_box_visible"], rtol=1e-6)
    assert_close(rigid[visible & box].mean(), about["l1_rigid_box_visible"], rtol=1e-6)
    depth = looked_up(g.depth_s, g, torch.float64).image[0]
    assert_close(depth[strict], g.depth_in_source[strict], rtol=0.01)


def test_depth_of_sigmoid(golden):
    g = golden("rm_depth/disp_to_depth.npz")
    near, far = g.min_depth.item(), g.max_depth.item()
    assert_close(sigmoid_to_inverse_depth(g.sigma, near, far), g.disp, rtol=1e-6)
    assert_close(sigmoid_to_depth(g.sigma, near, far), g.depth, rtol=1e-6)


# -- networks -------------------------------------------------------------------------------------------------------


def unit(channels, **kernels):
    return ModulationUnit(channels, kernel_mod=1, kernel_fuse=1, kernel_gate=1, **kernels)


def put(conv, weight, bias):
    conv.weight.data.copy_(weight[..., None, None])
    conv.bias.data.copy_(bias)


def precision(dtype):
    return 1e-5 if dtype is torch.float32 else 1e-10


@BOTH
def test_modulation_unit_closed_form(golden, dtype):
    g = golden("rm_depth/rmu.npz")
    channels = len(g.F)
    rmu = unit(channels)
    put(rmu.modulate, torch.zeros(2 * channels, 2 * channels), torch.tensor([1.0] * channels + [0.0] * channels))
    put(rmu.fuse, torch.eye(channels), torch.zeros(channels))
    put(rmu.gate, torch.zeros(channels, 2 * channels), g.beta.expand(channels))
    states = rmu.to(dtype)(g.F[None].to(dtype), g.h0[None].to(dtype), len(g.h_closed) - 1)
    # beta is stored in float64 but travels through a float32 parameter
    assert_close(torch.cat([g.h0[None].to(dtype), *states]), g.h_closed, atol=max(precision(dtype), 1e-7))


@BOTH
def test_modulation_unit_in_general(golden, dtype):
    g = golden("rm_depth/rmu.npz")
    rmu = unit(len(g.F)).to(dtype)
    for name, weight, bias in (
        ("modulate", g.W_wb, g.b_wb),
        ("fuse", g.W_fuse, g.b_fuse),
        ("gate", g.W_gate, g.b_gate),
    ):
        put(rmu.get_submodule(name), weight, bias)
    states = rmu(g.F[None].to(dtype), g.h0[None].to(dtype), len(g.h_general) - 1)
    assert_close(torch.cat([g.h0[None].to(dtype), *states]), g.h_general, atol=precision(dtype))


def test_bands_and_residual_upsampling(golden):
    g = golden("rm_depth/residual_upsampling.npz")
    x = g.x[None].float()
    low, high = bands(x, 2)
    assert_close(low[0], g.low, atol=1e-5)
    assert_close(high[0], g.high, atol=1e-5)
    up = ResidualUpsampling(len(g.x), 1)
    with torch.no_grad():
        assert_close(up.spread(x)[0], g.up_bilinear_all, atol=1e-5)
        up.filters[1] = 0
        assert_close(up.spread(x)[0], g.up_low_bilinear_high_zero, atol=1e-5)
        up.filters[1, :, 1:3, 1:3] = 1
        assert_close(up.spread(x)[0], g.up_low_bilinear_high_nearest, atol=1e-5)


# -- losses ---------------------------------------------------------------------------------------------------------


def test_photometric_error(golden):
    g = golden("rm_depth/photometric.npz")
    target, first, second = (value[None].float() for value in (g.target, g.warp1, g.warp2))
    assert_close(ssim_error(target, first, window=3)[0], g.ssim_dist1, atol=1e-5)
    errors = torch.cat([photometric_error(target, image) for image in (first, second)])
    assert_close(errors[0], g.pe1, atol=1e-5)
    assert_close(errors[1], g.pe2, atol=1e-5)
    assert_close(errors.amin(0), g.pe_min, atol=1e-5)
    assert_close(errors.amin(0).mean(), g.pe_min_mean, atol=1e-5)


def test_photometric_error_of_constant_images(golden):
    for case in golden("rm_depth/expected_scalars.json")["photometric_constant_pairs"].values():
        a, b = (torch.full((1, 3, 5, 6), case[key], dtype=torch.float64) for key in "ab")
        assert_close(1 - 2 * ssim_error(a, b, window=3), torch.full_like(a, case["ssim"]), atol=1e-6)
        assert_close(photometric_error(a, b), torch.full((1, 1, 5, 6), case["pe"]), atol=1e-6)


def motion_case(golden, name):
    """T 1 x 3 x H x W and t 1 x 3, and what is expected of them."""
    g, expected = golden("rm_depth/motion_losses.npz"), golden("rm_depth/expected_scalars.json")["motion_losses"][name]
    return getattr(g, f"{name}_T")[None], getattr(g, f"{name}_tcam")[None], expected, g


@pytest.mark.parametrize("name", CASES)
def test_outlier_aware_loss(golden, name):
    field, translation, expected, g = motion_case(golden, name)
    assert_close(motion_losses.motion_scale(field, translation), [expected["nu"]], rtol=1e-5)
    rigid = motion_losses.rigid_by_size(field, expected["k"])
    assert torch.equal(rigid[0].double(), getattr(g, f"{name}_rigid_weight"))
    assert_close(rigid.double().mean(), expected["rigid_fraction"], rtol=1e-5)
    size = field.norm(dim=1)
    assert_close(expected["k"] * size.mean(), expected["tau"], rtol=1e-5)
    assert_close(motion_losses.outlier_aware_loss(field, translation, rigid), expected["mag"], rtol=1e-5, atol=1e-12)
    if "photo" in expected:
        errors = (getattr(g, f"{name}_err_{kind}")[None] for kind in ("rigid", "full"))
        rigid = motion_losses.rigid_by_error(*errors)
        assert torch.equal(rigid[0].double(), getattr(g, f"{name}_photo_weight"))
        loss = motion_losses.outlier_aware_loss(field, translation, rigid)
        assert_close(loss, expected["photo"], rtol=1e-5, atol=1e-12)


@pytest.mark.parametrize("name", CASES)
def test_other_motion_losses(golden, name):
    field, translation, expected, _ = motion_case(golden, name)
    sparsity = motion_losses.sqrt_sparsity_loss(field, translation)
    assert_close(sparsity, expected["sqrt_sparsity"], rtol=1e-5, atol=1e-12)
    for border in ("wrap", "nowrap"):
        smooth = motion_losses.group_smoothness_loss(field, translation, wrap=border == "wrap")
        assert_close(smooth, expected[f"group_smooth_{border}"], rtol=1e-5)


def test_edge_aware_smoothness(golden):
    g, expected = golden("rm_depth/motion_losses.npz"), golden("rm_depth/expected_scalars.json")["motion_losses"]
    smooth = edge_aware_smoothness_loss(g.smooth_disp[None], g.smooth_img[None])
    assert_close(smooth, expected["edge_smooth"], rtol=1e-5)


# -- evaluation -----------------------------------------------------------------------------------------------------


def test_snippet_error(golden):
    g = golden("rm_depth/ate_snippet.npz")
    true, predicted = (trajectory.chain(moves) for moves in (g.gt_relative, g.pred_relative))
    assert_close(true[:, :3, 3], g.gt_xyz, rtol=1e-8, atol=1e-12)
    assert_close(predicted[:, :3, 3], g.pred_xyz, rtol=1e-8, atol=1e-12)
    assert_close(trajectory.snippet_error(predicted, true), g.ate, rtol=1e-8)
    aligned = g.gt_xyz - g.gt_xyz[0]
    residual = aligned - g.scale * (g.pred_xyz - g.pred_xyz[0])
    assert_close(sqrt(residual.square().sum()) / len(residual), g.ate, rtol=1e-8)
