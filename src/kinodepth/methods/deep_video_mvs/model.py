"""Pair net and fusion net: the networks of ``networks`` under the names of their parts (spec deep_video_mvs 1, 2)."""

from __future__ import annotations

import math
from contextlib import AbstractContextManager
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor, nn

from kinodepth.geometry.cost_volume import plane_sweep_volume
from kinodepth.geometry.depth import plane_depths, sigmoid_to_depth
from kinodepth.geometry.pose import move_between
from kinodepth.methods.deep_video_mvs.config import FusionConfig, PairConfig
from kinodepth.methods.deep_video_mvs.networks import (
    PLANES,
    Decoder,
    Encoder,
    FeatureExtractor,
    FeaturePyramid,
    RecurrentCell,
)
from kinodepth.methods.deep_video_mvs.propagation import divide_intrinsics, project_depth, warp_hidden
from kinodepth.methods.weights import read_weights
from kinodepth.networks.batch_norm import BatchNorm2d, batch_groups
from kinodepth.networks.timm_features import REDUCTIONS, timm_features
from kinodepth.types import InputError

FIRST_SHARES = (1.0, 0.5, 0.1, 0.1, 0.1)  # of the levels in features that do not come from ImageNet, at first
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # of the channels (spec 3)
SHARED = ("feature_extractor", "feature_pyramid", "encoder")  # what the fusion net takes over from a pair net


def normalize(images: Tensor) -> Tensor:
    """Map RGB ``... x 3 x H x W`` in [0, 1] to what the networks see."""
    mean, std = (torch.tensor(values, device=images.device)[:, None, None] for values in (MEAN, STD))
    return (images - mean) / std


class PairNet(nn.Module):
    """Depth of a view from matching it with others; no memory."""

    def __init__(self, config: PairConfig) -> None:
        super().__init__()
        self.config = config
        start = config.pretrained
        from_pair = isinstance(start, str) and Path(start).suffix == ".safetensors"
        imagenet = False if from_pair else start
        if config.backbone == "mnasnet1_0":
            self.feature_extractor: nn.Module = FeatureExtractor(imagenet)
            self.feature_pyramid = FeaturePyramid()
        else:
            body = timm_features(config.backbone, imagenet, REDUCTIONS)
            self.feature_extractor = body
            self.feature_pyramid = FeaturePyramid(body.feature_info.channels())
        self.encoder = Encoder()
        if isinstance(config, FusionConfig):
            self.lstm = RecurrentCell()
        self.decoder = Decoder()
        self.joint_statistics = config.joint_statistics and config.convention == "exact"
        if config.convention == "exact":
            self._initialize(from_imagenet=bool(start) and not from_pair)
        if from_pair:
            self._start_from(str(start))

    def pyramid(self, images: Tensor, groups: int = 1) -> list[Tensor]:
        """Features at 1/2 .. 1/16 of normalised images N x 3 x H x W; ``groups`` as in ``batched``."""
        with self.batched(groups):
            return self.feature_pyramid(self.feature_extractor(images))

    def batched(self, groups: int) -> AbstractContextManager[None]:
        """Let batch norm see ``groups`` calls in a batch, unless its statistics are joint."""
        return batch_groups(self, 1 if self.joint_statistics else groups)

    def depths(self, sigmoids: list[Tensor]) -> list[Tensor]:
        """Metres of the decoder's outputs."""
        return [sigmoid_to_depth(value, self.config.near, self.config.far) for value in sigmoids]

    def _initialize(self, from_imagenet: bool) -> None:
        """Start in the middle of the range, at 2.2 m as published; PyTorch's own weights start at half a metre.

        An extractor that does not come from ImageNet has batch norms that forget as fast as all others: with MnasNet's
        momentum of 0.0003 their averages would still be the initial ones after thousands of steps. And its features
        begin with the fine maps, which tell places apart; at random the sum of five levels hardly does.
        """
        near, far = self.config.near, self.config.far
        share = (1 / math.sqrt(near * far) - 1 / far) / (1 / near - 1 / far)
        for head in self.decoder.heads:
            nn.init.normal_(head.get_parameter("weight"), std=0.01)
            nn.init.constant_(head.get_parameter("bias"), math.log(share / (1 - share)))
        if from_imagenet:
            return
        for module in self.feature_extractor.modules():
            if isinstance(module, BatchNorm2d):
                module.momentum = 0.1
        with torch.no_grad():
            for level, share in zip(self.feature_pyramid.inner, FIRST_SHARES, strict=True):
                level.get_parameter("weight").mul_(share)
                level.get_parameter("bias").mul_(share)

    def _start_from(self, path: str) -> None:
        name, config, state, _ = read_weights(path)
        if not name.startswith("deep_video_mvs"):
            raise InputError(f"{path} holds weights of {name}; expected a pair net to start from; give other weights")
        backbone = config.get("backbone", self.config.backbone)
        if backbone != self.config.backbone:
            raise InputError(
                f"{path} has the backbone {backbone}; expected {self.config.backbone}; set backbone={backbone}"
            )
        decoder: tuple[str, ...] = ()
        if isinstance(self.config, FusionConfig) and self.config.start_decoder:
            decoder = ("decoder",)
            self.lstm.hand_on()
        for part in (*SHARED, *decoder):
            own = {key.removeprefix(f"{part}."): value for key, value in state.items() if key.startswith(f"{part}.")}
            self.get_submodule(part).load_state_dict(own)


