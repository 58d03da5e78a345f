"""Depth of one frame, up to scale."""

from __future__ import annotations

import torch
from torch import nn

from kinodepth.methods.mining_supervision.augmentation import shrunk
from kinodepth.methods.mining_supervision.model import MiningSupervision, to_depth
from kinodepth.networks.fusion import fuse_batch_norm
from kinodepth.types import Frame, Prediction


class MiningSupervisionPredictor:
    """Depth at network size, up to one unknown factor, for images of any size; only the depth net is used.

    It is copied, its BatchNorms are folded and its weights laid out channels last. ``dtype`` bfloat16 is faster where
    the processor has instructions for it.
    """

    def __init__(self, model: nn.Module, dtype: torch.dtype = torch.float32) -> None:
        assert isinstance(model, MiningSupervision)
        self.config, self.dtype = model.config, dtype
        depth_net = fuse_batch_norm(model.depth_net).requires_grad_(False)
        self.depth_net = depth_net.to(dtype).to(memory_format=torch.channels_last)

    def init(self) -> None:
        return None

    @torch.inference_mode()
    def step(self, frame: Frame, state: None) -> tuple[Prediction, None]:
        """Predict ``frame``; its camera is resized with it."""
        size, convention = (self.config.height, self.config.width), self.config.convention
        image = frame.image[None]
        if image.shape[-2:] != size:
            image = shrunk(image, size, convention)
        sigma = self.depth_net(image.to(dtype=self.dtype, memory_format=torch.channels_last))
        depth = to_depth(sigma, image)[0]
        camera = frame.camera and frame.camera.resize(size[1], size[0], convention)
        prediction = Prediction(
            frame.name, depth, "up_to_scale", "scene unit", camera, frame.cam_to_world, frame.timestamp
        )
        return prediction, state
