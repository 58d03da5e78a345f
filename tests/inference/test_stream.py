"""Frames in, predictions out, one at a time."""

from __future__ import annotations

import itertools

import pytest
import torch

from kinodepth.inference import stream
from kinodepth.types import Camera, Frame, InputError, Prediction


class Counting:
    """Depth = 1 + number of frames since the state began; no prediction before the second frame."""

    def init(self):
        return {"seen": 0}

    def step(self, frame, state):
        seen = state["seen"] + 1
        depth = torch.full((1, *frame.image.shape[-2:]), float(seen))
        return (Prediction(frame.name, depth, "metric", "m") if seen > 1 else None), {"seen": seen}


class Giving:
    def __init__(self, value: float) -> None:
        self.value = value

    def init(self):
        return None

    def step(self, frame, state):
        depth = torch.ones(1, 4, 5)
        depth[0, 1, 2] = self.value
        return Prediction(frame.name, depth, "metric", "m"), state


def frames(count=6):
    return (Frame(f"{i:03d}", torch.zeros(3, 4, 5)) for i in range(count))


def test_state_is_carried_and_missing_predictions_are_skipped():
    depths = [float(p.depth[0, 0, 0]) for p in stream.predict(frames(), Counting())]
    assert depths == [2, 3, 4, 5, 6]


def test_state_starts_anew_at_a_cut():
    found = [(p.name, float(p.depth[0, 0, 0])) for p in stream.predict(frames(), Counting(), cuts={3})]
    assert found == [("001", 2), ("002", 3), ("004", 2), ("005", 3)]


def test_whole_stream_equals_separate_steps():
    predictor = Counting()
    state, separate = predictor.init(), []
    for frame in frames():
        prediction, state = predictor.step(frame, state)
        separate += [prediction.depth] if prediction is not None else []
    together = [p.depth for p in stream.predict(frames(), predictor)]
    assert all(torch.equal(a, b) for a, b in zip(separate, together, strict=True))


def test_frames_are_read_no_earlier_than_needed():
    taken = []

    def endless():
        for i in itertools.count():
            taken.append(i)
            yield Frame(str(i), torch.zeros(3, 4, 5))

    predictions = stream.predict(endless(), Counting())
    assert [next(predictions).name for _ in range(3)] == ["1", "2", "3"]
    assert taken == [0, 1, 2, 3]


@pytest.mark.parametrize("value", [float("nan"), float("inf"), 0.0, -1.0])
def test_depth_that_is_not_positive_and_finite_names_its_frame(value):
    predictions = stream.predict(frames(), Giving(value))
    with pytest.raises(InputError, match="frame 000"):
        next(predictions)


def test_latency_counts_every_step():
    latency = stream.Latency()
    list(stream.predict(frames(6), Counting(), latency=latency))
    assert latency.summary()["steps"] == 6
    known = stream.Latency()
    for milliseconds in range(1, 101):
        known.add(milliseconds / 1000)
    assert known.summary() == pytest.approx({"steps": 100, "mean_ms": 50.5, "p50_ms": 50.5, "p95_ms": 95.05})
    assert stream.Latency().summary() == {"steps": 0}


def test_only_an_empty_state_is_stateless():
    assert stream.is_stateless(Giving(1.0))
    assert not stream.is_stateless(Counting())


def test_resized_prediction_keeps_values_and_moves_the_camera():
    camera = Camera(10, 10, 4.5, 2.5, 10, 6)
    prediction = Prediction(
        "a", torch.full((1, 6, 10), 3.0), "up_to_scale", "scene unit", camera, confidence=torch.ones(1, 6, 10)
    )
    larger = stream.resize_prediction(prediction, 25, 12)
    assert larger.depth.shape == (1, 12, 25)
    assert larger.confidence.shape == (1, 12, 25)
    assert torch.allclose(larger.depth, torch.tensor(3.0))
    assert larger.camera == camera.resize(25, 12)
    assert (larger.scale, larger.unit) == ("up_to_scale", "scene unit")
    assert stream.resize_prediction(prediction, 10, 6) is prediction
