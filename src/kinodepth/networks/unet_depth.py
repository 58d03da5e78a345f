"""The depth network of Monodepth2 and SC-Depth: ResNet features and the U-Net decoder."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor

from kinodepth.networks.depth_decoder import DepthDecoder
from kinodepth.networks.depth_nets import DepthNet, Disparity
from kinodepth.networks.resnet import ResNetEncoder


class UNetDepthNet(DepthNet):
    """Sigmoid maps at 1 / 2^s of the image size for s in ``scales`` (spec sc_depth 3.2)."""

    def __init__(self, layers: int = 18, pretrained: bool | str | Path = False, scales: tuple[int, ...] = (0,)) -> None:
        super().__init__()
        self.encoder = ResNetEncoder(layers, 3, pretrained)
        self.decoder = DepthDecoder(self.encoder.channels, scales)

    def scales(self, images: Tensor) -> list[Disparity]:
        """All of them, coarse to fine, of images B x 3 x H x W."""
        return [Disparity(s, torch.sigmoid(z)) for s, z in self.decoder(self.encoder(images)).items()]

    def forward(self, images: Tensor) -> Tensor:
        """The finest alone, B x 1 x H x W."""
        return torch.sigmoid(self.decoder(self.encoder(images))[0])
