"""What every method must do, whatever it is: each registered one and the toy run through the same tests."""

from __future__ import annotations

import tempfile
from dataclasses import fields, replace
from functools import cache
from pathlib import Path

import pytest
import torch

import toy_method
from kinodepth import methods
from kinodepth.data.clips import collate, read_clip
from kinodepth.data.shards import joined, write_shard
from kinodepth.data.synthetic import sequence
from kinodepth.engine.settings import resolve
from kinodepth.engine.stages import set_modes, start_stage
from kinodepth.inference.stream import predict
from kinodepth.methods.base import Method
from kinodepth.methods.weights import read_weights, save_weights
from kinodepth.types import Sequence

# Where the configuration has such a field.
SMALL = {
    "height": 64,
    "width": 96,
    "train_height": 64,
    "train_width": 96,
    "batch_size": 2,
    "pretrained": False,
    "flow_net": "small",
    "alignment_batch": 2,
    "final_rate": 2e-4,  # it starts from random weights here, as the first stages do: at their rate
    "moving_pixels": 1000.0,
}
SHARDS = tempfile.TemporaryDirectory()
EVERY = {**{name: methods.load(name) for name in methods.available()}, **toy_method.METHODS}
every_method = pytest.mark.parametrize("method", EVERY.values(), ids=EVERY.keys())


def small(method: Method):
    known = {field.name: field.default for field in fields(method.config)}
    settings = {key: value for key, value in SMALL.items() if key in known}
    if "window" in known:  # frames of a recurrent training window
        settings["window"] = min(3, known["window"])
    return method.config(**settings)


def recording(method: Method):
    """A synthetic recording; of a camera that gets somewhere for methods that match posed frames."""
    return _recording("cam_to_world" in method.requires.inference)


@cache
def _recording(travels: bool):
    """With a prior: its own depth in another unit, shifted."""
    motion = {"frames": 14, "motion": "driving", "fps": 5.0} if travels else {"frames": 6}
    found = sequence(seed=3, kind="room", width=128, height=96, **motion)
    priors = [{"prior_depth": lambda read=record.load["depth"]: 0.4 * read() + 0.3} for record in found.records]
    records = [replace(record, load={**record.load, **prior}) for record, prior in zip(found.records, priors)]
    return Sequence(found.name, records, found.source)


def build(method: Method):
    torch.manual_seed(0)
    return method.build(small(method))


def stages_before(method_name: str, stage_name: str):
    stages = EVERY[method_name].stages(small(EVERY[method_name]))
    return stages[: [stage.name for stage in stages].index(stage_name)]


@cache
def recording_at(method_name: str, stage_name: str):
    """The recording with what the stages before leave for this one."""
    before = stages_before(method_name, stage_name)
    if not before:
        return recording(EVERY[method_name])
    *_, last = before
    given = recording_at(method_name, last.name)
    if last.make is None:
        return given
    path = Path(SHARDS.name) / method_name / last.name
    with torch.no_grad():
        write_shard(path, last.make(learnt(method_name, last.name).eval(), given), last.produces, {})
    return joined(given, path)


@cache
def learnt(method_name: str, stage_name: str):
    """The networks after a few steps of every stage up to this one: with random weights what they leave for later
    stages contradicts itself (a depth of 100 around a label of 0.7), and nobody can learn that."""
    method, before = EVERY[method_name], stages_before(method_name, stage_name)
    stage = method.stages(small(method))[len(before)]
    model = build(method)
    if before:
        model.load_state_dict(learnt(method_name, before[-1].name).state_dict())
    for module in model.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.momentum = 1.0  # statistics of the last batch: an average over so few would still be the initial one
    if stage.start is not None:
        stage.start(model)
    set_modes(model, stage)
    optimizer, _ = start_stage(model, stage, None)
    with torch.enable_grad():
        clip = batch(method, stage)
        for _ in range(8):
            step(method, model, clip, stage)
            optimizer.step()
    return model


def batch(method: Method, stage):
    given = recording_at(method.name, stage.name)
    windows = stage.clips(given)[: stage.batch_size]
    needed = stage.fields | (method.requires.training & given.provides)
    clips = [read_clip(given, window, stage.target, needed) for window in windows]
    return collate([stage.augment(clip, torch.Generator().manual_seed(i)) for i, clip in enumerate(clips)])


def step(method: Method, model, clip, stage):
    result = method.objective(model, clip, stage, torch.Generator().manual_seed(0))
    model.zero_grad(set_to_none=True)
    result.total.backward()
    return result


def state_of(model):
    return {key: value.clone() for key, value in model.state_dict().items()}


