"""Methods with their weights."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from safetensors.torch import save_file

import kinodepth as kd
from kinodepth import methods
from kinodepth.inference import model
from kinodepth.methods.base import Conversion, Requires
from kinodepth.methods.weights import save_weights
from kinodepth.types import Frame, InputError, Record, Sequence
from toy_method import ToyConfig, registered


@pytest.fixture
def toy():
    with registered() as method:
        yield method


@pytest.fixture
def weights(toy, tmp_path):
    torch.manual_seed(3)
    network = toy.build(ToyConfig(width=5))
    folder = tmp_path / "run" / "checkpoints"
    folder.mkdir(parents=True)
    save_weights(folder / "last.safetensors", network, "toy", {})
    return network, folder / "last.safetensors"


def same(network, other):
    return all(
        torch.equal(a, b) for a, b in zip(network.state_dict().values(), other.state_dict().values(), strict=True)
    )


def sequence():
    return Sequence("s", [Record("0", {"image": lambda: torch.rand(3, 16, 24)})])


def test_weights_come_from_a_file_a_run_folder_or_by_their_path_alone(weights, tmp_path):
    network, path = weights
    for loaded in (
        kd.load("toy", path),
        kd.load("toy", tmp_path / "run"),
        kd.load(str(tmp_path / "run")),
        kd.load(str(path)),
    ):
        assert same(loaded.network, network)
        assert loaded.network.config.width == 5
        assert loaded.method.name == "toy"
        assert loaded.weights_sha256 == model.sha256(path)


def test_weights_that_are_shipped_are_the_default(weights, tmp_path):
    network, path = weights
    with registered(shipped=path):
        assert same(kd.load("toy").network, network)
    torch.manual_seed(4)
    save_weights(tmp_path / "half.safetensors", network, "toy", half=True)
    with registered(shipped=tmp_path / "half.safetensors"):
        assert kd.load("toy").network.body.weight.dtype == torch.float32


def test_best_weights_of_a_run_are_preferred(toy, weights, tmp_path):
    best = toy.build(ToyConfig(width=6))
    save_weights(tmp_path / "run/checkpoints/best.safetensors", best, "toy", {})
    assert same(kd.load(str(tmp_path / "run")).network, best)


def test_without_weights_it_warns_and_is_the_same_every_time(toy):
    state = torch.get_rng_state()
    with pytest.warns(UserWarning, match="untrained"):
        first = kd.load("toy")
    with pytest.warns(UserWarning, match="untrained"):
        second = kd.load("toy", config={"width": 8})
    assert same(first.network, second.network)
    assert torch.equal(torch.get_rng_state(), state)


def test_unusable_weights_are_refused_in_a_sentence(toy, weights, tmp_path):
    network, path = weights
    other = tmp_path / "other.safetensors"
    save_weights(other, network, "another_method", {})
    (tmp_path / "empty").mkdir()
    plain = tmp_path / "plain.safetensors"
    save_file({"a": torch.zeros(2)}, plain)
    cases = [
        (other, "another_method"),
        (tmp_path / "none.safetensors", "does not exist"),
        (tmp_path / "empty", "run folder"),
    ]
    for given, words in [*cases, (plain, "plain.safetensors")]:
        with pytest.raises(InputError, match=words):
            kd.load("toy", given)
    with pytest.raises(InputError, match="does not fit"):
        kd.load("toy", path, config={"width": 9})
    with pytest.raises(InputError, match="no setting depth"):
        kd.load("toy", path, config={"depth": 9})


def test_published_weights_are_converted_and_their_unmatched_keys_told(toy, weights, tmp_path, monkeypatch):
    network, _ = weights
    published = tmp_path / "published.ckpt"
    published.write_bytes(b"as published")
    conversion = Conversion(network.config, network.state_dict(), unexpected=("optimizer.step",))
    monkeypatch.setitem(methods._registry(), "toy", replace(toy, convert=lambda path: conversion))
    with pytest.warns(UserWarning, match=r"optimizer\.step"):
        assert same(kd.load("toy", published).network, network)
    with pytest.raises(InputError, match="does not say its method"):
        kd.load(str(published))
    incomplete = Conversion(network.config, dict(list(network.state_dict().items())[:2]), missing=("head.weight",))
    monkeypatch.setitem(methods._registry(), "toy", replace(toy, convert=lambda path: incomplete))
    with pytest.raises(InputError, match="does not fit"):
        kd.load("toy", published)


def test_predicting_needs_what_the_method_needs(weights):
    loaded = kd.load("toy", weights[1])
    needy = replace(loaded, method=replace(loaded.method, requires=Requires(inference=frozenset({"camera"}))))
    with pytest.raises(InputError, match="camera"):
        next(iter(needy.predict(sequence())))
    assert [p.name for p in loaded.predict(sequence())] == ["0"]


def test_frames_from_anywhere_are_predicted_at_image_size_in_either_precision(weights):
    frames = [Frame(str(i), torch.rand(3, 16, 24)) for i in range(3)]
    exact = list(kd.load("toy", weights[1], device="cpu").predict(iter(frames)))
    coarse = list(kd.load("toy", weights[1], device="cpu", precision="bf16").predict(iter(frames)))
    for frame, a, b in zip(frames, exact, coarse, strict=True):
        assert a.depth.shape == (1, *frame.image.shape[1:])
        assert b.depth.dtype == torch.float32
        assert not torch.equal(a.depth, b.depth)
        assert torch.allclose(a.depth, b.depth, rtol=0.05)


def test_device_and_precision_are_checked(toy):
    assert model.choose_device("cpu").type == "cpu"
    assert model.choose_device("auto").type in ("cpu", "cuda", "mps")
    for name in ("cuda:99", "toaster"):
        with pytest.raises(InputError, match="use auto"):
            model.choose_device(name)
    with pytest.raises(InputError, match="fp32 or bf16"):
        kd.load("toy", precision="fp8")
