"""Compiled loops on several threads: every band once, errors reach the caller, results do not depend on the number."""

from __future__ import annotations

import pytest
import torch

from kinodepth.geometry.compiled import in_bands
from kinodepth.geometry.cost_volume import plane_sweep_volume
from kinodepth.geometry.depth import plane_depths
from kinodepth.methods.dynamic_multiframe.volume import photometric_volume
from kinodepth.methods.mining_supervision.motion import forward_warp


@pytest.fixture(params=[1, 3])
def threads(request):
    before = torch.get_num_threads()
    torch.set_num_threads(request.param)
    yield request.param
    torch.set_num_threads(before)


def test_bands_cover_everything_once(threads):
    for count in (0, 1, 2, 7):
        seen = []
        in_bands(lambda first, last, seen=seen: seen.extend(range(first, last)), count)
        assert sorted(seen) == list(range(count))


def test_an_error_in_a_band_is_raised(threads):
    def run(first, last):
        raise ValueError(first)

    with pytest.raises(ValueError, match="0"):
        in_bands(run, 6)


def test_three_threads_find_what_one_finds():
    draws = torch.Generator().manual_seed(0)
    features, images = torch.rand(3, 2, 4, 20, 30, generator=draws), torch.rand(3, 2, 3, 20, 30, generator=draws)
    move = torch.eye(4).repeat(2, 2, 1, 1)
    move[..., 0, 3] = torch.tensor([[0.2, -0.1], [0.1, 0.3]])
    camera = torch.tensor([[25.0, 0, 15], [0, 25, 10], [0, 0, 1]]).expand(2, 3, 3)
    depths = plane_depths(5, 0.5, 5)
    depth = 1 + torch.rand(2, 1, 20, 30, generator=draws)
    found, before = [], torch.get_num_threads()
    for count in (1, 3):
        torch.set_num_threads(count)
        reference, others = (x.clone().requires_grad_() for x in (features[0], features[1:].transpose(0, 1)))
        volume = plane_sweep_volume(reference, others, move, camera, depths)
        gradients = torch.autograd.grad(volume.square().sum(), (reference, others))
        photometric = photometric_volume(images[0], images[1:].transpose(0, 1), move, camera, depths)
        found.append((volume.detach(), *gradients, photometric, *forward_warp(depth, depth, move[0], camera)))
    torch.set_num_threads(before)
    for one, other in zip(*found, strict=True):
        assert one.any()
        assert torch.equal(one, other)
