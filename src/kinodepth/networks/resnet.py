"""ResNet feature pyramids (He et al. 2016) through timm, with the parameter names of torchvision.

F0 is the activated stem at 1/2 of the image size, F1..F4 the four stages at 1/4 .. 1/32. The classifier is not built.
"""

from __future__ import annotations

from pathlib import Path

from torch import Tensor, nn

from kinodepth.networks.timm_features import REDUCTIONS, timm_features
from kinodepth.types import InputError

LAYERS = (18, 34, 50, 101, 152)


class ResNetEncoder(nn.Module):
    """Features of an image of ``in_channels`` channels; ``channels`` lists their widths, F0 first.

    ``pretrained`` starts from ImageNet weights (timm's ``tv_in1k`` tags, which are torchvision's V1 weights):
    True downloads them, a path reads a local file. For more than three input channels the stem kernel is repeated along
    the input axis and scaled by 3 / ``in_channels``. Of the four ``stages`` the last may be left out. Raises
    ``InputError`` for an unknown depth or when the weights cannot be had.
    """

    def __init__(
        self, layers: int = 18, in_channels: int = 3, pretrained: bool | str | Path = False, stages: int = 4
    ) -> None:
        super().__init__()
        if layers not in LAYERS:
            raise InputError(f"ResNet with {layers} layers; expected one of {LAYERS}; choose one of these")
        body = timm_features(f"resnet{layers}.tv_in1k", pretrained, REDUCTIONS[: stages + 1], in_channels)
        self.channels: list[int] = body.feature_info.channels()
        self.body: nn.Module = body

    def forward(self, images: Tensor) -> list[Tensor]:
        """Map normalised images B x ``in_channels`` x H x W to [F0, .., F4]."""
        return self.body(images)
