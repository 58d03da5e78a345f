"""Mining Supervision against recorded numbers. Sizes, seeds and values come from the files, tolerances from their
README."""

from __future__ import annotations

import re

import pytest
import torch
from PIL import Image

from golden.closeness import assert_close
from kinodepth.data import open_sequence
from kinodepth.data.clips import read_clip
from kinodepth.evaluation import PROTOCOLS, evaluate
from kinodepth.evaluation.objects import object_errors
from kinodepth.geometry import pose
from kinodepth.geometry.camera import back_project, inverse_intrinsics
from kinodepth.geometry.sampling import resize, sample
from kinodepth.losses.reduction import masked_mean
from kinodepth.losses.smoothness import edge_aware_smoothness_loss
from kinodepth.methods.mining_supervision import augmentation, convert
from kinodepth.methods.mining_supervision.alignment import alignment_loss, compose_label, prepare
from kinodepth.methods.mining_supervision.config import MiningSupervisionConfig
from kinodepth.methods.mining_supervision.detections import cleaned, closer_views, distinct, single, unzoom, zoom
from kinodepth.methods.mining_supervision.ground import (
    broad_normals,
    ground_features,
    ground_mask,
    ground_terms,
    self_terms,
    self_trust,
    trust,
)
from kinodepth.methods.mining_supervision.joint import (
    joint_terms,
    label_terms,
    motion_to_store,
    neighbours_from_target,
    object_terms,
    residual_motion,
    seen_by_neighbours,
)
from kinodepth.methods.mining_supervision.losses import (
    best_error,
    contrast_error,
    label_error,
    label_loss,
    motion_sparsity_loss,
    steps_inside,
)
from kinodepth.methods.mining_supervision.model import to_depth
from kinodepth.methods.mining_supervision.motion import forward_warp, projected
from kinodepth.methods.mining_supervision.networks import FlowNet, GroundNet, ScaleNet
from kinodepth.methods.mining_supervision.objects import (
    are_dynamic,
    area_shares,
    boxes,
    dilate,
    moving_region,
    moving_shares,
    touch_middle,
)
from kinodepth.methods.mining_supervision.slot_losses import (
    bounded_depth,
    emptiness_weight,
    motion_colours,
    moving,
    slot_terms,
)
from kinodepth.methods.mining_supervision.slots import SlotNet
from kinodepth.networks.hrnet_depth import HighResolutionDepthNet
from kinodepth.networks.pose_net import PoseNet
from kinodepth.types import Prediction, Record, Sequence

FOLDER = "mining_supervision"


def fill(network, name, seeded_weights, manifest, golden=None):
    """``network`` with the seeded weights of ``manifest`` under our names."""
    state = seeded_weights(f"{FOLDER}/{manifest}.manifest.json")
    if golden is not None:
        for pattern, value in golden(f"{FOLDER}/{manifest}.manifest.json").get("overrides", {}).items():
            state |= {key: torch.full_like(old, value) for key, old in state.items() if re.search(pattern, key)}
    ours = {convert.to_ours(name, key): value for key, value in state.items() if not convert.SURPLUS.search(key)}
    network.load_state_dict(ours)
    return network.eval()


# ---------------------------------------------------------------------------------------------------------------
# Geometry
# ---------------------------------------------------------------------------------------------------------------


def test_rotations_and_inverse_motion(golden):
    g = golden(f"{FOLDER}/geometry.npz")
    assert_close(pose.euler_to_matrix(g.angles), g.matrices, rtol=1e-4, atol=1e-6)
    moved = pose.pose_matrix(pose.euler_to_matrix(g.rot), g.trans)
    assert_close(moved, g.T, rtol=1e-4, atol=1e-6)
    back = pose.invert(moved)
    assert_close(back, g.T_invert, rtol=1e-4, atol=1e-6)
    assert_close(back[:, :3, 3], g.trans_invert, rtol=1e-4, atol=1e-6)
    assert_close(pose.euler_to_matrix(g.rot_invert), back[:, :3, :3], rtol=1e-4, atol=1e-5)


