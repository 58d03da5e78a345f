"""Metric depth of the keyframes of a posed stream, one frame at a time (spec deep_video_mvs 4, 5)."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import torch
from torch import Tensor, nn

from kinodepth.data.keyframes import Decision, KeyframeBuffer, KeyframeRule, choose_measurements, decide, remember
from kinodepth.geometry.sampling import resize
from kinodepth.methods.deep_video_mvs.model import FusionNet, Memory, PairNet, match, normalize
from kinodepth.methods.deep_video_mvs.propagation import overlap
from kinodepth.networks.fusion import fuse_batch_norm
from kinodepth.networks.packing import pack_convolutions
from kinodepth.types import Camera, Frame, InputError, Prediction


@dataclass(frozen=True)
class State:
    """Keyframes with their half-size features, so that every image is encoded once; the fusion net's memory."""

    buffer: KeyframeBuffer = field(default_factory=KeyframeBuffer)
    memory: Memory | None = None


class DeepVideoMvsPredictor:
    """Depth in metres at network size, for images of any size; None for frames that are no keyframes.

    A keyframe is matched with as many of the configured measurement frames as there are. A frame whose pose is None or
    not finite is skipped; after 30 in a row all is forgotten. So is it at a keyframe that no earlier one overlaps, as
    after a jump: it is a first one, without prediction. The networks are copied, their batch norms folded and
    their weights laid out channels last.
    """

    def __init__(self, model: nn.Module) -> None:
        assert isinstance(model, PairNet)
        config = self.config = model.config
        self.rule = KeyframeRule(
            config.buffer_size, config.keyframe_distance, config.optimal_translation, config.optimal_rotation
        )
        fused = fuse_batch_norm(model).requires_grad_(False).to(memory_format=torch.channels_last)
        self.model = pack_convolutions(fused)

    def init(self) -> State:
        return State()

    @torch.inference_mode()
    def step(self, frame: Frame, state: State) -> tuple[Prediction | None, State]:
        """Predict ``frame`` if it is a keyframe with others to match; its camera is resized with it.

        Raises ``InputError`` for a frame with a pose but without camera.
        """
        pose = frame.cam_to_world
        decision, buffer = decide(state.buffer, pose, self.rule)
        if decision in (Decision.LOST, Decision.STILL_LOST):
            return None, State(buffer)
        if pose is None or decision not in (Decision.FIRST, Decision.KEYFRAME):
            return None, replace(state, buffer=buffer)
        image, camera = self._prepare(frame)
        pyramid = self.model.pyramid(image)
        buffer = remember(buffer, pose.cpu(), pyramid[0], self.rule)
        places = self._measurements(buffer, camera)
        if not places:
            return None, State(remember(KeyframeBuffer(), pose.cpu(), pyramid[0], self.rule))
        depth, memory = self._predict(image, pyramid, camera, buffer, places, state.memory)
        prediction = Prediction(frame.name, depth[0].float(), "metric", "m", camera, pose, frame.timestamp)
        return prediction, State(buffer, memory)

    def _measurements(self, buffer: KeyframeBuffer, camera: Camera) -> list[int]:
        """Places in ``buffer`` of the keyframes to match the newest one with; none if no other sees what it sees."""
        *earlier, current = buffer.poses
        usable = list(range(len(earlier)))
        if earlier and self.config.convention == "exact":
            seen = overlap(current, torch.stack(earlier), camera, self.config.near, self.config.far)
            usable = [place for place in usable if seen[place] >= self.config.min_overlap]
        candidates = KeyframeBuffer((*(earlier[place] for place in usable), current))
        return [usable[i] for i in choose_measurements(candidates, self.config.measurements, self.rule)]

    def _predict(
        self,
        image: Tensor,
        pyramid: list[Tensor],
        camera: Camera,
        buffer: KeyframeBuffer,
        places: list[int],
        memory: Memory | None,
    ) -> tuple[Tensor, Memory | None]:
        """Depth 1 x 1 x H x W of the newest keyframe matched with those at ``places``, and the fusion net's memory."""
        pose, intrinsics = buffer.poses[-1][None], camera.matrix(device=image.device)[None]
        measurements = torch.stack([buffer.items[place] for place in places], 1)
        measurement_poses = torch.stack([buffer.poses[place] for place in places])[None]
        volume = match(self.config, pyramid[0], measurements, pose, measurement_poses, intrinsics)
        *skips, bottom = self.model.encoder(pyramid, volume)
        if not isinstance(self.model, FusionNet):
            return self.model.depths(self.model.decoder(image, skips, bottom)[:1])[0], None
        hidden, cell = self.model.recall(bottom, memory, pose, intrinsics)
        depth = self.model.depths(self.model.decoder(image, skips, hidden)[:1])[0]
        return depth, Memory(hidden, cell, depth.float(), pose)

    def _prepare(self, frame: Frame) -> tuple[Tensor, Camera]:
        """The normalised image 1 x 3 x H x W at network size and its camera."""
        if frame.camera is None:
            raise InputError(
                f"frame {frame.name} has no camera; DeepVideoMVS matches views by their intrinsics; add K or --fov"
            )
        height, width, convention = self.config.height, self.config.width, self.config.convention
        image = frame.image[None]
        rows, columns = image.shape[-2:]
        stated = (frame.camera.width, frame.camera.height)
        if abs(stated[0] * rows - stated[1] * columns) > 0.02 * stated[0] * rows:
            raise InputError(
                f"frame {frame.name} is {columns} x {rows}, its camera for {stated[0]} x {stated[1]} pictures of "
                "another shape; expected intrinsics of the uncropped picture; correct them"
            )
        if image.shape[-2:] != (height, width):
            image = resize(image, (height, width), antialias=convention == "exact")
        camera = frame.camera.resize(width, height, convention)
        return normalize(image).contiguous(memory_format=torch.channels_last), camera
