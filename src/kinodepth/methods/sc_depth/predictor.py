"""Depth of one image at a time; the trajectory too, if it is wanted."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor, nn

from kinodepth.geometry.pose import compose, pose_from_vector
from kinodepth.geometry.sampling import resize
from kinodepth.methods.sc_depth.model import ScDepth, normalize, to_depth
from kinodepth.networks.fusion import fuse_batch_norm
from kinodepth.networks.packing import pack_convolutions
from kinodepth.types import Frame, Prediction


class ScDepthPredictor:
    """Depth at network size, up to one unknown factor, for images of any size.

    ``outputs`` may hold ``poses``: ``cam_to_world`` is the predicted trajectory, the first frame's camera is the world.
    The nets are copied and their BatchNorms folded, the depth net's weights laid out channels last. ``dtype`` bfloat16
    is faster where the processor has instructions for it, several times slower elsewhere.
    """

    def __init__(
        self, model: nn.Module, outputs: frozenset[str] = frozenset(), dtype: torch.dtype = torch.float32
    ) -> None:
        assert isinstance(model, ScDepth)
        self.config, self.outputs, self.dtype = model.config, outputs, dtype
        depth_net = fuse_batch_norm(model.depth_net).requires_grad_(False)
        self.depth_net = pack_convolutions(depth_net.to(dtype).to(memory_format=torch.channels_last))
        self.pose_net = fuse_batch_norm(model.pose_net).requires_grad_(False) if "poses" in outputs else None

    def init(self) -> tuple[Tensor, Tensor] | None:
        """No state for depth alone; else an empty image stands for the frame before the first, with its pose."""
        return (torch.empty(0), torch.eye(4, dtype=torch.float64)) if "poses" in self.outputs else None

    @torch.inference_mode()
    def step(
        self, frame: Frame, state: tuple[Tensor, Tensor] | None
    ) -> tuple[Prediction, tuple[Tensor, Tensor] | None]:
        """Predict ``frame``; its camera is resized with it."""
        size, convention = (self.config.height, self.config.width), self.config.convention
        image = frame.image[None]
        if image.shape[-2:] != size:
            image = resize(image, size, antialias=convention == "exact")
        image = normalize(image)
        depth = to_depth(self.depth_net(image.to(self.dtype, memory_format=torch.channels_last)), image.shape[-2:])[0]
        camera = frame.camera and frame.camera.resize(size[1], size[0], convention)
        prediction = Prediction(
            frame.name, depth, "up_to_scale", "scene unit", camera, frame.cam_to_world, frame.timestamp
        )
        if state is None or self.pose_net is None:
            return prediction, None
        before, pose = state
        if before.numel():
            moved = pose_from_vector(self.pose_net(image, before).float())
            pose = compose(pose, moved[0].double().cpu())
        return replace(prediction, cam_to_world=pose), (image, pose)
