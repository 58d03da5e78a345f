"""Depth of one image at a time; with two images and a camera also ego-motion, object motion, flow and what moves.

Motion leads from each frame to the one before it, so that nothing has to wait for the future [our choice]; a recording
read backwards gives flow forwards in time. Which of the two was taken earlier is told by their times, if they have any.
"""

from __future__ import annotations

from dataclasses import replace
from typing import NamedTuple

import torch
from torch import Tensor, nn

from kinodepth.geometry.pose import compose
from kinodepth.geometry.sampling import resize
from kinodepth.methods.rm_depth.model import RmDepth, moving_mask, normalize, optical_flow
from kinodepth.networks.fusion import fuse_batch_norm
from kinodepth.types import Camera, Frame, InputError, Prediction


class Before(NamedTuple):
    """The frame before: its normalised image 1 x 3 x H x W, pose (the first frame's camera is the world) and time."""

    image: Tensor
    cam_to_world: Tensor
    timestamp: float | None = None


class RmDepthPredictor:
    """Depth at network size, up to one unknown factor; ``outputs`` names what else is wanted.

    ``Prediction.outputs``: ``flow`` 2 x H x W pixels and ``motion`` 3 x H x W scene units, both from this frame to the
    one before (zero for the first), ``mask`` 1 x H x W bool, what moves by itself. ``poses``: ``cam_to_world`` is the
    predicted trajectory. ``dtype`` bfloat16 is faster for depth where the processor has instructions for it.
    """

    def __init__(
        self, model: nn.Module, outputs: frozenset[str] = frozenset(), dtype: torch.dtype = torch.float32
    ) -> None:
        assert isinstance(model, RmDepth)
        self.model, self.config, self.outputs, self.dtype = model, model.config, outputs, dtype
        depth_net = fuse_batch_norm(model.depth_net).requires_grad_(False)
        self.depth_net = depth_net.to(dtype).to(memory_format=torch.channels_last)

    def init(self) -> Before | None:
        """No state for depth alone; else an empty image stands for the frame before the first."""
        return Before(torch.empty(0), torch.eye(4, dtype=torch.float64)) if self.outputs else None

    @torch.inference_mode()
    def step(self, frame: Frame, state: Before | None) -> tuple[Prediction, Before | None]:
        """Predict ``frame``; its camera is resized with it."""
        size = torch.Size((self.config.height, self.config.width))
        image = frame.image[None]
        if image.shape[-2:] != size:
            image = resize(image, size, antialias=True)
        image = normalize(image)
        sigma = self.depth_net(image.to(dtype=self.dtype, memory_format=torch.channels_last))
        depth = self.model.depth(sigma, size)
        camera = frame.camera and frame.camera.resize(size[1], size[0])
        prediction = Prediction(
            frame.name, depth[0], "up_to_scale", "scene unit", camera, frame.cam_to_world, frame.timestamp
        )
        if state is None:
            return prediction, None
        if camera is None:
            raise InputError(
                f"frame {frame.name} has no camera, which {', '.join(sorted(self.outputs))} need; expected intrinsics; "
                "add them to the folder, or give --fov DEGREES"
            )
        backwards = state.timestamp is not None and frame.timestamp is not None and frame.timestamp < state.timestamp
        maps, pose = self._motion(image, depth, camera, state, not backwards)
        wanted = {name: value[0] for name, value in maps.items() if name in self.outputs}
        prediction = replace(
            prediction, outputs=wanted, cam_to_world=pose if "poses" in self.outputs else frame.cam_to_world
        )
        return prediction, Before(image, pose, frame.timestamp)

    def _motion(
        self, image: Tensor, depth: Tensor, camera: Camera, before: Before, earlier: bool
    ) -> tuple[dict[str, Tensor], Tensor]:
        """Maps by name and this frame's pose, from what the frame before shows, ``earlier`` in time or later."""
        if not before.image.numel():  # of the first frame
            none = torch.zeros_like(depth)
            empty = {"flow": none.expand(-1, 2, -1, -1), "motion": none.expand(-1, 3, -1, -1), "mask": none > 0}
            return empty, before.cam_to_world
        intrinsics = camera.matrix(device=depth.device)[None]
        is_earlier = torch.tensor([earlier], device=depth.device)
        motion = self.model.motion(image, before.image, is_earlier, depth, intrinsics)
        full, rigid = optical_flow(depth, motion, intrinsics)
        maps = {"flow": full, "motion": motion.field, "mask": moving_mask(full, rigid)}
        return maps, compose(before.cam_to_world, motion.source_from_target[0].double().cpu())