def test_projection_with_both_kinds_of_motion(golden):
    g = golden(f"{FOLDER}/geometry.npz")
    K = g.K[:, :3, :3]
    assert_close(back_project(g.depth, K), g.xyz, rtol=1e-4, atol=1e-4)
    still = projected(g.depth, g.T, K, convention="published")
    assert_close(still, g.uv, atol=1e-3)
    assert_close(projected(g.depth, g.T, K, g.motion_2d, convention="published"), g.uv_motion_2d, atol=1e-3)
    assert_close(projected(g.depth, g.T, K, offset=g.motion_3d, convention="published"), g.uv_motion_3d, atol=1e-3)
    assert_close(sample(g.source, still), g.warped, atol=1e-3)


def test_forward_warp(golden):
    g = golden(f"{FOLDER}/forward_warp.npz")
    image, depth = forward_warp(g.image, g.depth, g.T, g.K[:, :3, :3], convention="published")
    assert_close(depth, g.warped_depth, atol=1e-3, share=0.995)
    assert_close(image, g.warped_image, atol=1e-3, share=0.995)


def test_forward_warp_of_moving_masks(golden):
    g = golden(f"{FOLDER}/forward_warp.npz")
    offsets = {"offset": g.offset_forward, "offset_back": g.offset_backward}
    mask, depth = forward_warp(g.mask, g.depth, g.T, g.K[:, :3, :3], **offsets, convention="published")
    assert_close(depth, g.mask_depth, atol=1e-3, share=0.995)
    assert_close(mask, g.mask_warped, atol=1e-3, share=0.995)
    assert_close((mask > 0.5).float(), g.mask_binary, share=0.995)


# ---------------------------------------------------------------------------------------------------------------
# Networks
# ---------------------------------------------------------------------------------------------------------------


@torch.no_grad()
def test_depth_net(golden, seeded_weights):
    g = golden(f"{FOLDER}/depth_diffnet.npz")
    net = fill(HighResolutionDepthNet(), "depth_net", seeded_weights, "depth_diffnet")
    features = [feature for level in net.encoder(g.image) for feature in level]
    for index, feature in enumerate(features):
        assert_close(feature.mean((2, 3)), getattr(g, f"feat_mean_{index:02d}"), rtol=1e-3, atol=1e-4)
    assert_close([feature.std() for feature in features], g.feat_std, rtol=1e-3)
    for scale, sigma in net.scales(g.image):
        assert_close(sigma, getattr(g, f"disp_{scale}"), atol=1e-5)
        assert_close(to_depth(sigma, g.image, scale), getattr(g, f"depth_{scale}"), rtol=1e-3, atol=1e-4)
    assert_close(to_depth(net(g.image), g.image), g.depth_0, rtol=1e-3, atol=1e-4)
    assert sum(p.numel() for p in net.parameters()) == 10_869_100


@torch.no_grad()
def test_pose_net(golden, seeded_weights):
    g = golden(f"{FOLDER}/pose_resnet18.npz")
    net = fill(PoseNet(outputs=12), "pose_net", seeded_weights, "pose_resnet18")
    found = net(*((g.pair - 0.45) / 0.225).split(3, 1))[:, :6]
    assert_close(found[:, :3], g.rot, atol=1e-5)
    assert_close(found[:, 3:], g.trans, atol=1e-5)
    moved = pose.pose_matrix(pose.euler_to_matrix(found[:, :3]), found[:, 3:])
    assert_close(moved, g.T, atol=1e-5)
    assert_close(pose.invert(moved), g.T_invert, atol=1e-5)


@torch.no_grad()
@pytest.mark.parametrize(("updates", "share"), [(1, 1.0), (3, 0.95)])
def test_raft(golden, seeded_weights, updates, share):
    g = golden(f"{FOLDER}/raft.npz")
    net = fill(FlowNet(updates=updates), "flow_net", seeded_weights, "raft")
    assert_close(net(g.image1, g.image2), getattr(g, f"flow_iters{updates}"), atol=1e-2, share=share)
    assert sum(p.numel() for p in net.parameters()) == 5_257_536


