"""The motion network: ego-motion and a 3-D motion field of objects, coarse to fine (spec rm_depth 4)."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from kinodepth.geometry.pose import axis_angle_to_matrix, invert, pose_matrix
from kinodepth.geometry.sampling import resize
from kinodepth.networks.init import init_decoder

WIDTHS = (16, 32, 64, 128, 256, 256)  # channels of level 1 (image size, no stride) to 6 (1/32) [our choice]
SLOPE = 0.1  # of LeakyReLU [prior work: LiteFlowNet]
FACTOR = 0.01  # of everything that is a motion [prior work: Monodepth2]


class PairEncoder(nn.Module):
    """Features of an image pair at levels 1 .. ``levels``; the first convolution has no stride [figure]."""

    def __init__(self) -> None:
        super().__init__()
        inputs = (6, *WIDTHS[:-1])
        self.convs = nn.ModuleList(
            nn.Conv2d(inputs[i], width, 3, 1 if i == 0 else 2, 1) for i, width in enumerate(WIDTHS)
        )
        for conv in self.convs:
            nn.init.kaiming_normal_(conv.get_parameter("weight"), a=SLOPE)

    def forward(self, first: Tensor, second: Tensor, levels: int = len(WIDTHS)) -> list[Tensor]:
        """``levels`` features of normalised images B x 3 x H x W, finest first."""
        x, found = torch.cat([first, second], 1), []
        for conv in self.convs[:levels]:
            x = F.leaky_relu(conv(x), SLOPE)
            found.append(x)
        return found


class PoseDecoder(nn.Module):
    """Axis-angle and translation B x 6 of the coarsest feature (three features, one vector [figure])."""

    def __init__(self) -> None:
        super().__init__()
        self.squeeze = nn.Conv2d(WIDTHS[-1], 256, 1)
        self.convs = nn.ModuleList([nn.Conv2d(256, 256, 3, padding=1) for _ in range(2)])
        self.head = nn.Conv2d(256, 6, 1)
        init_decoder([self.squeeze, *self.convs], [self.head])

    def forward(self, feature: Tensor) -> Tensor:
        x = F.relu(self.squeeze(feature))
        for conv in self.convs:
            x = F.relu(conv(x))
        return FACTOR * self.head(x).mean((2, 3))


class FieldDecoder(nn.Module):
    """The residual R_l of one level: what the motion field B x 3 x h x w lacks (Eq. 11 [outline]; sizes [our choice]).

    Its last convolution starts at zero: the scene is rigid until the images say otherwise.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        hidden = max(channels // 2, 16)
        self.hidden = nn.Conv2d(channels + 3, hidden, 3, padding=1)
        self.head = nn.Conv2d(hidden, 3, 3, padding=1)
        nn.init.kaiming_normal_(self.hidden.weight, a=SLOPE)
        nn.init.zeros_(self.head.weight)
        nn.init.zeros_(self.head.get_parameter("bias"))

    def forward(self, feature: Tensor, field: Tensor) -> Tensor:
        # In the units of the output before its factor, so that both inputs are of one size [our choice].
        x = torch.cat([feature, field.to(feature.dtype) / FACTOR], 1)
        return FACTOR * self.head(F.leaky_relu(self.hidden(x), SLOPE))


class MotionNet(nn.Module):
    """Motion from target to source: one encoder for both decoders [figure]; without ``object_motion`` pose alone."""

    def __init__(self, object_motion: bool = True) -> None:
        super().__init__()
        self.encoder = PairEncoder()
        self.pose = PoseDecoder()
        self.fields = nn.ModuleList(FieldDecoder(width) for width in WIDTHS) if object_motion else None

    def ego_motion(self, target: Tensor, source: Tensor, swap: Tensor | None = None) -> Tensor:
        """source_from_target B x 4 x 4 of normalised images B x 3 x H x W; pass 1.

        Pairs that ``swap`` (B, bool) names are seen source first, and the answer is inverted.
        """
        first, second = target, source
        if swap is not None:
            turned = swap[:, None, None, None]
            first, second = torch.where(turned, source, target), torch.where(turned, target, source)
        vector = self.pose(self.encoder(first, second)[-1]).float()
        with torch.autocast(vector.device.type, enabled=False):
            move = pose_matrix(axis_angle_to_matrix(vector[:, :3]), vector[:, 3:])
            return move if swap is None else torch.where(swap[:, None, None], invert(move), move)

    def object_motion(self, target: Tensor, source: Tensor, warp: Callable[[Tensor], Tensor] | None) -> Tensor:
        """The field T_obj B x 3 x H x W, in the source camera's axes and the depth's unit; pass 2.

        ``warp`` makes the second input from the field so far (B x 3 x H x W): at every level the pair is encoded anew,
        as deep as that level needs. None: the ablation without warping, which sees ``source``.
        """
        assert self.fields is not None
        field = target.new_zeros(len(target), 3, 1, 1)
        features = self.encoder(target, source) if warp is None else []
        for level in reversed(range(len(WIDTHS))):
            if warp is not None:
                features = self.encoder(target, warp(enlarge(field, target.shape[-2:])), level + 1)
            feature = features[level]
            field = enlarge(field, feature.shape[-2:])
            field = field + self.fields[level](feature, field).float()
        return field


def enlarge(field: Tensor, size: torch.Size) -> Tensor:
    """``field`` B x 3 x h x w at ``size``; its values are lengths in 3-D and stay as they are."""
    return field if field.shape[-2:] == size else resize(field, size)