class Memory(NamedTuple):
    """What the fusion net carries on: ``hidden`` and ``cell`` B x 512 x H/32 x W/32 of the view with ``pose`` B x 4 x 4
    (cam_to_world) and the ``depth`` B x 1 x H x W predicted for it."""

    hidden: Tensor
    cell: Tensor
    depth: Tensor
    pose: Tensor


class FusionNet(PairNet):
    """The pair net with a recurrent cell between encoder and decoder."""

    config: FusionConfig

    def recall(
        self,
        bottom: Tensor,
        memory: Memory | None,
        pose: Tensor,
        intrinsics: Tensor,
        estimate: Tensor | None = None,
    ) -> tuple[Tensor, Tensor]:
        """The next hidden and cell state of the bottleneck ``bottom`` B x 512 x H/32 x W/32 (spec 2.7).

        ``estimate`` B x 1 x H/32 x W/32 is the depth by which the hidden state is moved to this view; default: the
        remembered prediction as seen from here, no gradient. The cell state stays where it is.
        """
        if memory is None:
            return self.lstm(bottom, torch.zeros_like(bottom), torch.zeros_like(bottom))
        convention = self.config.convention
        if estimate is None:
            estimate = project_depth(memory.depth, memory.pose, pose, intrinsics, convention)[..., ::16, ::16]
        move, grid = move_between(memory.pose, pose).to(estimate), divide_intrinsics(intrinsics, 32).to(estimate)
        hidden = warp_hidden(memory.hidden, estimate, move, grid, convention)
        return self.lstm(bottom, hidden, memory.cell)


def match(
    config: PairConfig,
    reference: Tensor,
    measurements: Tensor,
    pose: Tensor,
    measurement_poses: Tensor,
    intrinsics: Tensor,
) -> Tensor:
    """The cost volume B x 64 x H/2 x W/2 of half-size features B x 32 x .. and B x V x 32 x .. (spec 2.3).

    Poses are cam_to_world, B x 4 x 4 and B x V x 4 x 4 in metres; ``intrinsics`` B x 3 x 3 those of the image.
    """
    dtype, device = torch.promote_types(reference.dtype, torch.float32), reference.device
    return plane_sweep_volume(
        reference.to(dtype),
        measurements.to(dtype),
        move_between(measurement_poses, pose[:, None]).to(device, dtype),
        divide_intrinsics(intrinsics, 2).to(dtype),
        plane_depths(PLANES, config.near, config.far, dtype=dtype, device=device),
        config.convention,
    )


def build(config: PairConfig) -> PairNet:
    """The networks that ``config`` is for."""
    return FusionNet(config) if isinstance(config, FusionConfig) else PairNet(config)
