"""Mining Supervision beyond recorded numbers: the exact convention, objects, stages, the converter."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from kinodepth.data.clips import read_clip
from kinodepth.data.shards import joined, write_shard
from kinodepth.data.synthetic import sequence
from kinodepth.engine.stages import set_modes
from kinodepth.geometry.camera import back_project, project
from kinodepth.geometry.pose import pose_from_vector, transform
from kinodepth.methods import load
from kinodepth.methods.mining_supervision import convert, detections, ground, motion, recipe, slot_losses
from kinodepth.methods.mining_supervision.alignment import alignment_loss, compose_label, prepare
from kinodepth.methods.mining_supervision.augmentation import chosen, mirrored
from kinodepth.methods.mining_supervision.config import MiningSupervisionConfig
from kinodepth.methods.mining_supervision.joint import label_terms
from kinodepth.methods.mining_supervision.motion import forward_warp, projected
from kinodepth.methods.mining_supervision.objects import boxes, dilate, erode, split_ids, stack_ids
from kinodepth.methods.mining_supervision.scatter import nearest_points
from kinodepth.types import Camera, Clip, InputError

K = torch.tensor([[[30.0, 0, 15.5], [0, 30, 11.5], [0, 0, 1]]])
MOVED = pose_from_vector(torch.tensor([[0.1, -0.05, 0.2, 0.01, -0.02, 0.005]]))


def test_projection_equals_that_of_points():
    depth = 2 + torch.rand(1, 1, 24, 32, generator=torch.Generator().manual_seed(0))
    offset = torch.zeros(1, 3, 24, 32)
    offset[:, 2] = 0.3
    expected, _ = project(transform(MOVED, back_project(depth, K)) + offset, K)
    found = projected(depth, MOVED, K, offset=offset)
    inside = (found > 0).all(1, keepdim=True) & (found[:, :1] < 31) & (found[:, 1:] < 23)
    assert inside.float().mean() > 0.5
    assert torch.allclose(torch.where(inside, found, 0), torch.where(inside, expected, 0), atol=1e-3)


def test_a_view_carried_forward_without_motion_is_itself():
    depth = 2 + torch.rand(2, 1, 24, 32, generator=torch.Generator().manual_seed(1))
    values = torch.rand(2, 3, 24, 32, generator=torch.Generator().manual_seed(2))
    still = torch.eye(4).expand(2, 4, 4)
    image, warped = forward_warp(values, depth, still, K.expand(2, 3, 3))
    assert torch.allclose(warped, depth, atol=1e-5)
    assert torch.allclose(image, values, atol=1e-4)


def test_the_nearer_surface_hides_the_farther():
    depth = torch.full((1, 1, 24, 32), 10.0)
    depth[..., 8:16, 8:16] = 2.0
    sideways = torch.eye(4)[None].clone()
    sideways[:, 0, 3] = 0.5  # 1.5 pixels for the wall, 7.5 for what is before it
    _, warped = forward_warp(depth, depth, sideways, K)
    assert torch.allclose(warped[0, 0, 8:16, 16:23], torch.tensor(2.0))
    assert (warped[0, 0, 9:15, 10:14] == 0).any()  # uncovered
    assert (warped[0, 0, 20, 2:30] - 10).abs().max() < 1e-4


@pytest.mark.parametrize("convention", ["exact", "published"])
@pytest.mark.parametrize("moves", [False, True])
def test_loops_find_what_the_scatter_of_accelerators_finds(convention, moves):
    draws = torch.Generator().manual_seed(4)
    depth = 2 + torch.rand(2, 1, 24, 32, generator=draws)
    depth[:, :, ::5, ::7] = 0
    moved = 3 * torch.randn(2, 3, 24, 32, generator=draws) if moves else None
    matrix = K @ MOVED[:, :3, :3] @ K.inverse() @ motion._fine_grid(K, convention)
    inputs = depth, matrix.expand(2, 3, 3), (K @ MOVED[:, :3, 3:])[..., 0].expand(2, 3), moved
    source, landed = nearest_points(*inputs, motion.FINER, convention == "exact")
    other, also = motion._scattered(*inputs, convention)
    assert landed.count_nonzero() > depth.numel() / 2
    # A point that falls on the border of two pixels may go to either: the ways round differently.
    assert (landed != also).float().mean() < 0.005
    assert (source != other)[landed & also].float().mean() < 0.005


def test_points_behind_the_camera_never_show():
    depth = torch.full((1, 1, 24, 32), 1.0)
    back = torch.eye(4)[None].clone()
    back[:, 2, 3] = -5.0
    assert not forward_warp(depth, depth, back, K)[1].any()
    assert (forward_warp(depth, depth, back, K, convention="published")[1] < 0).any()


def test_the_winning_point_gets_the_gradient():
    depth = (2 + torch.rand(1, 1, 24, 32, generator=torch.Generator().manual_seed(3))).requires_grad_()
    moved = MOVED.clone().requires_grad_()
    _, warped = forward_warp(torch.rand(1, 3, 24, 32), depth, moved, K)
    warped.sum().backward()
    step = 1e-3
    with torch.no_grad():
        farther = moved.clone()
        farther[:, 2, 3] += step
        change = forward_warp(torch.rand(1, 3, 24, 32), depth, farther, K)[1] - warped
        same = change.abs() < 2 * step  # the same point won
        assert torch.allclose(change[same & (warped > 0)].mean() / step, torch.tensor(1.0), atol=0.05)
    assert moved.grad[0, 2, 3] == pytest.approx(float((warped > 0).sum()))


def masks_of(*rectangles, size=(48, 96)):
    masks = torch.zeros(len(rectangles), *size, dtype=torch.bool)
    for mask, (top, left, bottom, right) in zip(masks, rectangles):
        mask[top:bottom, left:right] = True
    return masks


def test_boxes_and_morphology():
    masks = masks_of((10, 20, 20, 40), (0, 0, 5, 5))
    masks[0, 12, 25] = False
    assert torch.equal(boxes(masks), masks_of((10, 20, 20, 40), (0, 0, 5, 5)))
    assert not boxes(torch.zeros(1, 8, 8, dtype=torch.bool)).any()
    grown = dilate(masks_of((10, 20, 20, 40)), 2)
    assert torch.equal(grown, masks_of((6, 16, 24, 44)))
    assert torch.equal(erode(grown, 2), masks_of((10, 20, 20, 40)))


def test_ids_keep_the_smaller_object_in_front():
    masks = masks_of((10, 10, 20, 30), (0, 0, 40, 40))
    ids = stack_ids(masks)
    assert ids[0, 15, 15] == 1
    assert ids[0, 5, 5] == 2
    back = split_ids(ids)
    assert torch.equal(back[0], masks[0])
    assert torch.equal(back[1], masks[1] & ~masks[0])
    assert len(split_ids(torch.zeros(1, 4, 4, dtype=torch.uint8))) == 0


def test_first_objects_stand_on_the_ground_and_move():
    car = masks_of((40, 60, 80, 120), size=(128, 192))[0]
    level = masks_of((70, 0, 128, 90), size=(128, 192))[0]  # seen beside the rear of the car
    slots = torch.stack([~car, car, torch.zeros_like(car)])
    found = detections.first_objects(slots, car, level)
    assert torch.equal(found, (car & ~level)[None])
    assert len(detections.first_objects(slots, torch.zeros_like(car), level)) == 0
    assert len(detections.first_objects(slots, car, torch.zeros_like(car))) == 0


def test_a_level_plane_is_ground_and_a_wall_is_not():
    height, width = 48, 64
    camera = torch.tensor([[[50.0, 0, 31.5], [0, 50, 10.0], [0, 0, 1]]])
    rows = torch.arange(height, dtype=torch.float32)[:, None].expand(height, width)
    floor = (1.5 * 50 / (rows - 10).clamp(min=0.5))[None, None].clamp(max=80)
    assert ground.ground_mask(floor, camera)[..., 30:, :].all()
    assert not ground.ground_mask(torch.full_like(floor, 9.0), camera).any()


def test_labels_take_the_nearest_object():
    depth = torch.full((1, 4, 4), 9.0)
    scaled = torch.zeros(2, 1, 4, 4)
    scaled[0, 0, :2], scaled[1, 0, 1:3] = 5.0, 3.0
    label = compose_label(depth, scaled)
    assert label[0, :, 0].tolist() == [5.0, 3.0, 3.0, 9.0]
    assert torch.equal(compose_label(depth, scaled[:0]), depth)


def test_empty_objects_do_not_dilute_the_loss_unless_published():
    mask = torch.zeros(2, 1, 4, 4)
    mask[0] = 1
    args = torch.full((2, 1, 4, 4), 2.0), torch.ones(2, 1, 4, 4), mask
    assert alignment_loss(*args) == pytest.approx(2 * float(alignment_loss(*args, "published")))


def test_scale_of_a_known_object_is_its_mean_depth():
    depth = 4 + torch.rand(1, 1, 8, 8, generator=torch.Generator().manual_seed(4))
    mask = torch.zeros(1, 1, 8, 8)
    mask[..., 2:6, 2:6] = 1
    found = prepare(depth, 0.1 * depth, mask, mask, torch.zeros_like(mask))
    mean = (depth * mask).sum() / mask.sum()
    assert torch.allclose(mean * found.relative, depth * mask, atol=1e-3)


def test_frames_without_label_do_not_count():
    depths = [torch.rand(2, 1, 16, 16, generator=torch.Generator().manual_seed(5)) + 1]
    label, mask = depths[0].clone(), torch.ones(2, 1, 16, 16)
    label[0, :, 4:8] *= 1.2
    label[1] = 0
    both = label_terms(depths, label, mask, "published")["label_0"]
    assert both > 0
    assert label_terms(depths, label, mask, "exact")["label_0"] == pytest.approx(2 * float(both), rel=0.2)


def object_clip():
    ids = torch.zeros(1, 3, 1, 8, 8, dtype=torch.uint8)
    ids[:, 0, :, 1:4, 1:4], ids[:, 0, :, 5:7, 5:7] = 3, 8
    masks = {"objects": ids, "objects_previous": ids.roll(1, -1), "objects_next": ids.roll(-1, -1)}
    return Clip(torch.rand(1, 3, 3, 8, 8), (Camera(8.0, 8.0, 3.0, 3.5, 8, 8),), masks=masks)


def test_one_object_is_chosen_in_all_views():
    clip = object_clip()
    found = chosen(clip, clip.masks["objects"][:, 0], torch.Generator().manual_seed(0)).masks["object"]
    assert found.shape == (1, 3, 1, 8, 8)
    assert int(found[:, 0].sum()) in (9, 4)
    assert torch.equal(found[0, 1], found[0, 0].roll(1, -1))
    nothing = chosen(clip, torch.zeros(1, 1, 8, 8), torch.Generator()).masks["object"]
    assert not nothing.any()


def test_mirroring_turns_masks_with_the_picture_unless_published():
    clip = replace(object_clip(), extra={"motion": torch.ones(1, 3, 4, 8, 8)})
    found = mirrored(clip, "exact")
    assert torch.equal(found.masks["objects"], clip.masks["objects"].flip(-1))
    assert found.cameras[0].cx == 4.0
    assert found.extra["motion"][0, 0, :, 0, 0].tolist() == [-1, 1, -1, 1]
    published = mirrored(clip, "published")
    assert torch.equal(published.masks["objects"], clip.masks["objects"].flip(-2))
    assert published.cameras == clip.cameras


def test_stages_read_what_earlier_ones_leave():
    for config in (MiningSupervisionConfig(), MiningSupervisionConfig(masks="found")):
        left = {"mask:instances"} if config.masks == "given" else set()
        for stage in recipe.stages(config):
            assert stage.consumes <= left, stage.name
            left |= set(stage.produces)
    names = [stage.name for stage in recipe.stages(MiningSupervisionConfig(masks="found", detector_rounds=2))]
    assert names[2:7] == ["joint", "slots", "ground", "detector_0", "detector_1"]


def test_schedules_reach_their_published_ends():
    assert [ground.trust(step) for step in (0, 47_500, 60_000)] == pytest.approx([1, 0.625, 0.25])
    assert [ground.self_trust(step) for step in (0, 20_000, 30_000)] == pytest.approx([0, 0.25, 0.5])
    assert slot_losses.emptiness_weight(200_000) == pytest.approx(0.002)


def test_every_published_key_has_a_place(tmp_path):
    method = load("mining_supervision")
    config = method.config(pretrained=False, convention="published")
    with torch.device("meta"):
        wanted = method.build(config).state_dict()
    for network in ("depth_net", "pose_net", "flow_net", "scale_net"):
        names = [theirs for theirs, _ in convert.NAMES[network]]
        assert len(set(names)) == len(names)
        ours = tuple(f"{network}.{new.removesuffix('{}')}" for _, new in convert.NAMES[network])
        assert all(key.startswith(ours) for key in wanted if key.startswith(f"{network}."))
    with pytest.raises(InputError, match="there is no file"):
        method.convert(tmp_path / "depth_net.pth")
    torch.save({"module.strange": torch.zeros(1)}, tmp_path / "depth_net.pth")
    with pytest.raises(InputError, match="belongs to no network"):
        method.convert(tmp_path / "depth_net.pth")


def test_published_files_beside_each_other_are_read(tmp_path):
    theirs = {
        f"module.pose_decoder.net.{i}.bias": torch.full((n,), float(i)) for i, n in enumerate((256, 256, 256, 12))
    }
    theirs |= {"module.pose_encoder.encoder.fc.bias": torch.zeros(1000)}
    torch.save(theirs, tmp_path / "pose_net.pth")
    torch.save({"all_feature_extractor.0.weight": torch.ones(64, 5, 7, 7)}, tmp_path / "depth_scale_alignment.pth")
    found = load("mining_supervision").convert(tmp_path / "pose_net.pth")
    assert found.surplus == ("pose_encoder.encoder.fc.bias",)
    assert not found.unexpected
    assert {"pose_net.head.weight", "depth_net.before.bias"} <= set(found.missing)
    for net in ("pose_net", "object_pose_net"):
        assert found.state_dict[f"{net}.head.bias"].tolist() == [3.0] * 12
    assert bool((found.state_dict["scale_net.encoder.body.conv1.weight"] == 1).all())


def test_at_first_every_pixel_has_to_be_explained():
    method, shares = load("mining_supervision"), []
    small = {"height": 64, "width": 96, "pretrained": False, "flow_net": "small", "depth_net": "recurrent"}
    given = sequence(seed=3, kind="room", width=96, height=64, frames=5)
    for convention in ("exact", "published"):
        config = method.config(**small, depth_steps=100, convention=convention)
        torch.manual_seed(0)
        model, stage = method.build(config), method.stages(config)[0]
        clip = stage.augment(read_clip(given, stage.clips(given)[0], 0, stage.fields), torch.Generator().manual_seed(0))
        found = [method.objective(model, clip, replace(stage, done=done), torch.Generator()) for done in (49, 50)]
        shares.append([float(one.scalars["counted_share"]) for one in found])
    (early, late), published = shares
    assert early == 1
    assert late < 1
    assert max(published) < 1


@pytest.mark.long
def test_masks_are_found_stage_by_stage(tmp_path, recwarn):
    method = load("mining_supervision")
    settings = {"height": 64, "width": 96, "batch_size": 2, "found_batch": 2, "pretrained": False, "flow_net": "small"}
    found = {"masks": "found", "slot_size": 32, "detector_side": 64, "detector_rounds": 2}
    config = method.config(**settings, **found)
    torch.manual_seed(0)
    model = method.build(config)
    given = sequence(seed=3, kind="room", width=96, height=64, frames=5)
    for stage in method.stages(config)[2:7]:
        set_modes(model, stage)
        window = stage.clips(given)[0]
        clip = stage.augment(read_clip(given, window, stage.target, stage.fields), torch.Generator().manual_seed(0))
        result = method.objective(model, clip, replace(stage, done=stage.steps * 9 // 10), torch.Generator())
        result.total.backward()
        for part in stage.parts:
            gradients = [p.grad for p in model.get_submodule(part).parameters()]
            assert all(g is not None and torch.isfinite(g).all() for g in gradients), part
        model.eval()
        with torch.no_grad():
            write_shard(tmp_path / stage.name, stage.make(model, given), stage.produces, {})
        given = joined(given, tmp_path / stage.name)
    frame = given.read(1)
    assert {"objects", "objects_previous", "objects_next", "moving_objects", "road"} <= set(frame.masks)
    assert frame.masks["objects"].shape == (1, 64, 96)
    # The nets were never trained: their motion has no objects.
    assert any("no object was found that moves by itself" in str(warning.message) for warning in recwarn)
