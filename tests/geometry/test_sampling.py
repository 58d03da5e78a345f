"""Where a sample is taken: every convention against a plain bilinear reader."""

from __future__ import annotations

import ast
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.autograd import gradcheck

import kinodepth
from geometry.geometry_scenes import read_bilinear
from kinodepth.geometry.camera import pixel_grid
from kinodepth.geometry.sampling import resize, sample


def random(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@pytest.mark.parametrize("mode", ["bilinear", "nearest"])
@pytest.mark.parametrize("padding", ["zeros", "border"])
def test_exact_sampling_at_pixel_centres_returns_the_pixels(mode, padding):
    image = random(2, 3, 6, 9)
    grid = pixel_grid(6, 9, torch.float64).expand(2, -1, -1, -1)
    torch.testing.assert_close(sample(image, grid, padding, mode), image)


def test_conventions_agree_with_a_plain_reader():
    image = random(1, 2, 6, 9)
    pixels = torch.stack((random(1, 5, 7) * 12 - 2, random(1, 5, 7, seed=1) * 9 - 2), 1)
    exact, mixed = sample(image, pixels), sample(image, pixels, convention="mixed_corners")
    for row in range(5):
        for column in range(7):
            x, y = pixels[0, :, row, column].tolist()
            np.testing.assert_allclose(exact[0, :, row, column], read_bilinear(image[0].numpy(), x, y), atol=1e-12)
            slipped = read_bilinear(image[0].numpy(), x * 9 / 8 - 0.5, y * 6 / 5 - 0.5)
            np.testing.assert_allclose(mixed[0, :, row, column], slipped, atol=1e-12)


def test_padding_outside():
    image = random(1, 1, 4, 4)
    outside = torch.tensor([-5.0, 1.0], dtype=torch.float64)[None, :, None, None]
    assert sample(image, outside).item() == 0
    assert sample(image, outside, "border").item() == image[0, 0, 1, 0].item()


def test_half_precision_pictures_are_read_in_the_precision_of_the_places():
    image = random(1, 1, 8, 400).bfloat16()
    grid = pixel_grid(8, 400)[None]
    assert sample(image, grid).dtype == torch.float32
    torch.testing.assert_close(sample(image, grid), image.float(), atol=1e-4, rtol=0)


@pytest.mark.parametrize("size", [(1, 1), (1, 5), (5, 1)])
def test_pictures_one_pixel_wide(size):
    image = random(1, 1, *size)
    torch.testing.assert_close(sample(image, pixel_grid(*size, torch.float64)[None], "border"), image)


def test_resize_keeps_pixel_areas():
    ramp = torch.arange(8.0)[None, None, None].expand(1, 1, 4, 8)
    assert resize(ramp, (2, 4))[0, 0, 0].tolist() == [0.5, 2.5, 4.5, 6.5]
    assert resize(ramp, (4, 8)).equal(ramp)
    assert resize(ramp, (4, 15), align_corners=True)[0, 0, 0, 1].item() == 0.5
    assert resize(ramp, (4, 3), "nearest")[0, 0, 0].tolist() == [1, 4, 6]
    assert resize(ramp, (4, 3), "nearest_floor")[0, 0, 0].tolist() == [0, 2, 5]
    assert resize(ramp, (4, 2), antialias=True).mean().item() == pytest.approx(3.5)


def test_gradients():
    image = random(1, 2, 4, 5).requires_grad_()
    pixels = (random(1, 2, 3, 3) * 3 + 0.31).requires_grad_()
    assert gradcheck(sample, (image, pixels))
    assert gradcheck(lambda i, p: sample(i, p, "border", convention="mixed_corners"), (image, pixels))


def test_nobody_else_samples_or_interpolates():
    source = Path(kinodepth.__file__).parent
    found = []
    for path in source.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            name = getattr(node, "attr", getattr(node, "id", None))
            if name in ("grid_sample", "interpolate", "Upsample", "upsample") and path.name != "sampling.py":
                found.append(f"{path.name}:{node.lineno} {name}")
    assert not found, "sample and resize through geometry/sampling.py"
