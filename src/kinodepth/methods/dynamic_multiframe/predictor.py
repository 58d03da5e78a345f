"""Metric depth of a posed stream, one frame at a time (spec dynamic_multiframe 8), with a frame of delay or without."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from kinodepth.geometry.sampling import resize
from kinodepth.methods.dynamic_multiframe.model import DynamicMultiframe
from kinodepth.networks.fusion import fuse_batch_norm
from kinodepth.networks.packing import pack_convolutions
from kinodepth.types import Camera, Frame, InputError, Prediction

MULTIPLE = 16  # pixels: sizes that four halvings divide


@dataclass(frozen=True)
class View:
    """A frame at network size; ``pose`` 4 x 4 float64 cam_to_world, None if it is not known."""

    name: str
    image: Tensor
    camera: Camera
    pose: Tensor | None
    timestamp: float | None


class DynamicMultiframePredictor:
    """Depth in metres for images of any size, at the scale of the training images; the whole picture is kept.

    ``delayed`` (config.online): the keyframe is the newest frame that has all its later neighbours, so the last frames
    of a stream get no prediction (published: one). ``causal``: the newest frame, matched with earlier ones.
    Neighbours that are missing (first frames) or have no pose are left out; without any the mono cue decides alone. An
    image is resized once. The networks are copied, batch norms folded, weights laid out channels last.
    """

    def __init__(self, model: nn.Module) -> None:
        assert isinstance(model, DynamicMultiframe)
        self.config = model.config
        self.lag = max(0, *self.config.offsets)
        self.keep = 1 + self.lag - min(0, *self.config.offsets)
        fused = fuse_batch_norm(model).requires_grad_(False).to(memory_format=torch.channels_last)
        self.model = pack_convolutions(fused)

    def init(self) -> tuple[View, ...]:
        return ()

    @torch.inference_mode()
    def step(self, frame: Frame, state: tuple[View, ...]) -> tuple[Prediction | None, tuple[View, ...]]:
        """Predict the keyframe that ``frame`` completes; its camera is resized with it.

        Raises ``InputError`` for a frame without camera, or of another size than the one before.
        """
        views = (*state[-self.keep + 1 :], self._view(frame)) if self.keep > 1 else (self._view(frame),)
        if len(views) > 1 and views[-1].image.shape != views[-2].image.shape:
            raise InputError(
                f"frame {frame.name} differs in size from {views[-2].name}; expected one size; resize them"
            )
        place = len(views) - 1 - self.lag
        if place < 0:
            return None, views
        key = views[place]
        places = [place + offset for offset in self.config.offsets]
        others = [views[i] for i in places if 0 <= i < len(views) and views[i].pose is not None]
        depth = self._depth(key, others if key.pose is not None else [])
        return Prediction(key.name, depth, "metric", "m", key.camera, key.pose, key.timestamp), views

    def _depth(self, key: View, others: list[View]) -> Tensor:
        """Depth 1 x H x W of ``key`` matched with ``others``."""
        frames = torch.cat([view.image for view in others])[None] if others else key.image.new_empty(1, 0)
        poses = [view.pose for view in (key, *others) if view.pose is not None]
        stacked = torch.stack(poses)[None] if others else torch.empty(1, 1, 4, 4)
        intrinsics = key.camera.matrix(device=key.image.device)[None]
        volume = self.model.volume(key.image, frames, stacked[:, 0], stacked[:, 1:], intrinsics)
        image, volume = (x.contiguous(memory_format=torch.channels_last) for x in (key.image, volume))
        return 1 / self.model(image, volume).final[0][0].float()

    def _view(self, frame: Frame) -> View:
        """``frame`` at the scale of the training images, which are cut to a shape: the shorter side fits."""
        if frame.camera is None:
            raise InputError(
                f"frame {frame.name} has no camera; expected intrinsics, by which views are matched; add K or --fov"
            )
        tall, wide = frame.image.shape[-2:]
        scale = max(self.config.height / tall, self.config.width / wide)
        height, width = (max(round(side * scale / MULTIPLE), 2) * MULTIPLE for side in (tall, wide))
        image = frame.image[None]
        if (tall, wide) != (height, width):
            image = resize(image, (height, width), antialias=True).clamp(0, 1)
        camera = frame.camera.resize(width, height, self.config.convention)
        pose = frame.cam_to_world
        known = pose is not None and bool(torch.isfinite(pose).all())
        return View(
            frame.name, image, camera, pose.double().cpu() if known and pose is not None else None, frame.timestamp
        )
