"""Every depth net can be trained by every method that learns from plain video."""

from __future__ import annotations

from typing import get_args

import pytest
import torch

import kinodepth as kd
from kinodepth.data.clips import collate, read_clip
from kinodepth.data.synthetic import sequence
from kinodepth.methods import load
from kinodepth.methods.weights import save_weights
from kinodepth.networks.depth_nets import DepthNetKind, depth_net
from kinodepth.types import InputError

KINDS = get_args(DepthNetKind)
METHODS = ("sc_depth_v1", "rm_depth", "mining_supervision")
each = pytest.mark.parametrize("kind", KINDS)


@each
def test_maps_go_from_coarse_to_fine_and_the_finest_can_be_had_alone(kind):
    torch.manual_seed(0)
    network = depth_net(kind, False).eval()
    images = torch.rand(2, 3, 64, 96)
    with torch.no_grad():
        found = network.scales(images)
        alone = network(images)
    assert [scale for scale, _ in found] == [3, 2, 1, 0]
    heights = [sigma.shape[-2] for _, sigma in found]
    assert heights == ([4, 8, 16, 32] if kind == "recurrent" else [8, 16, 32, 64])
    assert torch.equal(found[-1].sigma, alone)
    assert all(((sigma >= 0) & (sigma <= 1)).all() for _, sigma in found)


@each
def test_only_the_heads_asked_for_exist(kind):
    network = depth_net(kind, False, (0,)).eval()
    with torch.no_grad():
        assert [scale for scale, _ in network.scales(torch.rand(1, 3, 64, 64))] == [0]


@each
@pytest.mark.parametrize("name", METHODS)
def test_any_method_learns_with_it_and_reads_its_weights_again(kind, name, tmp_path):
    torch.manual_seed(0)
    method = load(name)
    small = {"flow_net": "small"} if name == "mining_supervision" else {}
    config = method.config(height=64, width=96, pretrained=False, depth_net=kind, **small)
    model, stage = method.build(config).train(), method.stages(config)[0]
    recording = sequence(seed=1, kind="room", width=96, height=64, frames=4)
    needed = stage.fields | method.requires.training
    clip = stage.augment(read_clip(recording, stage.clips(recording)[0], stage.target, needed), torch.Generator())
    clip = collate([clip, clip])
    result = method.objective(model, clip, stage, torch.Generator().manual_seed(0))
    result.total.backward()
    gradients = [p.grad for p in model.depth_net.parameters()]
    assert all(gradient is not None and torch.isfinite(gradient).all() for gradient in gradients)
    assert sum(gradient.abs().sum() for gradient in gradients) > 0

    save_weights(tmp_path / "weights.safetensors", model, name)
    predictions = list(kd.load(name, tmp_path / "weights.safetensors").predict(recording))
    assert all(p.depth.shape == (1, 64, 96) and torch.isfinite(p.depth).all() for p in predictions)


def test_published_statistics_are_those_of_the_published_net():
    with pytest.raises(InputError, match="depth_net hrnet with convention published"):
        load("sc_depth_v1").config(depth_net="hrnet", convention="published")
