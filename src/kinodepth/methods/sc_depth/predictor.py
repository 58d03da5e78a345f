"""Depth of one image at a time; SC-Depth keeps no state between frames."""

from __future__ import annotations

import torch
from torch import nn

from kinodepth.geometry.sampling import resize
from kinodepth.methods.sc_depth.model import ScDepth, normalize, to_depth
from kinodepth.networks.fusion import fuse_batch_norm
from kinodepth.networks.packing import pack_convolutions
from kinodepth.types import Frame, Prediction


class ScDepthPredictor:
    """Depth at network size, up to one unknown factor, for images of any size.

    The depth net is copied, its BatchNorms are folded and its weights laid out channels last. ``dtype`` bfloat16 is
    faster where the processor has instructions for it, several times slower elsewhere.
    """

    def __init__(self, model: nn.Module, dtype: torch.dtype = torch.float32) -> None:
        assert isinstance(model, ScDepth)
        self.config, self.dtype = model.config, dtype
        depth_net = fuse_batch_norm(model.depth_net).requires_grad_(False)
        self.depth_net = pack_convolutions(depth_net.to(dtype).to(memory_format=torch.channels_last))

    def init(self) -> None:
        return None

    @torch.inference_mode()
    def step(self, frame: Frame, state: None) -> tuple[Prediction, None]:
        """Predict ``frame``; its camera is resized with it."""
        size, convention = (self.config.height, self.config.width), self.config.convention
        image = frame.image[None]
        if image.shape[-2:] != size:
            image = resize(image, size, antialias=convention == "exact")
        image = normalize(image).to(dtype=self.dtype, memory_format=torch.channels_last)
        depth = to_depth(self.depth_net(image), image.shape[-2:])[0]
        camera = frame.camera and frame.camera.resize(size[1], size[0], convention)
        prediction = Prediction(
            frame.name, depth, "up_to_scale", "scene unit", camera, frame.cam_to_world, frame.timestamp
        )
        return prediction, state