@torch.no_grad()
def test_slot_attention(golden, seeded_weights):
    g = golden(f"{FOLDER}/slot_attention.npz")
    net = fill(SlotNet(), "slot_net", seeded_weights, "slot_attention")
    found = net(g.inputs, torch.cat([g.noise_background, g.noise_slots], 1))
    assert_close(found.slots, g.slots, atol=1e-3)
    assert_close(found.masks, g.masks_noz, atol=1e-3)
    assert_close(found.pictures[: len(g.recons)], g.recons, atol=1e-3)
    assert_close(found.combined, g.recon_combined_noz, atol=1e-3)
    assert_close(found.presence, g.z_value, atol=1e-3)
    used = found.without_empty()
    assert_close(used.masks, g.masks_z, atol=1e-3)
    assert_close(used.combined, g.recon_combined_z, atol=1e-3)
    assert_close(used.masks[:, :1], g.bg_mask_subtract, atol=1e-3)
    terms = slot_terms(found, g.inputs, g.dynamic_mask, presence=True, background=True, convention="published")
    weight = emptiness_weight(70_000)
    assert_close(weight, g.z_weight, rtol=1e-6)
    names = {
        "flow": g.loss_flow_recon,
        "depth": g.loss_depth_recon,
        "back_mask": g.loss_bg_mask,
        "back_mask_again": g.loss_bg_mask_subtract,
        "back_flow": g.loss_flow_bg_recon,
        "back_depth": g.loss_depth_bg_recon,
    }
    for name, expected in names.items():
        assert_close(terms[name], expected, rtol=1e-3, atol=1e-6)
    assert_close(weight * terms["empty"], g.loss_z, rtol=1e-3)


def test_slot_inputs(golden):
    g = golden(f"{FOLDER}/slot_inputs.npz")
    for name in ("neg", "pos"):
        flow = getattr(g, f"flow_{name}")[None]
        moves = moving(flow)
        assert_close(moves[0].float(), getattr(g, f"dynamic_{name}"))
        assert_close(bounded_depth(g.depth[None], moves)[0, 0], getattr(g, f"depth_exp_{name}"), atol=1e-5)
    assert_close(motion_colours(g.flow_neg[None])[0].permute(1, 2, 0), g.flow_image_neg, atol=1)


# ---------------------------------------------------------------------------------------------------------------
# Losses and training steps
# ---------------------------------------------------------------------------------------------------------------


def test_single_terms(golden):
    g = golden(f"{FOLDER}/losses.npz")
    near = {"atol": 1e-3, "share": 0.995}
    assert_close(contrast_error(g.ref, g.warped_neg), g.ssim_error_neg, **near)
    error = best_error(g.ref, torch.cat([g.warped_neg, g.warped_pos]))
    counted = error < best_error(g.ref, torch.cat([g.source_neg, g.source_pos]))
    assert_close(error[:, 0], g.photometric_error, **near)
    assert_close(counted[:, 0].float(), g.stationary_mask, share=0.995)
    assert_close(masked_mean(error, counted), g.photometric_loss, rtol=1e-3)
    assert_close(edge_aware_smoothness_loss(g.norm_disp, g.ref), g.smoothness, rtol=1e-3)
    assert_close(motion_sparsity_loss(g.motion), g.motion_sparsity, rtol=1e-3)
    assert_close(steps_inside(g.norm_disp * g.object_mask, g.object_mask), g.object_smoothness, rtol=1e-3)


def test_label_loss(golden):
    g = golden(f"{FOLDER}/losses.npz")
    error, valid = label_error(g.pred_depth, g.label_depth)
    assert_close(error, g.label_error, atol=1e-3, share=0.995)
    assert_close(valid.float(), g.label_valid, share=0.995)
    assert_close(label_loss(g.pred_depth, g.label_depth, g.object_mask), g.label_loss, rtol=1e-3)


