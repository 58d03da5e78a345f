"""Poses by another model for a method that needs them: depth of video without poses, known up to one factor."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, NamedTuple

from kinodepth.geometry.sampling import resize
from kinodepth.methods.base import Predictor
from kinodepth.types import Frame, InputError, Prediction

NEAR = 0.25  # of the picture


class State(NamedTuple):
    """Of the two predictors; ``factor`` takes translations from the unit of the poses to that of the depth."""

    depth: Any
    poses: Any
    factor: float | None = None


class SelfPosedPredictor:
    """``depth`` fed with the poses that ``poses`` predicts, frame by frame; what comes out is marked up to scale.

    The two need not share a unit. Translations are multiplied by one factor, that between their depths of the first
    frame, which ``depth`` sees without a pose (``Method.one_picture``): the median where things are near, because what
    is far looks the same whatever the factor, and is known least.
    """

    def __init__(self, depth: Predictor, poses: Predictor) -> None:
        self.depth, self.poses = depth, poses

    def init(self) -> State:
        return State(self.depth.init(), self.poses.init())

    def step(self, frame: Frame, state: State) -> tuple[Prediction | None, State]:
        seen, poses = self.poses.step(frame, state.poses)
        if seen is None or seen.cam_to_world is None:
            raise InputError(f"no pose was predicted for frame {frame.name}; expected one for each; use another model")
        factor = state.factor or self._factor(frame, seen)
        pose = seen.cam_to_world.clone()
        pose[:3, 3] *= factor
        prediction, depth = self.depth.step(replace(frame, cam_to_world=pose), state.depth)
        if prediction is not None:
            prediction = replace(prediction, scale="up_to_scale", unit="scene unit")
        return prediction, State(depth, poses, factor)

    def _factor(self, frame: Frame, seen: Prediction) -> float:
        """From the unit of ``seen`` to that of the method, which sees the frame again and again until it answers."""
        alone, state, prediction = replace(frame, cam_to_world=None), self.depth.init(), None
        while prediction is None:  # as often as it waits for neighbours
            prediction, state = self.depth.step(alone, state)
        depth = resize(seen.depth[None], prediction.depth.shape[-2:])[0]
        near = depth <= depth.quantile(NEAR)
        return float((prediction.depth / depth)[near].median())
