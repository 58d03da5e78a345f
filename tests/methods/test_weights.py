"""Weights files of ours that are none."""

from __future__ import annotations

import pytest
import torch
from safetensors.torch import save_file

from kinodepth.methods.weights import read_weights, save_weights
from kinodepth.types import InputError
from toy_method import ToyConfig, ToyNet


def test_what_cannot_be_read_is_named(tmp_path):
    good = tmp_path / "good.safetensors"
    save_weights(good, ToyNet(ToyConfig()), "toy")
    assert read_weights(good)[0] == "toy"
    truncated = tmp_path / "truncated.safetensors"
    truncated.write_bytes(good.read_bytes()[:-20])
    foreign = tmp_path / "foreign.safetensors"
    save_file({"weight": torch.zeros(2)}, foreign)
    text = tmp_path / "text.safetensors"
    text.write_text("weights")
    for path, reason in [
        (truncated, "complete weights file"),
        (text, "cannot be read as safetensors"),
        (foreign, "without kinodepth's header"),
        (tmp_path / "absent.safetensors", "no weights file"),
        (tmp_path, "cannot be read"),
    ]:
        with pytest.raises(InputError, match=reason) as found:
            read_weights(path)
        assert str(path) in str(found.value)
        assert "\n" not in str(found.value)


def test_a_failed_write_leaves_the_old_file(tmp_path):
    path = tmp_path / "weights.safetensors"
    save_weights(path, ToyNet(ToyConfig()), "toy", {"step": 1})
    with pytest.raises(TypeError):
        save_weights(path, ToyNet(ToyConfig()), "toy", {"step": object()})
    assert read_weights(path)[3] == {"step": 1}
    assert [p.name for p in tmp_path.iterdir()] == [path.name]


def test_any_memory_layout_is_saved(tmp_path):
    net = ToyNet(ToyConfig()).to(memory_format=torch.channels_last)
    save_weights(tmp_path / "w.safetensors", net, "toy")
    state = read_weights(tmp_path / "w.safetensors")[2]
    assert all(torch.equal(value, net.state_dict()[key]) for key, value in state.items())


def test_half_the_space_but_not_for_statistics(tmp_path):
    network = ToyNet(ToyConfig(width=64))
    save_weights(tmp_path / "whole.safetensors", network, "toy")
    save_weights(tmp_path / "half.safetensors", network, "toy", half=True)
    assert (tmp_path / "half.safetensors").stat().st_size < 0.6 * (tmp_path / "whole.safetensors").stat().st_size
    state = read_weights(tmp_path / "half.safetensors")[2]
    for name, value in network.state_dict().items():
        assert state[name].dtype == (torch.float16 if value.dim() > 1 else torch.float32)
        torch.testing.assert_close(state[name].float(), value, rtol=1e-3, atol=1e-7)
