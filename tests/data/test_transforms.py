"""Whatever is done to the pictures is done to the camera: each pixel keeps the ray it was seen along."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from kinodepth.data import transforms
from kinodepth.types import Camera, Clip, Frame

HEIGHT, WIDTH, FRAMES = 36, 52, 3
CAMERA = Camera(40.0, 44.0, 24.3, 19.1, WIDTH, HEIGHT)


def rays(camera):
    """2 x H x W: x and y of the ray of each pixel at z = 1."""
    y, x = torch.meshgrid(torch.arange(camera.height), torch.arange(camera.width), indexing="ij")
    return torch.stack([(x - camera.cx) / camera.fx, (y - camera.cy) / camera.fy]).float()


def ray_clip(camera=CAMERA):
    """Pictures, depth, prior, masks and flow whose values are the rays of the pixels."""
    x, y = rays(camera)
    images = torch.stack([x, y, torch.ones_like(x)]).expand(1, FRAMES, 3, HEIGHT, WIDTH).clone()
    maps = x.expand(1, FRAMES, 1, HEIGHT, WIDTH).clone()
    ids = (torch.arange(HEIGHT * WIDTH).reshape(HEIGHT, WIDTH) // 7).expand(1, FRAMES, 1, HEIGHT, WIDTH).clone()
    poses = torch.eye(4, dtype=torch.float64).expand(1, FRAMES, 4, 4).clone()
    return Clip(images, (camera,), 0, poses, maps, 2 * maps, {"instances": ids}, {"flow": maps.repeat(1, 1, 2, 1, 1)})


def assert_rays(clip, off=0.0, mirrored=False, border=2):
    """Inside the borders, the values of ``clip`` are the rays of its camera, maps to within ``off``."""
    camera = clip.cameras[0]
    assert (camera.height, camera.width) == clip.images.shape[-2:]
    x, y = rays(camera)
    sign = -1 if mirrored else 1
    inner = (..., slice(border, -border), slice(border, -border))
    for t in range(FRAMES):
        torch.testing.assert_close(sign * clip.images[0, t, 0][inner], x[inner], rtol=0, atol=2e-4)
        torch.testing.assert_close(clip.images[0, t, 1][inner], y[inner], rtol=0, atol=2e-4)
        torch.testing.assert_close(sign * clip.depth[0, t, 0][inner], x[inner], rtol=0, atol=off + 2e-4)
        torch.testing.assert_close(clip.prior_depth[0, t], 2 * clip.depth[0, t])


@settings(max_examples=60, deadline=None)
@given(st.lists(st.sampled_from(["larger", "smaller", "crop", "flip"]), min_size=1, max_size=4), st.data())
def test_any_chain_keeps_the_rays(names, data):
    clip, mirrored, off = ray_clip(), False, 0.0
    for name in names:
        (height, width), old = clip.images.shape[-2:], clip.cameras[0]
        dy, dx = data.draw(st.integers(1, 6)), data.draw(st.integers(1, 6))
        if name == "larger":
            clip = transforms.resize(clip, height + 3 * dy, width + 3 * dx)
        elif name == "smaller":
            clip = transforms.resize(clip, height - dy, width - dx)
        elif name == "crop":
            clip = transforms.crop(clip, dy // 3, dx // 3, height - 3, width - 4)
        else:
            clip, mirrored = transforms.flip(clip), not mirrored
        off += 0.501 / old.fx if name in ("larger", "smaller") else 0.0  # half a pixel of what it is picked from
    assert_rays(clip, off, mirrored, border=4)
    assert set(clip.masks["instances"].unique().tolist()) <= set(range(HEIGHT * WIDTH // 7 + 1))


def test_scale_and_crop_follows_the_camera_and_the_seed():
    camera = Camera(40.0, 44.0, 25.5, 17.5, WIDTH, HEIGHT)
    results = [
        transforms.random_scale_crop(ray_clip(camera), torch.Generator().manual_seed(seed)) for seed in (1, 1, 2)
    ]
    assert torch.equal(results[0].images, results[1].images)
    assert results[0].cameras == results[1].cameras != results[2].cameras
    for clip in results:
        assert clip.images.shape[-2:] == (HEIGHT, WIDTH)
        scale = clip.cameras[0].fx / camera.fx
        assert 1 <= scale < 1.15
        x, y = rays(clip.cameras[0])
        assert (clip.images[0, :, 0] - x)[:, 2:-2, 2:-2].abs().max() < 1.0 / camera.fx
        assert (clip.images[0, :, 1] - y)[:, 2:-2, 2:-2].abs().max() < 1.0 / camera.fy


def test_pad_adds_pixels_without_depth_or_mask():
    clip = transforms.pad(ray_clip(), 3, 1, 2, 4)
    assert clip.images.shape[-2:] == (HEIGHT + 5, WIDTH + 5)
    assert clip.cameras[0] == CAMERA.pad(3, 1, 2, 4)
    assert_rays(transforms.crop(clip, 1, 3, HEIGHT, WIDTH), border=1)
    outside = torch.ones(HEIGHT + 5, WIDTH + 5, dtype=torch.bool)
    outside[1:-4, 3:-2] = False
    for values in (clip.images, clip.depth, clip.masks["instances"]):
        assert not values[..., outside].any()


def test_flip_drops_what_has_no_meaning_in_a_mirror():
    flipped = transforms.flip(ray_clip())
    assert flipped.cam_to_world is None
    assert flipped.extra == {}
    twice = transforms.flip(flipped)
    assert torch.equal(twice.images, ray_clip().images)
    assert twice.cameras[0].cx == pytest.approx(CAMERA.cx)


def test_random_flip_is_fair_and_seeded():
    generator = torch.Generator().manual_seed(0)
    flipped = [transforms.random_flip(ray_clip(), generator).cam_to_world is None for _ in range(200)]
    assert 70 < sum(flipped) < 130


def test_a_frame_is_resized_with_its_camera_and_maps():
    x, y = rays(CAMERA)
    smooth = torch.stack([x, y, torch.zeros_like(x)]) / 4 + 0.5
    frame = Frame("a", smooth, 0.0, CAMERA, None, x[None] + 5, None, {"dynamic": (x > 0)[None]})
    small = transforms.resize_frame(frame, HEIGHT // 2, WIDTH // 2)
    new_x, new_y = rays(small.camera)
    inner = (slice(2, -2), slice(2, -2))
    torch.testing.assert_close(4 * (small.image[0] - 0.5)[inner], new_x[inner], rtol=0, atol=1e-4)
    torch.testing.assert_close(4 * (small.image[1] - 0.5)[inner], new_y[inner], rtol=0, atol=1e-4)
    assert set(small.depth.unique().tolist()) <= set(frame.depth.unique().tolist())
    assert small.masks["dynamic"].dtype == torch.bool
    assert (small.masks["dynamic"][0] == (new_x > 0))[inner].float().mean() > 0.95


def test_colours_change_alike_in_all_images_and_by_the_generator_alone():
    images = torch.rand(1, 3, 16, 24, generator=torch.Generator().manual_seed(0)).expand(2, 3, 16, 24)
    once, again = (transforms.jitter_colors(images, torch.Generator().manual_seed(3)) for _ in range(2))
    assert torch.equal(once, again)
    assert torch.equal(once[0], once[1])
    assert not torch.equal(once, transforms.jitter_colors(images, torch.Generator().manual_seed(4)))
    assert 0.01 < (once - images).abs().mean() < 0.3
    assert 0 <= once.min() <= once.max() <= 1
