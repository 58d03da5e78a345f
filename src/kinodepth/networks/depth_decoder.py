"""The U-Net decoder of Monodepth2 and SC-Depth: reflection-padded convolutions, ELU, bilinear upsampling."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from kinodepth.geometry.sampling import resize
from kinodepth.networks.init import init_decoder

WIDTHS = (16, 32, 64, 128, 256)  # channels at 1/1, 1/2, .. 1/16 of the image size


class ReflectConv(nn.Conv2d):
    """A 3 x 3 convolution of a reflection-padded input; same size out."""

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__(in_channels, out_channels, 3)

    def forward(self, x: Tensor) -> Tensor:
        with torch.autocast(x.device.type, enabled=False):  # which would pad in float32: copies cost no digits
            x = F.pad(x, (1, 1, 1, 1), mode="reflect")
        return super().forward(x)


class DepthDecoder(nn.Module):
    """One logit map per scale in ``scales`` (0 is the finest, at image size; spec sc_depth 3.2).

    ``channels`` are the widths of the encoder features F0..F4. A head exists only for a scale that is asked for.
    """

    def __init__(self, channels: Sequence[int], scales: Sequence[int] = (0,)) -> None:
        super().__init__()
        inputs = [*WIDTHS[1:], channels[-1]]
        skips = [0, *channels[:-1]]
        self.before = nn.ModuleList([ReflectConv(inputs[i], WIDTHS[i]) for i in range(5)])
        self.after = nn.ModuleList([ReflectConv(WIDTHS[i] + skips[i], WIDTHS[i]) for i in range(5)])
        self.heads = nn.ModuleDict({str(s): ReflectConv(WIDTHS[s], 1) for s in scales})
        init_decoder([*self.before, *self.after], [*self.heads.values()])

    def forward(self, features: list[Tensor]) -> dict[int, Tensor]:
        """Map features F0..F4 to B x 1 x (H / 2^s) x (W / 2^s) logits by scale s."""
        x, logits = features[-1], {}
        for i in reversed(range(5)):
            if i == 0:  # few channels, many pixels: a quarter faster in this layout, the levels before are not
                x = x.contiguous(memory_format=torch.channels_last)
            x = F.elu(self.before[i](x), inplace=True)
            x = resize(x, (2 * x.shape[-2], 2 * x.shape[-1]))
            if i > 0:
                x = torch.cat([x, features[i - 1]], 1)
            x = F.elu(self.after[i](x), inplace=True)
            if str(i) in self.heads:
                logits[i] = self.heads[str(i)](x)
        return logits
