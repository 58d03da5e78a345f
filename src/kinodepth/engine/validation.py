"""Scores and pictures of a model in training: depth errors where there is ground truth, else the method's own loss."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace

import numpy as np
import torch
from torch import Tensor, nn

from kinodepth.data.clips import read_clip
from kinodepth.engine.batches import windows
from kinodepth.evaluation.alignment import median_ratio
from kinodepth.evaluation.metrics import depth_errors
from kinodepth.geometry.sampling import resize
from kinodepth.methods.base import Method, Stage
from kinodepth.types import Frame, Sequence
from kinodepth.visualization.colormap import colorize, percentile_range
from kinodepth.visualization.panels import image_and_depth, to_picture

PICTURES = 3
ERRORS = ("abs_rel", "rmse_log", "delta_1")
COLLAPSED = 1e-3  # spread of depth over its mean below which a whole picture is one plane at one distance


@dataclass
class Validation:
    """``scores`` by name; the first of them is the one to minimise. ``pictures`` are H x W x 3 uint8."""

    scores: dict[str, float] = field(default_factory=dict)
    pictures: list[np.ndarray] = field(default_factory=list)
    spread: float = math.nan  # mean over frames of std(depth) / mean(depth)

    @property
    def value(self) -> float:
        """What decides about the best weights: smaller is better, NaN never is."""
        return next(iter(self.scores.values()), math.nan)


def validate(
    method: Method, model: nn.Module, stage: Stage, sequences: list[Sequence], device: torch.device, limit: int
) -> Validation:
    """Score ``model`` on at most ``limit`` frames of ``sequences`` and as many windows; leaves it in eval mode.

    Depth errors follow a median scaling of each frame (spec sc_depth 13.3) and are means over frames; ``loss`` is the
    mean of ``method.validate`` over windows, those where it is NaN (nothing to compare) left out.
    """
    model.eval()
    result = Validation()
    rows: list[dict[str, float]] = []
    spreads: list[float] = []
    each = max(1, limit // max(1, len(sequences)))
    shown = set(np.linspace(0, sum(min(each, len(s)) for s in sequences) - 1, PICTURES).round().astype(int).tolist())
    for sequence in sequences[:limit]:
        predictor = method.predictor(model)
        state = predictor.init()
        for index in range(min(each, len(sequence))):
            frame = sequence.read(index, method.requires.inference | {"depth"})
            with torch.no_grad():
                prediction, state = predictor.step(replace(frame, image=frame.image.to(device)), state)
            if prediction is None:
                continue
            depth = prediction.depth.float().cpu()
            if len(spreads) in shown:
                result.pictures.append(image_and_depth(frame.image, depth, percentile_range(depth), frame.name))
            spreads.append(float(depth.std() / depth.mean()))
            rows += _errors(depth, frame)
    result.spread = float(np.mean(spreads)) if spreads else math.nan
    if rows:
        result.scores |= {name: float(np.nanmean([row[name] for row in rows])) for name in ERRORS}
    if method.validate is not None:
        result.scores["loss"] = _loss(method, model, stage, sequences, device, limit)
    return result


def to_colors(image: Tensor) -> np.ndarray:
    """A map of an objective as H x W x 3 uint8: 3 x H x W in [0, 1] as it is, 1 x H x W coloured like depth."""
    return to_picture(image) if len(image) == 3 else colorize(image, percentile_range(image))


def _errors(depth: Tensor, frame: Frame) -> list[dict[str, float]]:
    """The errors of a frame after median scaling; nothing when it has no ground truth."""
    if frame.depth is None or not bool((frame.depth > 0).any()):
        return []
    valid = frame.depth > 0
    at_truth = resize(depth[None], (frame.depth.shape[-2], frame.depth.shape[-1]))[0]
    scaled = at_truth * median_ratio(at_truth[valid], frame.depth[valid])
    return [depth_errors(scaled, frame.depth, valid, ERRORS)]


def _loss(
    method: Method, model: nn.Module, stage: Stage, sequences: list[Sequence], device: torch.device, limit: int
) -> float:
    """The mean validation loss over at most ``limit`` windows, evenly spread; NaN when no window gives one."""
    assert method.validate is not None
    found = windows(sequences, stage)
    picked = [found[i] for i in np.linspace(0, len(found) - 1, min(limit, len(found))).round().astype(int)]
    losses = []
    for number, frames in picked:
        fields = stage.fields & sequences[number].provides  # what only training needs may be missing here
        clip = stage.prepare(read_clip(sequences[number], frames, stage.target, fields))
        with torch.no_grad():
            losses.append(float(method.validate(model, clip.to(device))))
    return float(np.nanmean(losses)) if any(math.isfinite(loss) for loss in losses) else math.nan
