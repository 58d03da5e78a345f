"""Residual upsampling of RM-Depth: one set of filters for each part of a feature's spectrum (spec rm_depth 3.5)."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

# Taps of a kernel of 4, per output parity, in the order of the 3 inputs that a convolution sees; 4 stands for none.
TAPS = ((3, 1, 4), (4, 2, 0))


def bands(x: Tensor, count: int) -> list[Tensor]:
    """Split ``x`` B x C x h x w into ``count`` parts that sum to it, lowest frequencies first.

    Two parts [paper, outline]; that they are the 3 x 3 box mean (replicated border) and the rest, and differences of
    box means of growing size for more parts, is [our choice].
    """
    rest, parts = x, []
    for half in range(1, count):
        mean = F.avg_pool2d(F.pad(x, (half,) * 4, mode="replicate"), 2 * half + 1, 1)
        parts.append(rest - mean)
        rest = mean
    return [rest, *reversed(parts)]


class ResidualUpsampling(nn.Module):
    """Twice the size, ``out_channels``: tanh(conv(sum of U_b(band b))), one set U_b of transposed filters per band.

    ``filters`` bands x C x 4 x 4: depth-wise, stride 2, all bilinear at the start, so that ``spread`` then is bilinear
    interpolation, borders included [our choice]. One band is the ablation without residual upsampling.
    """

    def __init__(self, channels: int, out_channels: int, count: int = 2) -> None:
        super().__init__()
        line = torch.tensor([1.0, 3.0, 3.0, 1.0]) / 4
        self.filters = nn.Parameter(torch.outer(line, line).repeat(count, channels, 1, 1))
        self.conv = nn.Conv2d(channels, out_channels, 3, padding=1)
        nn.init.xavier_uniform_(self.conv.weight)
        nn.init.zeros_(self.conv.get_parameter("bias"))

    def spread(self, x: Tensor) -> Tensor:
        """The sum of the upsampled bands of ``x`` B x C x h x w: B x C x 2h x 2w.

        A transposed convolution with stride 2 is a plain one with four outputs, one per parity of row and column, whose
        kernels of 3 see replicated borders; several times faster on processors.
        """
        count, channels = self.filters.shape[:2]
        taps = torch.tensor(TAPS, device=x.device)
        kernels = F.pad(self.filters, (0, 1, 0, 1))[:, :, taps[:, None, :, None], taps[None, :, None, :]]
        kernels = kernels.reshape(count, 4 * channels, 1, 3, 3)  # from bands, C, two parities, 3, 3
        parts = [
            F.conv2d(F.pad(part, (1,) * 4, mode="replicate"), kernel, groups=channels)
            for part, kernel in zip(bands(x, count), kernels)
        ]
        return F.pixel_shuffle(sum(parts[1:], parts[0]), 2)

    def forward(self, x: Tensor) -> Tensor:
        """Map B x C x h x w to B x ``out_channels`` x 2h x 2w in (-1, 1)."""
        return torch.tanh(self.conv(self.spread(x)))
