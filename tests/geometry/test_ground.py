"""The height above a plane that the test puts there."""

from __future__ import annotations

import math

import pytest
import torch

from kinodepth.geometry.camera import plane_rays
from kinodepth.geometry.ground import ground_plane
from kinodepth.types import Camera

CAMERA = Camera(100.0, 100.0, 79.5, 59.5, 160, 120)


def scene(height: float, pitch: float = 0.0, roll: float = 0.0, wall: float = 12.0) -> torch.Tensor:
    """Depth over a floor ``height`` below a camera pitched down and rolled (degrees), a wall at ``wall``."""
    p, r = math.radians(pitch), math.radians(roll)
    normal = torch.tensor([math.sin(r) * math.cos(p), math.cos(r) * math.cos(p), math.sin(p)], dtype=torch.float64)
    rays = plane_rays(torch.linalg.inv(CAMERA.matrix(torch.float64)), CAMERA.height, CAMERA.width)
    floor = height / (rays * normal[:, None, None]).sum(0)
    return torch.where((floor > 0) & (floor < wall), floor, wall)[None]


@pytest.mark.parametrize(("height", "pitch", "roll"), [(1.5, 0, 0), (0.3, 10, 0), (1.7, 20, 15), (40.0, -5, 3)])
def test_exact_floor(height, pitch, roll):
    ground = ground_plane(scene(height, pitch, roll, wall=12 * height), CAMERA.matrix())
    assert ground.height == pytest.approx(height, rel=5e-3)  # the foot of the wall is near the plane too
    assert ground.on > 0.8
    assert float(ground.normal.norm()) == pytest.approx(1)


def test_things_on_the_floor_and_noise():
    depth = scene(1.5, 5)
    depth[:, 70:, 20:70] = 2.0  # a box in front
    noise = torch.randn(depth.shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    ground = ground_plane(depth * (1 + 0.02 * noise), CAMERA.matrix())
    assert ground.height == pytest.approx(1.5, rel=0.03)


def test_without_a_floor_nothing_is_claimed():
    wall = ground_plane(torch.full((1, 120, 160), 3.0), CAMERA.matrix())
    assert math.isnan(wall.height)
    assert wall.on == 0
    assert math.isnan(ground_plane(torch.zeros(1, 120, 160), CAMERA.matrix()).height)


def test_unknown_pixels_are_left_out():
    depth = scene(1.5)
    depth[:, ::2] = 0
    assert ground_plane(depth, CAMERA.matrix()).height == pytest.approx(1.5, rel=1e-3)
