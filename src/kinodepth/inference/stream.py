"""Drive a predictor over frames from anywhere, one at a time: memory does not grow with the length of the stream."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass, field, replace

import numpy as np
import torch

from kinodepth.geometry import sampling
from kinodepth.methods.base import Predictor
from kinodepth.types import Frame, InputError, Prediction


@dataclass
class Latency:
    """Seconds per step: totals over all steps, percentiles over the last 4,096."""

    count: int = 0
    total: float = 0.0
    recent: deque[float] = field(default_factory=lambda: deque(maxlen=4096))

    def add(self, seconds: float) -> None:
        self.count += 1
        self.total += seconds
        self.recent.append(seconds)

    def summary(self) -> dict[str, float]:
        """Steps, and milliseconds per step: mean, p50, p95."""
        if not self.count:
            return {"steps": 0}
        p50, p95 = (float(np.percentile(self.recent, q)) * 1e3 for q in (50, 95))
        return {"steps": self.count, "mean_ms": self.total / self.count * 1e3, "p50_ms": p50, "p95_ms": p95}


def predict(
    frames: Iterable[Frame], predictor: Predictor, cuts: Collection[int] = (), latency: Latency | None = None
) -> Iterator[Prediction]:
    """Yield the predictions of ``frames`` in order; the state starts anew at the frame indices ``cuts``.

    ``latency`` collects the time of each step, reading excluded. Raises ``InputError`` naming the frame whose depth
    is not positive and finite.
    """
    state = predictor.init()
    for index, frame in enumerate(frames):
        if index in cuts:
            state = predictor.init()
        start = time.perf_counter()
        with torch.inference_mode():
            prediction, state = predictor.step(frame, state)
            if prediction is not None:
                _check(prediction)  # also waits for an accelerator, so that the time is the whole time
        if latency is not None:
            latency.add(time.perf_counter() - start)
        if prediction is not None:
            yield prediction


def is_stateless(predictor: Predictor) -> bool:
    """Whether each frame is predicted by itself, so that finished frames may be left out: the state is empty."""
    state = predictor.init()
    return state is None or (isinstance(state, (tuple, list, dict)) and not state)


def resize_prediction(prediction: Prediction, width: int, height: int) -> Prediction:
    """The prediction at another size, camera included; maps are interpolated bilinearly, masks (bool) by the nearest.

    Values stay, but for the output ``flow``, which is in pixels.
    """
    if prediction.depth.shape[-2:] == (height, width):
        return prediction

    factors = torch.tensor([width, height]) / torch.tensor(prediction.depth.shape[:-3:-1])  # of x and y

    def resize(values: torch.Tensor, name: str = "") -> torch.Tensor:
        if values.dtype == torch.bool:
            return sampling.resize(values[None].float(), (height, width), "nearest")[0] > 0.5
        resized = sampling.resize(values[None].float(), (height, width))[0]
        return resized * factors.to(values.device)[:, None, None] if name == "flow" else resized

    return replace(
        prediction,
        depth=resize(prediction.depth),
        camera=prediction.camera and prediction.camera.resize(width, height),
        confidence=None if prediction.confidence is None else resize(prediction.confidence),
        outputs={name: resize(values, name) for name, values in prediction.outputs.items()},
    )


def _check(prediction: Prediction) -> None:
    low, high = (float(v) for v in torch.aminmax(prediction.depth))
    if not (low > 0 and high < float("inf")):
        raise InputError(
            f"frame {prediction.name}: the model gave depth from {low:g} to {high:g}; expected positive finite values; "
            "check the weights, or use --precision fp32"
        )