class Step:
    """The recorded outputs of the networks, as leaves, and what follows from them."""

    def __init__(self, golden):
        g = self.g = golden(f"{FOLDER}/pixelwise_step.npz")
        self.depth = g.depth_0.requires_grad_()
        self.rot = torch.stack([g.rot_net_neg, g.rot_net_pos]).requires_grad_()
        self.trans = torch.stack([g.trans_net_neg, g.trans_net_pos]).requires_grad_()
        self.flow = torch.cat([g.raft_flow_neg, g.raft_flow_pos]).requires_grad_()
        self.moves = neighbours_from_target(*torch.cat([self.rot, self.trans], 2))
        self.neighbours = torch.cat([g.neg, g.pos])
        self.intrinsics = g.K[:, :3, :3].repeat(2, 1, 1)
        self.seen = seen_by_neighbours(g.ref, self.depth, self.moves, self.intrinsics, "published")

    def motion(self, gate):
        return residual_motion(self.flow, self.seen.depth, self.moves, self.intrinsics, gate, "published")

    def terms(self, motion):
        images, depths = [self.g.ref], [self.depth]
        for scale in (2, 4, 8):
            images.append(torch.nn.functional.avg_pool2d(self.g.ref, scale))
            depths.append(torch.nn.functional.avg_pool2d(self.depth, scale))
        return joint_terms(images, self.neighbours, depths, self.moves, self.intrinsics, motion, "published")


def totals(terms):
    photo = torch.stack([terms[f"photo_{s}"] for s in range(4)]).mean()
    smooth = 0.002 * torch.stack([terms[f"smooth_{s}"] for s in range(4)]).mean()
    return photo, smooth


def assert_same_direction(found, expected):
    assert torch.nn.functional.cosine_similarity(found.flatten(), expected.flatten(), 0) > 0.999


def test_joint_step_without_motion(golden):
    step = Step(golden)
    photo, smooth = totals(step.terms(None).terms)
    assert_close(photo, step.g.epoch0_final_photometric_loss, rtol=1e-3)
    assert_close(smooth, step.g.epoch0_final_depth_smooth, rtol=1e-3)
    (photo + smooth).backward()
    assert_same_direction(step.depth.grad, step.g.grad_epoch0_depth_0)
    assert_same_direction(step.rot.grad, step.g.grad_epoch0_rot)
    assert_same_direction(step.trans.grad, step.g.grad_epoch0_trans)


def test_joint_step_while_motion_warms_up(golden):
    step = Step(golden)
    motion = step.motion("known")
    assert_close(motion[: len(step.depth)], step.g.epoch1_object_motion_neg, atol=1e-3, share=0.99)
    photo, smooth = totals(step.terms(motion).terms)
    assert_close(photo, step.g.epoch1_final_photometric_loss, rtol=1e-3)
    assert_close(smooth, step.g.epoch1_final_depth_smooth, rtol=1e-3)


def test_joint_step_with_everything(golden):
    step = Step(golden)
    g = step.g
    near = {"atol": 1e-3, "share": 0.99}
    assert_close(step.moves, torch.cat([g.T_neg, g.T_pos]), rtol=1e-3, atol=1e-5)
    assert_close(step.seen.depth, torch.cat([g.fw_depth_neg, g.fw_depth_pos]), **near)
    motion = step.motion("large")
    assert_close(motion, torch.cat([g.object_motion_neg, g.object_motion_pos]), **near)
    found = step.terms(motion)
    assert_close(found.pixels, torch.cat([g.uv_neg, g.uv_pos]), **near)
    assert_close(found.warped[: len(step.depth)], g.warped_neg, **near)
    assert_close(found.counted[:, 0].float(), g.stationary_mask, share=0.99)
    for scale in range(4):
        assert_close(found.terms[f"photo_{scale}"], getattr(g, f"epoch5_photometric_loss_{scale}"), rtol=1e-3)
        smooth = 0.002 * found.terms[f"smooth_{scale}"]
        assert_close(smooth, getattr(g, f"epoch5_depth_smooth_{scale}"), rtol=1e-3)
    photo, smooth = totals(found.terms)
    sparsity = 0.02 * found.terms["sparsity"]
    assert_close(photo, g.epoch5_final_photometric_loss, rtol=1e-3)
    assert_close(smooth, g.epoch5_final_depth_smooth, rtol=1e-3)
    assert_close(sparsity, g.epoch5_final_motion_sparsity_loss, rtol=1e-3)
    (photo + smooth + sparsity).backward()
    assert_same_direction(step.depth.grad, g.grad_epoch5_depth_0)
    assert_same_direction(step.rot.grad, g.grad_epoch5_rot)
    assert_same_direction(step.trans.grad, g.grad_epoch5_trans)
    assert_same_direction(step.flow.grad, torch.cat([g.grad_epoch5_flow_neg, g.grad_epoch5_flow_pos]))
    stored = motion_to_store(step.depth, step.moves, step.intrinsics, motion, "published")
    assert_close(stored, torch.cat([g.stored_flow_neg, g.stored_flow_pos]), **near)


