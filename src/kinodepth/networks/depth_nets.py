"""Networks for the depth of one image, by name: every method that learns from plain video can train any of them.

Their sigmoid maps are linear in inverse depth; the method says what depths they stand for.
"""

from __future__ import annotations

from pathlib import Path
from typing import Literal, NamedTuple

from torch import Tensor, nn

DepthNetKind = Literal["resnet", "recurrent", "hrnet"]


class Disparity(NamedTuple):
    """A sigmoid map B x 1 x h x w; ``scale`` 0 is the finest, each further one half as large."""

    scale: int
    sigma: Tensor


class DepthNet(nn.Module):
    """Calling it gives the finest map B x 1 x h x w of images B x 3 x H x W, H and W multiples of 32."""

    def scales(self, images: Tensor) -> list[Disparity]:
        """All that is supervised, coarse to fine."""
        raise NotImplementedError


def depth_net(
    kind: DepthNetKind, pretrained: bool | str | Path, scales: tuple[int, ...] = (0, 1, 2, 3), layers: int = 18
) -> DepthNet:
    """The network ``kind`` with a head for each of ``scales``.

    ``resnet``: the U-Net of Monodepth2 and SC-Depth on a ResNet of so many ``layers``. ``recurrent``: RM-Depth's, whose
    finest map is half as large as the image. ``hrnet``: that of Mining Supervision. ``pretrained``: ImageNet start of
    the encoder, by download or from a local file.
    """
    if kind == "resnet":
        from kinodepth.networks.unet_depth import UNetDepthNet

        return UNetDepthNet(layers, pretrained, scales)
    if kind == "recurrent":
        from kinodepth.networks.recurrent_depth import RecurrentDepthNet

        return RecurrentDepthNet(pretrained, scales=scales)
    from kinodepth.networks.hrnet_depth import HighResolutionDepthNet

    return HighResolutionDepthNet(pretrained, scales)
