"""Smoothness and consistency against NumPy and by hand."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch.autograd import gradcheck

from kinodepth.losses.consistency import depth_inconsistency
from kinodepth.losses.smoothness import edge_aware_smoothness_loss


def random(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def test_smoothness_equals_its_twin():
    depth, image = random(2, 1, 5, 6) + 0.1, random(2, 3, 5, 6, seed=1) * 4 - 2
    relative = depth.numpy() / (depth.numpy().mean((2, 3), keepdims=True) + 1e-7)
    expected = 0.0
    for axis in (2, 3):
        damping = np.exp(-np.abs(np.diff(image.numpy(), axis=axis)).mean(1, keepdims=True))
        expected += (np.abs(np.diff(relative, axis=axis)) * damping).mean()
    assert edge_aware_smoothness_loss(depth, image).item() == pytest.approx(expected, rel=1e-12)
    assert edge_aware_smoothness_loss(7 * depth, image).item() == pytest.approx(expected, rel=1e-5)  # free of scale


def test_a_depth_step_costs_less_at_an_image_edge():
    depth = torch.ones(1, 1, 4, 8)
    depth[..., 4:] = 2
    flat, edge = torch.zeros(1, 3, 4, 8), torch.zeros(1, 3, 4, 8)
    edge[..., 4:] = 1
    on_flat, on_edge = edge_aware_smoothness_loss(depth, flat), edge_aware_smoothness_loss(depth, edge)
    assert (on_edge / on_flat).item() == pytest.approx(np.exp(-1))
    assert edge_aware_smoothness_loss(torch.ones_like(depth), edge).item() == 0


def test_inconsistency_by_hand():
    computed = torch.tensor([[[[2.0, 2.0, 1.0, -1.0, 0.0]]]])
    sampled = torch.tensor([[[[2.0, 1.0, 0.0, 3.0, 0.0]]]])
    assert depth_inconsistency(computed, sampled)[0, 0, 0].tolist() == pytest.approx([0, 1 / 3, 1, 2, 0])


def test_gradients():
    depth, image = (random(1, 1, 4, 5) + 0.1).requires_grad_(), random(1, 3, 4, 5, seed=1).requires_grad_()
    assert gradcheck(edge_aware_smoothness_loss, (depth, image))
    assert gradcheck(depth_inconsistency, (depth, (random(1, 1, 4, 5, seed=2) + 0.1).requires_grad_()))