def test_final_step(golden):
    g, step = golden(f"{FOLDER}/final_step.npz"), Step(golden)
    found = step.terms(step.motion("large")).terms
    depths = [torch.nn.functional.avg_pool2d(step.depth, 2**scale) for scale in range(4)]
    losses = label_terms(depths, g.pseudo_label, g.object_mask, "published")
    label = torch.where(g.pseudo_label > 0, g.pseudo_label, step.depth)
    for scale, depth in enumerate(depths):
        assert_close(resize(label, depth.shape[-2:]), getattr(g, f"label_{scale}"), rtol=1e-3)
        assert_close(0.1 * losses[f"label_{scale}"], getattr(g, f"dynamic_depth_loss_{scale}"), rtol=1e-3)
        assert_close(found[f"photo_{scale}"], getattr(g, f"photometric_loss_{scale}"), rtol=1e-3)
    assert_close(0.1 * torch.stack(list(losses.values())).mean(), g.final_dynamic_depth_loss, rtol=1e-3)
    photo, smooth = totals(found)
    assert_close(photo, g.final_photometric_loss, rtol=1e-3)
    assert_close(smooth, g.final_depth_smooth, rtol=1e-3)
    assert_close(0.02 * found["sparsity"], g.final_motion_sparsity_loss, rtol=1e-3)


def test_object_step(golden):
    g, step = golden(f"{FOLDER}/object_step.npz"), Step(golden)
    mask = g.object_mask_ref
    neighbours = step.neighbours * torch.cat([g.object_mask_neg, g.object_mask_pos])
    target, near = step.g.ref * mask, {"atol": 1e-3, "share": 0.995}
    found = object_terms(target, neighbours, mask, step.depth, step.moves, step.intrinsics, "published")
    assert_close(step.depth * mask, g.depth_masked, rtol=1e-4)
    assert_close(mask / step.depth, g.disp_masked, rtol=1e-4)
    assert_close(found.pixels, torch.cat([g.uv_neg, g.uv_pos]), **near)
    assert_close(found.warped[: len(mask)], g.warped_neg, **near)
    assert_close(found.counted[:, 0].float(), g.stationary_mask, share=0.995)
    assert_close(found.terms["photo"], g.final_photometric_loss, rtol=1e-3)
    assert_close(found.terms["photo"], g.photometric_loss_0, rtol=1e-3)
    assert_close(0.02 * found.terms["smooth"], g.final_depth_smooth, rtol=1e-3)


# ---------------------------------------------------------------------------------------------------------------
# Ground, objects, scale
# ---------------------------------------------------------------------------------------------------------------


def test_ground_mask(golden):
    g = golden(f"{FOLDER}/ground_mask.npz")
    normals = broad_normals(g.depth, g.K)
    assert_close(normals, g.normals, atol=1e-3)
    assert_close(normals[:, 1:2], g.cosine, atol=1e-3)
    assert_close(ground_mask(g.depth, g.K).float(), g.ground_mask, share=0.995)