@every_method
def test_rates_follow_the_steps_of_the_run_not_those_of_the_settings(method: Method):
    """``--steps`` shortens or stretches a stage: its rate ends where it would have."""
    presets = [None, *method.presets]
    for stage in (stage for preset in presets for stage in method.stages(resolve(method, preset, []))):
        if stage.schedule is None:
            continue
        ends = []
        for steps in (200, 400):
            optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0)
            schedule = stage.schedule(optimizer, steps)
            for _ in range(steps):
                optimizer.step()
                schedule.step()
            ends.append(optimizer.param_groups[0]["lr"])
        assert ends[0] == pytest.approx(ends[1], abs=1e-3)
        assert ends[1] < 1


@every_method
def test_describes_itself(method):
    assert EVERY[method.name] is method
    assert method.summary.endswith(".")
    assert method.card.is_file()
    for name, preset in method.presets.items():
        assert method.config(**preset), name
    assert recording(method).provides >= method.requires.training | method.requires.inference


@every_method
def test_trains_its_parts_with_finite_gradients(method):
    model = build(method).train()
    for stage in method.stages(small(method)):
        assert stage.parts
        assert set(stage.parts) <= {name for name, _ in model.named_children()}
        result = step(method, model, batch(method, stage), stage)
        assert set(result.terms) == set(result.weights)
        for values in (result.terms, result.scalars, result.images):
            assert all(torch.isfinite(value).all() for value in values.values())
        for part in stage.parts:
            gradients = [p.grad for p in model.get_submodule(part).parameters() if p.requires_grad]
            assert all(g is not None and torch.isfinite(g).all() for g in gradients), part
            assert any(g.abs().max() > 0 for g in gradients), part


@every_method
def test_same_input_same_numbers(method):
    results = []
    for _ in range(2):
        model = build(method).train()
        stage = method.stages(small(method))[-1]
        optimizer = stage.optimizer(model.parameters())
        total = step(method, model, batch(method, stage), stage).total
        optimizer.step()
        results.append((total, state_of(model)))
    assert torch.equal(results[0][0], results[1][0])
    assert all(torch.equal(value, results[1][1][key]) for key, value in results[0][1].items())


@every_method
def test_learns_one_clip_by_heart(method):
    model = build(method).train()
    stage = method.stages(small(method))[-1]
    optimizer = stage.optimizer([p for p in model.parameters() if p.requires_grad])
    clip = batch(method, stage)
    totals: list[float] = []
    for _ in range(60):
        totals.append(step(method, model, clip, stage).total.item())
        optimizer.step()
        if sum(totals[-5:]) / 5 < 0.64 * totals[0] and len(totals) > 5:
            return
    pytest.fail(f"the loss went from {totals[0]:.4g} to {sum(totals[-5:]) / 5:.4g} in {len(totals)} steps")


@every_method
def test_validation_is_a_finite_number_without_draws(method):
    if method.validate is None:
        pytest.skip("validates against measured depth only")
    model = build(method).eval()
    stage = method.stages(small(method))[-1]
    given = recording_at(method.name, stage.name)
    needed = stage.fields | (method.requires.training & given.provides)
    clip = stage.prepare(read_clip(given, stage.clips(given)[0], stage.target, needed))
    with torch.no_grad():
        first, second = method.validate(model, clip), method.validate(model, clip)
    assert first.ndim == 0
    assert torch.isfinite(first)
    assert torch.equal(first, second)


@every_method
def test_stream_equals_offline(method):
    model = build(method)
    predictor = method.predictor(model)
    streamed = list(predict(recording(method).frames(), predictor))
    state, offline = predictor.init(), []
    for frame in recording(method):
        prediction, state = predictor.step(frame, state)
        if prediction is not None:
            offline.append(prediction)
    assert streamed
    for a, b in zip(streamed, offline, strict=True):
        assert a.name == b.name
        assert torch.equal(a.depth, b.depth)
        assert torch.isfinite(a.depth).all()
        assert (a.depth > 0).all()
        assert a.camera is not None
        assert a.depth.shape == (1, a.camera.height, a.camera.width)


@every_method
def test_predicting_leaves_the_model_alone(method):
    model = build(method).train()
    before = state_of(model)
    predictor = method.predictor(model)
    next(predict(recording(method).frames(), predictor))
    assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items())


@every_method
def test_weights_survive_the_file(method, tmp_path):
    model = build(method)
    save_weights(tmp_path / "weights.safetensors", model, method.name, {"step": 7})
    name, config, state, extra = read_weights(tmp_path / "weights.safetensors")
    assert (name, extra) == (method.name, {"step": 7})
    assert method.config(**config) == small(method)
    torch.manual_seed(1)
    other = method.build(method.config(**config))
    other.load_state_dict(state)
    depths = [next(predict(recording(method).frames(), method.predictor(each))).depth for each in (model, other)]
    assert torch.equal(*depths)
