"""Plane-sweep volumes: against a pixel-by-pixel twin in float64, both forms against each other, gradients."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from kinodepth.geometry import cost_volume
from kinodepth.geometry.cost_volume import plane_sweep_volume
from kinodepth.geometry.depth import plane_depths
from kinodepth.geometry.pose import euler_to_matrix, pose_matrix

MOVES = {  # Euler angles, metres
    "sideways": ((0.0, 0.05, 0.0), (0.15, 0.02, 0.01)),
    "forwards": ((0.02, 0.0, 0.1), (0.02, -0.03, -0.6)),  # nearer planes lie behind the measurement camera
    "turned": ((0.0, 2.8, 0.0), (0.1, 0.0, 0.2)),
    "far away": ((0.0, 0.0, 0.0), (400.0, 0.0, 0.0)),
}


def scene(height=20, width=37, channels=6, views=("sideways",), batch=1, dtype=torch.float32):
    generator = torch.Generator().manual_seed(0)
    reference = torch.rand(batch, channels, height, width, generator=generator, dtype=torch.float64) - 0.5
    measured = torch.rand(batch, len(views), channels, height, width, generator=generator, dtype=torch.float64) - 0.5
    poses = [pose_matrix(euler_to_matrix(torch.tensor(r)), torch.tensor(t)) for r, t in map(MOVES.get, views)]
    moves = torch.stack(poses).expand(batch, -1, 4, 4)
    intrinsics = torch.tensor([[30.0, 0.0, 17.3], [0.0, 28.0, 9.1], [0.0, 0.0, 1.0]]).expand(batch, 3, 3)
    depths = plane_depths(9, 0.25, 20)
    return [value.to(dtype) for value in (reference, measured, moves, intrinsics, depths)]


def twin(reference, measured, moves, intrinsics, depths, convention):
    """One item and view in plain NumPy: project every pixel of every plane, blend its four neighbours."""
    f, g, m, k, d = (
        value.double().numpy() for value in (reference[0], measured[0, 0], moves[0, 0], intrinsics[0], depths)
    )
    channels, height, width = f.shape
    padded = np.pad(g, ((0, 0), (1, 2), (1, 2)))
    volume = np.zeros((len(d), height, width))
    for i, depth in enumerate(d):
        for v in range(height):
            for u in range(width):
                q = k @ (m[:3, :3] @ np.linalg.inv(k) @ (u, v, 1) * depth + m[:3, 3])
                if convention == "exact" and q[2] <= 0:
                    continue
                x, y = q[:2] / q[2]
                if convention == "published":
                    x, y = x * (width - 1) / width, y * (height - 1) / height
                x, y = np.clip(x + 1, 0, width + 1), np.clip(y + 1, 0, height + 1)
                left, top = math.floor(x), math.floor(y)
                a, b = x - left, y - top
                cell = padded[:, top : top + 2, left : left + 2]
                value = (1 - b) * ((1 - a) * cell[:, 0, 0] + a * cell[:, 0, 1])
                value = value + b * ((1 - a) * cell[:, 1, 0] + a * cell[:, 1, 1])
                volume[i, v, u] = value @ f[:, v, u] / channels
    return volume


@pytest.mark.parametrize("convention", ["exact", "published"])
@pytest.mark.parametrize("move", MOVES)
def test_is_the_pixel_by_pixel_twin(move, convention):
    inputs = scene(views=(move,))
    expected = twin(*inputs, convention)
    np.testing.assert_allclose(plane_sweep_volume(*inputs, convention)[0], expected, atol=2e-5)
    double = [value.double() for value in inputs]  # goes through the differentiable form
    np.testing.assert_allclose(plane_sweep_volume(*double, convention)[0], expected, atol=1e-6)


@pytest.mark.parametrize("convention", ["exact", "published"])
def test_both_forms_agree_on_views_and_batches(convention, monkeypatch):
    inputs = scene(40, 52, views=tuple(MOVES)[:3], batch=2)
    swept = plane_sweep_volume(*inputs, convention)
    monkeypatch.setattr(cost_volume._Swept, "apply", cost_volume._sampled_volume)
    sampled = plane_sweep_volume(*inputs, convention)
    assert swept.count_nonzero() > swept.numel() / 4
    torch.testing.assert_close(swept, sampled, rtol=0, atol=2e-5)


def test_identity_reproduces_self_correlation_unless_published():
    reference, *_, intrinsics, depths = scene()
    inputs = (reference, reference[:, None], torch.eye(4)[None, None], intrinsics, depths)
    own = reference.square().mean(1, keepdim=True).expand(-1, len(depths), -1, -1)
    torch.testing.assert_close(plane_sweep_volume(*inputs), own, rtol=0, atol=1e-5)
    assert (plane_sweep_volume(*inputs, "published") - own).abs().max() > 0.1 * own.max()


def test_the_right_plane_scores_best():
    """A fronto-parallel wall seen from the side: features move by f t / d."""
    generator = torch.Generator().manual_seed(1)
    depths, focal = torch.tensor([8.0, 4.0, 2.0, 1.0]), 32.0
    wall = torch.randn(1, 256, 12, 60, generator=generator)
    shift = int(focal * 0.25 / 2.0)
    move = torch.eye(4)
    move[0, 3] = -0.25  # the measurement camera stands 0.25 m to the right
    intrinsics = torch.tensor([[focal, 0.0, 20.0], [0.0, focal, 6.0], [0.0, 0.0, 1.0]])[None]
    measured = wall[None, ..., shift : shift + 48]
    volume = plane_sweep_volume(wall[..., :48], measured, move[None, None], intrinsics, depths)
    assert (volume.argmax(1)[..., 10:] == 2).all()


def test_gradients_are_those_of_finite_differences():
    reference, measured, *rest = scene(4, 5, 2, views=("sideways", "forwards"), dtype=torch.float64)
    rest[-1] = rest[-1][:3]
    reference.requires_grad_()
    measured.requires_grad_()
    assert torch.autograd.gradcheck(lambda f, g: plane_sweep_volume(f, g, *rest), (reference, measured))


def test_autocast_does_not_round_pixels():
    features, *rest = scene()
    features.requires_grad_()
    with torch.autocast("cpu", torch.bfloat16):
        low = plane_sweep_volume(features, *rest)
        low_gradients = torch.autograd.grad(low.sum(), features)
    full = plane_sweep_volume(features, *rest)
    assert torch.equal(low, full)
    assert torch.equal(*low_gradients, *torch.autograd.grad(full.sum(), features))


@pytest.mark.parametrize("convention", ["exact", "published"])
@pytest.mark.parametrize("views", [*((move,) for move in MOVES), tuple(MOVES)], ids="+".join)
def test_gradients_in_float32_are_those_of_the_sampler_in_float64(views, convention):
    """They take different ways. Of some planes nothing is in view."""
    found = []
    for dtype in (torch.float32, torch.float64):
        reference, measured, *rest = scene(40, 52, views=views, batch=2, dtype=dtype)
        features = [reference.requires_grad_(), measured.requires_grad_()]
        volume = plane_sweep_volume(*features, *rest, convention)
        wanted = torch.rand(volume.shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
        found.append(torch.autograd.grad((volume * wanted).sum(), features))
    for low, high in zip(*found):
        assert high.any() or len(views) == 1  # all may be behind or out of view
        torch.testing.assert_close(low.double(), high, rtol=0, atol=1e-4 * float(high.abs().max()))


def test_gradients_do_not_depend_on_the_layout_of_what_comes_in():
    reference, measured, *rest = scene(views=tuple(MOVES)[:2], batch=2)
    found = []
    for layout in (torch.contiguous_format, torch.channels_last):
        features = [reference.contiguous(memory_format=layout), measured.transpose(0, 1).contiguous().transpose(0, 1)]
        volume = plane_sweep_volume(*(one.requires_grad_() for one in features), *rest)
        wanted = torch.rand(volume.shape, generator=torch.Generator().manual_seed(1)).contiguous(memory_format=layout)
        found.append(torch.autograd.grad(volume, features, wanted))
    for one, other in zip(*found):
        assert torch.equal(one, other)