@torch.no_grad()
def test_ground_steps(golden, seeded_weights):
    g = golden(f"{FOLDER}/ground_step.npz")
    height, width = g.image.shape[-2:]
    net = fill(GroundNet(height, width, "published"), "ground_net", seeded_weights, "ground_net", golden)
    features = ground_features(g.image, g.depth)
    assert_close(features, g.features, atol=1e-3)
    assert_close(net(features).sigmoid(), g.prediction, atol=1e-3)
    guess = ground_mask(g.depth, g.K).float()
    terms = ground_terms(net, features, guess)
    own, target = self_terms(net, features, guess)
    assert_close(target, g.self_target, share=0.999)
    for step in (0, 20_000, 48_000):
        expected = {key.split("_", 1)[1]: value for key, value in vars(g).items() if key.startswith(f"step{step}_")}
        assert_close(trust(step) * terms["guess"], expected["mask_loss"], rtol=1e-3)
        assert_close(terms["smooth"], expected["smooth_loss"], rtol=1e-3)
        assert_close(trust(step) * terms["guess"] + terms["smooth"], expected["total_loss"], rtol=1e-3)
        weight = self_trust(step)
        total = weight * (own["part"] + own["self"]) + (own["part_smooth"] if weight else 0)
        assert_close(total, expected["self_supervision_total_loss"], rtol=1e-3)
        if weight:
            assert_close(weight * own["part"], expected["bottom_mask_loss"], rtol=1e-3)
            assert_close(own["part_smooth"], expected["bottom_smooth_loss"], rtol=1e-3)
            assert_close(weight * own["self"], expected["self_supervision_loss"], rtol=1e-3)


def test_moving_and_static_objects(golden):
    g = golden(f"{FOLDER}/mask_classification.npz")
    masks, road = g.raw_masks > 0.5, g.road_mask > 0.5
    moves = moving_region(g.flow_neg, g.flow_pos)
    assert_close(moves.float(), g.dynamic_region)
    assert_close(moving_shares(masks, moves), g.moving_fraction, atol=1e-6)
    assert_close(touch_middle(masks), g.touches_middle)
    assert_close(are_dynamic(masks, moves), g.is_dynamic)
    assert_close(masks & ~road, g.processed_masks)
    assert_close((area_shares(masks) > 0.005).nonzero()[:, 0], g.kept_index)


def test_cleaning_of_found_masks(golden):
    g = golden(f"{FOLDER}/mask_classification.npz")
    assert_close(distinct(g.unique_in > 0.5), g.unique_out)
    assert_close(single(g.multi_in > 0.5), g.multi_out)
    assert_close(cleaned(g.unique_in > 0.5, g.road_mask > 0.5), g.full_out)


def test_closer_views(golden):
    g = golden(f"{FOLDER}/mask_augment.npz")
    windows = closer_views(*g.image.shape[-2:])
    for name, window in zip(("left", "right", "middle_left", "middle_right"), windows, strict=True):
        assert_close(zoom(g.image, window), getattr(g, f"aug_{name}"), atol=1e-5)
        assert_close(unzoom(zoom(g.image, window), window), getattr(g, f"inv_{name}"), atol=1e-5)


def test_scale_alignment(golden, seeded_weights):
    g = golden(f"{FOLDER}/dsa_step.npz")
    net = fill(ScaleNet(convention="published"), "scale_net", seeded_weights, "dsa_net")
    found = prepare(g.static_depth, g.object_net_depth, g.object_mask, g.object_bbox_mask, g.road_mask)
    assert_close(found.mask, g.out_object_masks)
    assert_close(found.scene, g.out_masked_static_depth, atol=1e-4)
    assert_close(found.relative, g.out_masked_dynamic_depth, atol=1e-4)
    with torch.no_grad():
        scale = net(g.image, *found)
    assert_close(scale, g.out_predicted_scale, atol=1e-4)
    scaled = scale[..., None, None] * found.relative
    assert_close(scaled, g.out_scaled_dynamic_depth, atol=1e-4)
    assert_close(alignment_loss(scaled, g.static_depth, found.mask, "published"), g.out_loss, rtol=1e-4)


def test_pseudo_label(golden, seeded_weights):
    g = golden(f"{FOLDER}/pseudo_label.npz")
    net = fill(ScaleNet(convention="published"), "scale_net", seeded_weights, "dsa_net")
    count = len(g.object_masks)
    depth, road, image = (x.expand(count, -1, -1, -1) for x in (g.static_depth, g.road_mask, g.image))
    assert_close(dilate(boxes(g.object_masks[:, 0] > 0.5), 2), g.object_boxes_dilated[:, 0])
    found = prepare(depth, g.object_net_depth, g.object_masks, g.object_boxes_dilated, road)
    with torch.no_grad():
        scaled = (net(image, *found) + g.scale_bias_added)[..., None, None] * found.relative
    label = compose_label(g.static_depth[0], scaled)
    assert_close(label, g.pseudo_depth[0], rtol=1e-3)
    assert_close(1 / label, g.pseudo_disp[0], rtol=1e-3)


