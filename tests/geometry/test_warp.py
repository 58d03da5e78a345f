"""Warps against an analytic plane and a plain NumPy twin; the forward splat against a loop."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch.autograd import gradcheck

from geometry.geometry_scenes import (
    HEIGHT,
    INTRINSICS,
    WIDTH,
    motion,
    read_bilinear,
    render,
    torch_intrinsics,
)
from kinodepth.geometry import camera, pose, warp


def test_a_source_view_of_a_plane_warps_onto_the_target():
    target, source = render(np.eye(4)), render(motion())
    out = warp.inverse_warp(
        source.image, target.depth, torch.from_numpy(motion())[None], torch_intrinsics(), source_depth=source.depth
    )
    valid = out.valid.expand_as(out.image)
    assert 0.7 < out.valid.double().mean() < 1
    assert (out.image - target.image)[valid].abs().max() < 2e-3  # bilinear reading of a smooth texture
    assert (out.depth - out.z)[out.valid].abs().max() < 2e-3
    wrong = warp.inverse_warp(source.image, target.depth * 1.2, torch.from_numpy(motion())[None], torch_intrinsics())
    assert (wrong.image - target.image)[wrong.valid.expand_as(valid)].abs().max() > 0.05


def twin(convention: str, source: np.ndarray, depth: np.ndarray, transform: np.ndarray, object_motion: np.ndarray):
    """The warp spelled out pixel by pixel: values, z, pixels, valid."""
    values, z = np.zeros((source.shape[0], HEIGHT, WIDTH)), np.zeros((HEIGHT, WIDTH))
    pixels, valid = np.zeros((2, HEIGHT, WIDTH)), np.zeros((HEIGHT, WIDTH), bool)
    for v in range(HEIGHT):
        for u in range(WIDTH):
            point = depth[v, u] * np.linalg.inv(INTRINSICS) @ [u, v, 1]
            moved = transform[:3, :3] @ point + transform[:3, 3] + object_motion[:, v, u]
            q = INTRINSICS @ moved
            z[v, u] = q[2]
            x, y = q[:2] / (q[2] + 1e-7 if convention == "published" else max(q[2], 1e-7))
            pixels[:, v, u] = x, y
            if convention == "published":
                values[:, v, u] = read_bilinear(source, x * WIDTH / (WIDTH - 1) - 0.5, y * HEIGHT / (HEIGHT - 1) - 0.5)
            else:
                values[:, v, u] = read_bilinear(source, x, y)
            valid[v, u] = q[2] > 0 and 0 <= x <= WIDTH - 1 and 0 <= y <= HEIGHT - 1
    return values, z, pixels, valid


@pytest.mark.parametrize("convention", ["exact", "published"])
def test_inverse_warp_equals_its_twin(convention):
    rng = np.random.default_rng(0)
    source, depth = rng.uniform(size=(3, HEIGHT, WIDTH)), rng.uniform(0.5, 3, (HEIGHT, WIDTH))
    object_motion = rng.normal(size=(3, HEIGHT, WIDTH)) * 0.1
    transform = motion((0.1, 0.2, -0.1), (0.5, 0.1, -1.0))  # many points come to lie behind the source
    expected = twin(convention, source, depth, transform, object_motion)
    tensors = [torch.from_numpy(a)[None] for a in (source, depth[None], transform)]
    out = warp.inverse_warp(
        *tensors, torch_intrinsics(), object_motion=torch.from_numpy(object_motion)[None], convention=convention
    )
    assert (expected[1] < 0).any()
    for found, value in zip((out.image, out.z[:, 0], out.pixels), expected):
        np.testing.assert_allclose(found[0], value, atol=1e-8, rtol=1e-6)
    assert (out.valid[0, 0].numpy() == expected[3]).mean() > 0.999  # within a thousandth of a pixel of the border
    assert not out.valid[0, 0][torch.from_numpy(expected[1] <= 0)].any()


def test_standing_still_changes_nothing_and_everything_is_valid():
    view = render(np.eye(4))
    image, depth = view.image.float(), view.depth.float()
    out = warp.inverse_warp(image, depth, torch.eye(4)[None], torch_intrinsics().float(), source_depth=depth)
    assert out.valid.all()
    torch.testing.assert_close(out.image, image, atol=1e-3, rtol=0)
    torch.testing.assert_close(out.z, depth)


def test_a_batch_is_its_items():
    views = [render(np.eye(4)), render(motion())]
    image, depth = torch.cat([v.image for v in views]), torch.cat([v.depth for v in views])
    transforms = torch.from_numpy(np.stack((motion(), np.linalg.inv(motion()))))
    intrinsics = torch.cat((torch_intrinsics(), torch_intrinsics() * torch.tensor([1.1, 1.1, 1.0])[:, None]))
    both = warp.inverse_warp(image, depth, transforms, intrinsics, source_depth=depth)
    for b in range(2):
        one = slice(b, b + 1)
        single = warp.inverse_warp(image[one], depth[one], transforms[one], intrinsics[one], source_depth=depth[one])
        for found, expected in zip(single, both):
            torch.testing.assert_close(found, expected[one])


def test_a_source_camera_of_its_own():
    target, source = render(np.eye(4)), render(motion())
    half = torch.tensor([[0.5, 0, -0.25], [0, 0.5, -0.25], [0, 0, 1]], dtype=torch.float64)
    small = torch.nn.functional.avg_pool2d(source.image, 2)
    out = warp.inverse_warp(
        small,
        target.depth,
        torch.from_numpy(motion())[None],
        torch_intrinsics(),
        source_intrinsics=half @ torch_intrinsics(),
    )
    assert (out.image - target.image)[out.valid.expand_as(out.image)].abs().max() < 2e-2


def test_rotation_warp_equals_a_warp_at_any_depth():
    view, turn = render(np.eye(4)), motion(shift=(0, 0, 0))
    turned = warp.rotation_warp(view.image, torch.from_numpy(turn[:3, :3])[None], torch_intrinsics())
    out = warp.inverse_warp(view.image, view.depth * 7, torch.from_numpy(turn)[None], torch_intrinsics())
    torch.testing.assert_close(turned, out.image, atol=1e-10, rtol=0)


def test_rigid_flow_and_object_motion():
    """An object that turns about its own centre: its exact field makes the flow (spec rm_depth 2)."""
    target, ego = render(np.eye(4)), motion()
    points = camera.back_project(target.depth, torch_intrinsics())
    own, center = motion((0.2, 0.1, -0.3), (0.05, 0.02, 0.1)), np.array([0.1, 0.2, 4.0])
    p = points[0].numpy().reshape(3, -1)
    displaced = own[:3, :3] @ (p - center[:, None]) + center[:, None] + own[:3, 3:]
    field = (ego[:3, :3] @ (displaced - p)).reshape(1, 3, HEIGHT, WIDTH)
    expected = INTRINSICS @ (ego[:3, :3] @ displaced + ego[:3, 3:])
    expected = (expected[:2] / expected[2]).reshape(1, 2, HEIGHT, WIDTH) - np.mgrid[:HEIGHT, :WIDTH][::-1]
    arguments = (target.depth, torch.from_numpy(ego)[None], torch_intrinsics())
    np.testing.assert_allclose(warp.rigid_flow(*arguments, torch.from_numpy(field)), expected, atol=1e-9)
    pixels, _ = warp.reproject(*arguments)
    grid = camera.pixel_grid(HEIGHT, WIDTH, torch.float64)
    torch.testing.assert_close(warp.rigid_flow(*arguments), pixels - grid)
    assert (warp.rigid_flow(*arguments) - torch.from_numpy(expected)).abs().max() > 1


def splat_by_loop(values: np.ndarray, pixels: np.ndarray, z: np.ndarray):
    _, height, width = values.shape
    out, buffer = np.zeros_like(values), np.zeros((height, width))
    for v in range(height):
        for u in range(width):
            x, y = np.round(pixels[:, v, u])
            if not (0 <= x < width and 0 <= y < height and z[v, u] > 0):
                continue
            x, y = int(x), int(y)
            if buffer[y, x] == 0 or z[v, u] < buffer[y, x]:
                out[:, y, x], buffer[y, x] = values[:, v, u], z[v, u]
    return out, buffer


@pytest.mark.parametrize("seed", range(3))
def test_forward_splat_equals_a_loop(seed):
    rng = np.random.default_rng(seed)
    values = rng.normal(size=(2, 4, 9, 12)).astype(np.float32)
    pixels = rng.uniform(-3, 14, size=(2, 2, 9, 12)).astype(np.float32)
    z = rng.choice([-1.0, 0.0, 1.0, 1.5, 2.0, 3.0], size=(2, 1, 9, 12)).astype(np.float32)  # many ties
    out, buffer, filled = warp.forward_splat(*map(torch.from_numpy, (values, pixels, z)))
    for b in range(2):
        expected, expected_buffer = splat_by_loop(values[b], pixels[b], z[b, 0])
        np.testing.assert_array_equal(out[b], expected)
        np.testing.assert_array_equal(buffer[b, 0], expected_buffer)
        np.testing.assert_array_equal(filled[b, 0], expected_buffer > 0)


def test_forward_splat_of_a_plane_gives_the_depth_of_the_other_view():
    target, source = render(np.eye(4)), render(motion())
    pixels, z = warp.reproject(target.depth, torch.from_numpy(motion())[None], torch_intrinsics())
    _, buffer, filled = warp.forward_splat(target.image, pixels, z)
    assert filled.double().mean() > 0.5
    assert (buffer - source.depth)[filled].abs().max() < 0.1  # half a pixel on a slanted plane


def test_forward_splat_drops_what_is_not_a_number_and_may_be_empty():
    values, pixels, z = (
        torch.ones(1, 1, 2, 2),
        torch.zeros(1, 2, 2, 2),
        torch.tensor([[[[torch.nan, -1], [torch.inf, 0]]]]),
    )
    out, buffer, filled = warp.forward_splat(values, pixels, z)
    assert not filled.any()
    assert out.eq(0).all()
    assert buffer.eq(0).all()
    out, _, filled = warp.forward_splat(values, pixels + torch.nan, torch.ones(1, 1, 2, 2))
    assert not filled.any()


def test_gradients():
    generator = torch.Generator().manual_seed(0)

    def random(*shape: int) -> torch.Tensor:
        return torch.rand(*shape, generator=generator, dtype=torch.float64).requires_grad_()

    intrinsics = torch.tensor([[[6.0, 0, 2.3], [0, 5.0, 1.7], [0, 0, 1]]], dtype=torch.float64, requires_grad=True)
    vector = (torch.tensor([[0.1, -0.1, 0.2, 0.05, 0.02, -0.03]], dtype=torch.float64)).requires_grad_()
    depth, source, source_depth, object_motion = (
        random(1, 1, 3, 4),
        random(1, 2, 3, 4),
        random(1, 1, 3, 4),
        random(1, 3, 3, 4),
    )

    for convention in ("exact", "published"):

        def run(source, depth, vector, intrinsics, source_depth, object_motion, convention=convention):
            transform = pose.pose_from_vector(vector)
            out = warp.inverse_warp(
                source, depth + 1, transform, intrinsics, source_depth, None, object_motion * 0.1, convention=convention
            )
            return out.image, out.depth, out.z, out.pixels

        assert gradcheck(run, (source, depth, vector, intrinsics, source_depth, object_motion))
    assert gradcheck(
        lambda s, v: warp.rotation_warp(s, pose.euler_to_matrix(v[:, 3:]), intrinsics.detach()), (source, vector)
    )
    places = random(1, 2, 3, 4).detach() * 4
    assert gradcheck(lambda values, z: warp.forward_splat(values, places, z + 1)[:2], (source, depth))


@pytest.mark.parametrize("convention", ["exact", "published"])
@pytest.mark.parametrize("depth_value", [0.0, 1e-30, 1.0, 1e6])
@pytest.mark.parametrize("shift", [0.0, -1e-7, -1.0, 100.0])
def test_extreme_depths_and_motions_keep_everything_finite(convention, depth_value, shift):
    image = torch.rand(1, 3, 8, 9)
    depth = torch.full((1, 1, 8, 9), depth_value, requires_grad=True)
    vector = torch.tensor([[0.0, 0.0, shift, 0.0, 0.0, 0.0]], requires_grad=True)
    out = warp.inverse_warp(
        image, depth, pose.pose_from_vector(vector), torch_intrinsics().float(), depth, convention=convention
    )
    (out.image.sum() + out.depth.sum() + out.z.sum()).backward()
    for values in (out.image, out.depth, out.pixels, depth.grad, vector.grad):
        assert values.isfinite().all()
