"""All networks of Mining Supervision as one module (spec mining_supervision 4)."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from kinodepth.geometry.depth import sigmoid_to_depth
from kinodepth.geometry.sampling import resize
from kinodepth.methods.mining_supervision.config import MiningSupervisionConfig
from kinodepth.methods.mining_supervision.networks import FlowNet, GroundNet, ScaleNet
from kinodepth.networks.depth_nets import depth_net
from kinodepth.networks.pose_net import PoseNet

MEAN, STD = 0.45, 0.225  # of every channel, for the pose networks
NEAR, FAR = 0.1, 100.0  # scene units
MOTIONS = 12  # numbers of the published pose head: two motions, the first of which is used


class MiningSupervision(nn.Module):
    """``depth_net``, ``pose_net`` and ``flow_net`` of the scene, ``object_depth_net``, ``object_pose_net`` and
    ``scale_net`` of objects; for found masks also ``slot_net``, ``ground_net`` and ``detector``."""

    def __init__(self, config: MiningSupervisionConfig) -> None:
        super().__init__()
        self.config = config
        self.depth_net = depth_net(config.depth_net, config.pretrained)
        self.pose_net = PoseNet(MOTIONS, pretrained=config.pretrained)
        self.flow_net = FlowNet(config.flow_net, shortest=min(config.height, config.width))
        self.object_depth_net = depth_net(config.depth_net, False, (0,))  # both start as those of the scene
        self.object_pose_net = PoseNet(MOTIONS)
        self.scale_net = ScaleNet(config.pretrained, config.convention)
        if config.masks == "found":
            from kinodepth.methods.mining_supervision.detector import Detector
            from kinodepth.methods.mining_supervision.slots import SlotNet

            self.slot_net = SlotNet()
            self.ground_net = GroundNet(config.height, config.width, config.convention)
            self.detector = Detector(config.detector_side, config.pretrained)

    def depths(self, images: Tensor) -> list[Tensor]:
        """Depth of the scene in images B x 3 x H x W in [0, 1]: B x 1 x H / 2^s x W / 2^s for s = 0, 1, 2, 3."""
        found = reversed(self.depth_net.scales(images))
        return [to_depth(sigma, images, scale) for scale, sigma in found]

    def depth(self, images: Tensor) -> Tensor:
        """The finest alone, B x 1 x H x W."""
        return to_depth(self.depth_net(images), images)

    def object_depth(self, images: Tensor) -> Tensor:
        """Depth B x 1 x H x W of the object in images that are black elsewhere."""
        return to_depth(self.object_depth_net(images), images)


def to_depth(sigma: Tensor, images: Tensor, scale: int = 0) -> Tensor:
    """Depth at 1 / 2^scale of the size of ``images`` from a sigmoid map, which some networks make half as large."""
    height, width = images.shape[-2:]
    return sigmoid_to_depth(resize(sigma.float(), (height >> scale, width >> scale)), NEAR, FAR)


def moves(net: nn.Module, images: Tensor) -> Tensor:
    """2B x 6 answers of a pose network to B x 3 x 3 x H x W images (target, previous, next), pairs in order of time:
    previous and target, target and next."""
    target, previous, following = ((images - MEAN) / STD).unbind(1)
    return net(torch.cat([previous, target]), torch.cat([target, following]))[:, :6].float()


def start_objects(model: nn.Module) -> None:
    """Let the networks of objects start as those of the scene."""
    assert isinstance(model, MiningSupervision)
    model.object_depth_net.load_state_dict(model.depth_net.state_dict(), strict=False)  # without the coarser heads
    model.object_pose_net.load_state_dict(model.pose_net.state_dict())


def build(config: MiningSupervisionConfig) -> MiningSupervision:
    """The networks that ``config`` is for."""
    return MiningSupervision(config)
