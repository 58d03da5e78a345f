"""A moving box: with object motion its depth is found, as a rigid scene it is not (spec rm_depth 11, test 10).

A camera that travels to the right sees a wall at 10 and a box at 5, which moves up: no depth of a rigid scene explains
that.
"""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from kinodepth.geometry.camera import pixel_grid
from kinodepth.geometry.depth import sigmoid_to_depth
from kinodepth.geometry.pose import pose_matrix
from kinodepth.geometry.sampling import resize
from kinodepth.losses.smoothness import edge_aware_smoothness_loss
from kinodepth.methods import load
from kinodepth.methods.rm_depth import motion_losses
from kinodepth.methods.rm_depth.objective import Pairs, photometric_loss
from kinodepth.methods.rm_depth.photometric import target_statistics
from kinodepth.types import Camera, Clip, Frame

HEIGHT, WIDTH, FOCAL = 64, 96, 60.0
WALL, BOX = 10.0, 5.0  # depths
STEP, RISE = 0.35, 0.4  # of camera and box from frame to frame
CAMERA = Camera(FOCAL, FOCAL, 47.5, 31.5, WIDTH, HEIGHT)


def texture(x, y, seed):
    """Smooth colours 3 x H x W of points on a plane."""
    draws = torch.rand(3, 6, 3, generator=torch.Generator().manual_seed(seed))
    waves = (x * 5 * (draws[..., 0, None, None] - 0.5) + y * 5 * (draws[..., 1, None, None] - 0.5)
             + 6.3 * draws[..., 2, None, None]).sin()  # fmt: skip
    return 0.5 + 0.4 * waves.mean(1) * 6**0.5 / 1.5


def look(time):
    """Image, depth and box mask of the camera at ``time`` frames."""
    x, y = pixel_grid(HEIGHT, WIDTH)
    x, y = (x - CAMERA.cx) / FOCAL, (y - CAMERA.cy) / FOCAL
    wall = texture(x * WALL + STEP * time, y * WALL, 1)
    across, down = x * BOX + STEP * time, y * BOX + RISE * time
    box = (across.abs() < 1.6) & (down.abs() < 1.2)
    return torch.where(box, texture(2 * across, 2 * down, 2), wall).clamp(0, 1), torch.where(box, BOX, WALL), box


@pytest.fixture(scope="module")
def video():
    """Target, the frames before and after it, true depth and box of the target."""
    (image, depth, box), before, after = look(0), look(-1)[0], look(1)[0]
    return Clip(torch.stack([image, before, after])[None], (CAMERA,)), depth, box


def error_in_box(depth, truth, box):
    """AbsRel in the box after median scaling of the wall."""
    scaled = depth[0, 0] * truth[~box].median() / depth[0, 0][~box].median()
    return ((scaled - truth).abs() / truth)[box].mean().item()


def test_the_losses_tell_depth_and_motion_apart(video):
    """Depth and motion as free coarse maps, with the camera's motion known: what the losses alone ask for."""
    clip, truth, box = video
    images = clip.images[0]
    target, sources = images[:1].expand(2, -1, -1, -1), images[1:]
    pairs = Pairs(target, sources, clip.intrinsics.expand(2, -1, -1), target_statistics(target), 2)
    move = pose_matrix(torch.eye(3).expand(2, 3, 3), torch.tensor([[STEP, 0, 0], [-STEP, 0, 0]]))
    errors = {}
    for moves in (True, False):
        disparity = torch.full((1, 1, HEIGHT // 4, WIDTH // 4), -2.0, requires_grad=True)
        motion = torch.zeros(2, 3, HEIGHT // 4, WIDTH // 4, requires_grad=True)
        optimizer = torch.optim.Adam([{"params": [disparity], "lr": 0.03}, {"params": [motion], "lr": 0.01}])
        for _ in range(100):
            sigma = disparity.sigmoid()
            depth = sigmoid_to_depth(resize(sigma, (HEIGHT, WIDTH)), 1.0, 100.0)
            field = resize(motion, (HEIGHT, WIDTH)) if moves else None
            loss = photometric_loss(pairs.errors(depth, move, field), None)
            loss = loss + 1e-3 * edge_aware_smoothness_loss(sigma, resize(images[:1], sigma.shape[-2:]))
            if field is not None:
                rigid = motion_losses.rigid_by_size(field)
                loss = loss + 0.2 * motion_losses.outlier_aware_loss(field, move[:, :3, 3], rigid)
                loss = loss + 0.1 * motion_losses.group_smoothness_loss(field, move[:, :3, 3])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        errors[moves] = error_in_box(depth.detach(), truth, box)
    assert errors[True] < 0.6 * errors[False], errors


@pytest.mark.long
def test_the_whole_model_finds_the_box_and_without_object_motion_less_so(video):
    """Both networks, trained on the three pictures alone; nothing is known but the camera's intrinsics."""
    clip, truth, box = video
    method, errors = load("rm_depth"), {}
    small = {"height": HEIGHT, "width": WIDTH, "batch_size": 1, "pretrained": False, "steps": 100, "burn_in": 0.5}
    for moves in (True, False):
        torch.manual_seed(0)
        config = method.config(**small, object_motion=moves)
        model, stage = method.build(config).train(), method.stages(config)[0]
        optimizer, draws = torch.optim.Adam(model.parameters(), lr=5e-4), torch.Generator().manual_seed(0)
        for step in range(config.steps):
            optimizer.zero_grad()
            method.objective(model, clip, replace(stage, done=step), draws).total.backward()
            optimizer.step()
        prediction, _ = method.predictor(model.eval()).step(Frame("", clip.images[0, 0]), None)
        errors[moves] = error_in_box(prediction.depth[None], truth, box)
    assert errors[True] < 0.9 * errors[False], errors