# ---------------------------------------------------------------------------------------------------------------
# Data and evaluation
# ---------------------------------------------------------------------------------------------------------------


def test_triplets_of_the_published_layout(golden, tmp_path):
    g = golden(f"{FOLDER}/data_item.npz")
    city = tmp_path / "aachen"
    city.mkdir()
    Image.fromarray(g.triplet.numpy()).save(city / "aachen_000000_000004.png")
    (city / "aachen_000000_000004_cam.txt").write_text(",".join(str(float(v)) for v in g.cam_txt))
    sequence = open_sequence(tmp_path)
    clip = read_clip(sequence, (0,), fields=("extra:previous", "extra:next"))
    height, width = g.color_0_0.shape[-2:]
    found = augmentation.prepare(clip, MiningSupervisionConfig(height=height, width=width, convention="published"))
    for index, name in enumerate(("0_0", "neg_0", "pos_0")):
        assert_close(found.images[0, index], getattr(g, f"color_{name}"), atol=2 / 255)
    for scale, image in enumerate(augmentation.pyramid(found.images[:, 0], "published")):
        assert_close(image[0], getattr(g, f"color_0_{scale}"), atol=2 / 255)
        camera = found.cameras[0].resize(width >> scale, height >> scale, "published").matrix()
        assert_close(camera, getattr(g, f"K_{scale}")[:3, :3], rtol=1e-6)
        assert_close(inverse_intrinsics(camera), getattr(g, f"inv_K_{scale}")[:3, :3], rtol=1e-5, atol=1e-7)


def enlarged(small, factor=16):
    return small.repeat_interleave(factor, -2).repeat_interleave(factor, -1)


def test_evaluation_with_regions(golden):
    g = golden(f"{FOLDER}/metrics.npz")
    rows = 3 * g.gt_small.shape[-2] * 16 // 4
    records, predictions = [], {}
    for index, small in enumerate(g.gt_small):
        masks = enlarged(g.instance_masks_small[index]) > 0
        large = masks.flatten(1).float().mean(1) >= 0.005
        moving = (masks & large[:, None, None]).any(0) & bool(g.has_mask_folder[index])
        load = {
            "image": lambda: torch.zeros(3, 8, 8),
            "depth": lambda small=small: enlarged(small[None])[:, :rows],
            "mask:dynamic": lambda moving=moving: moving[None, :rows],
        }
        records.append(Record(str(index), load))
        predictions[str(index)] = Prediction(str(index), 1 / g.pred_disp[index], "up_to_scale", "scene unit")
    result = evaluate(predictions, Sequence("clip", records), PROTOCOLS["mining_supervision"])
    for region in ("all", "static", "dynamic"):
        found = list(result.average(region=region).values())
        assert_close(found, getattr(g, f"errors_{region}"), rtol=1e-4, atol=1e-4)


def test_evaluation_of_single_objects(golden):
    g = golden(f"{FOLDER}/metrics.npz")
    rows, height, width = 3 * g.gt_small.shape[-2] * 16 // 4, *g.object_pred_disp.shape[-2:]
    found = []
    for index, disparity in enumerate(g.object_pred_disp.float()):
        depth = enlarged(g.gt_small[index][None])[:, :rows]
        depth = resize(depth[None], (height, width), "nearest_floor")[0]
        instances = torch.zeros(1, height, width, dtype=torch.int64)
        for number, small in enumerate(g.instance_masks_small[index], 1):
            mask = enlarged(small[None])[None, :, :rows].float()
            instances[resize(mask, (height, width), "nearest_floor")[0] > 0.5] = number
        valid = (depth > 1e-3) & (depth < 80) & (disparity > 0)
        valid[:, : height // 3] = False
        valid[..., : width * 3 // 32] = valid[..., width * 29 // 32 :] = False
        found.append(object_errors(1 / disparity.clamp(min=1e-9), depth, instances, valid))
    assert_close(torch.cat(found).mean(0), g.object_errors, rtol=1e-2, atol=1e-2)
