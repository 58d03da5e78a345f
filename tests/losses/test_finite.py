"""Whatever the pictures and depths, losses and gradients are finite numbers."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from kinodepth.geometry import pose, warp
from kinodepth.geometry.normals import normals_from_depth
from kinodepth.losses import consistency, photometric, reduction, smoothness

SHAPE = (2, 8, 10)
constants = st.sampled_from([0.0, 1.0, -2.0, 2.4444, 255.0, 1e-20])
pictures = st.one_of(constants, st.just("noise"), st.just("saturated"), st.just("half black"))
depths = st.one_of(st.sampled_from([0.0, 1e-20, 0.1, 1.0, 100.0]), st.just("noise"), st.just("half black"))


def make(kind: float | str, channels: int) -> torch.Tensor:
    noise = torch.rand(SHAPE[0], channels, *SHAPE[1:], generator=torch.Generator().manual_seed(0))
    if kind == "noise":
        return noise
    if kind == "saturated":
        return noise.round()
    if kind == "half black":
        noise[..., :5] = 0
        return noise
    return torch.full_like(noise, float(kind))


@given(
    pictures,
    pictures,
    depths,
    depths,
    st.sampled_from([0.0, 0.01, -1.0, 10.0]),
    st.sampled_from(["exact", "published"]),
)
@settings(max_examples=60, deadline=None)
def test_every_loss_and_gradient_is_finite(kind_a, kind_b, kind_depth, kind_other, shift, convention):
    a, b = make(kind_a, 3).requires_grad_(), make(kind_b, 3).requires_grad_()
    depth, other = make(kind_depth, 1).requires_grad_(), make(kind_other, 1).requires_grad_()
    vector = torch.tensor([[shift, 0.0, shift, 0.0, shift, 0.0]]).repeat(2, 1).requires_grad_()
    intrinsics = torch.tensor([[9.0, 0, 4.5], [0, 9.0, 3.5], [0, 0, 1]]).expand(2, 3, 3)
    out = warp.inverse_warp(b, depth, pose.pose_from_vector(vector), intrinsics, other, convention=convention)
    inconsistency = consistency.depth_inconsistency(out.z, out.depth)
    terms = {
        "ssim": photometric.ssim_error(a, out.image).mean(),
        "l1": reduction.masked_mean(photometric.l1_error(a, out.image), out.valid),
        "geometry": reduction.masked_mean(inconsistency, out.valid, 100),
        "geometry everywhere": inconsistency.clamp(-10, 10).mean(),
        "smooth": smoothness.edge_aware_smoothness_loss(depth, a),
        "normals": normals_from_depth(depth, intrinsics).abs().mean(),
    }
    leaves = (a, b, depth, other, vector)
    for name, term in terms.items():
        gradients = torch.autograd.grad(term, leaves, retain_graph=True, allow_unused=True)
        assert term.isfinite(), name
        assert all(g.isfinite().all() for g in gradients if g is not None), name


@pytest.mark.parametrize("value", [0.0, 0.5, 1.0, -2.0, 2.4444])
def test_ssim_of_flat_pictures_is_zero_with_zero_gradient(value):
    a, b = torch.full((1, 3, 16, 16), value), torch.full((1, 3, 16, 16), value, requires_grad=True)
    error = photometric.ssim_error(a, b)
    error.sum().backward()
    assert error.abs().max() < 1e-3
    assert b.grad.isfinite().all()
