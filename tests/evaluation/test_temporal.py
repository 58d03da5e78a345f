import pytest
import torch
from evaluation_scenes import CAMERA, make_predictions, make_sequence, random_depths, square_mask

from kinodepth.evaluation.clip import evaluate
from kinodepth.evaluation.protocols import get
from kinodepth.evaluation.temporal import pair_consistency

STILL = [torch.eye(4, dtype=torch.float64)] * 8


def jittered(amount, depth):
    generator = torch.Generator().manual_seed(3)
    noise = torch.randn(8, generator=generator)
    return [depth * float((amount * noise[i]).exp()) for i in range(8)]


def temporal(predictions, depths, poses, scale="up_to_scale"):
    sequence = make_sequence(depths, poses=poses, camera=CAMERA)
    return evaluate(make_predictions(predictions, scale), sequence, get("generic")).temporal


def test_zero_on_a_constant_scene_and_rising_with_scale_jitter():
    """users.md item 3."""
    depth = random_depths(1)[0]
    errors, jitters = [], []
    for amount in (0.0, 0.01, 0.03, 0.1, 0.3):
        found = temporal(jittered(amount, depth), [depth] * 8, STILL)
        errors.append(found["temporal_abs_rel"])
        jitters.append(found["temporal_scale_jitter"])
    assert errors[0] < 1e-9
    assert jitters[0] < 1e-9
    assert errors == sorted(errors)
    assert jitters == sorted(jitters)
    assert errors[2] > 0.01
    assert jitters[-1] == pytest.approx(30 * jitters[1], rel=1e-3)


def wall(z):
    """A frontal wall at distance ``z`` seen from a camera that has come closer."""
    return torch.full((1, 32, 48), float(z))


def test_camera_motion_is_taken_out_also_without_metric_scale():
    depths = [wall(10 - i) for i in range(8)]
    poses = [torch.eye(4, dtype=torch.float64) for _ in range(8)]
    for i, pose in enumerate(poses):
        pose[2, 3] = i
    metric = temporal(depths, depths, poses, "metric")
    relative = temporal([depth / 4 for depth in depths], depths, poses)
    assert metric["temporal_abs_rel"] < 1e-6
    assert relative["temporal_abs_rel"] < 1e-6
    assert temporal([wall(10)] * 8, depths, poses, "metric")["temporal_abs_rel"] == pytest.approx(1 / 11)
    assert metric["temporal_pairs"] == 7


def test_moving_pixels_are_left_out_and_lost_poses_break_the_chain():
    depth = wall(10)
    mask = square_mask(5, 5)
    moving = [torch.where(mask, 5.0 - 0.5 * i, depth) for i in range(8)]
    poses = list(STILL)
    poses[3] = torch.full((4, 4), float("nan"), dtype=torch.float64)
    sequence = make_sequence(moving, [mask] * 8, poses, CAMERA)
    found = evaluate(make_predictions(moving), sequence, get("generic")).temporal
    assert found["temporal_abs_rel"] < 1e-9
    assert found["temporal_pairs"] == 5
    unmasked = evaluate(make_predictions(moving), make_sequence(moving, None, poses, CAMERA), get("generic")).temporal
    assert unmasked["temporal_abs_rel"] > 1e-3


def test_flow_can_give_the_places():
    x = torch.arange(48.0).expand(1, 32, 48) + 10
    flow = torch.zeros(2, 32, 48)
    flow[0] = 2.0
    eye = torch.eye(4, dtype=torch.float64)
    k = CAMERA.matrix(torch.float64)
    assert pair_consistency(x, x - 2, eye, k, optical_flow=flow)[0] < 1e-9
    assert pair_consistency(x, x, eye, k, optical_flow=flow)[0] > 0.01


def test_without_poses_nothing_is_claimed():
    depths = random_depths(3)
    assert evaluate(make_predictions(depths), make_sequence(depths), get("generic")).temporal == {}
