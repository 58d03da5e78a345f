"""Mining Supervision's depth network: HRNet-18 features, decoded with attention over channels (spec 4.1 there)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import timm
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from kinodepth.geometry.sampling import resize
from kinodepth.networks.depth_decoder import ReflectConv
from kinodepth.networks.depth_nets import DepthNet, Disparity
from kinodepth.networks.init import init_decoder
from kinodepth.types import InputError

SCALES = (0, 1, 2, 3)
# Decoder blocks, coarse to fine: name, channels from below, channels of the features beside, channels out.
BLOCKS = (("72", 144, 144, 256), ("36", 256, 108, 128), ("18", 128, 118, 64), ("9", 64, 64, 32))


class CornerUpsample(nn.Module):
    """Bilinear by a whole factor, corner centres kept, where timm's HRNet repeats pixels."""

    def __init__(self, factor: int) -> None:
        super().__init__()
        self.factor = factor

    def forward(self, x: Tensor) -> Tensor:
        return resize(x, (x.shape[-2] * self.factor, x.shape[-1] * self.factor), align_corners=True)


class HighResolutionEncoder(nn.Module):
    """timm's HRNet-W18 without classifier. ``pretrained`` ImageNet weights: download, local file or none."""

    def __init__(self, pretrained: bool | str | Path = False) -> None:
        super().__init__()
        local = None if isinstance(pretrained, bool) else {"file": str(pretrained)}
        try:
            net: Any = timm.create_model(
                "hrnet_w18", pretrained=bool(pretrained), pretrained_cfg_overlay=local, num_classes=0, head=""
            )
        except (OSError, RuntimeError) as error:
            if not pretrained:
                raise
            raise InputError(
                f"ImageNet weights for hrnet_w18 could not be loaded ({str(error).splitlines()[0]}); expected a "
                "network connection or a local file; give its path as `pretrained`, or set it to false"
            ) from error
        self.conv1, self.bn1, self.conv2, self.bn2, self.layer1 = net.conv1, net.bn1, net.conv2, net.bn2, net.layer1
        self.transition1, self.transition2, self.transition3 = net.transition1, net.transition2, net.transition3
        self.stage2, self.stage3, self.stage4 = net.stage2, net.stage3, net.stage4
        for module in self.modules():
            for name, child in module.named_children():
                if (factor := getattr(child, "scale_factor", None)) is not None:
                    setattr(module, name, CornerUpsample(int(factor)))

    def forward(self, images: Tensor) -> list[list[Tensor]]:
        """Features of images B x 3 x H x W: lists for 1/2 (64 channels), 1/4, 1/8, 1/16 and 1/32 of their size."""
        half = F.relu(self.bn1(self.conv1(images)))
        quarter = F.relu(self.bn2(self.conv2(half)))
        x = self.layer1(quarter)
        second = self.stage2([step(x) for step in self.transition1])
        third = self.stage3(self._widen(self.transition2, second))
        fourth = self.stage4(self._widen(self.transition3, third))
        levels = [[s[i] for s in (second, third, fourth) if len(s) > i] for i in range(4)]
        return [[half], [quarter, *levels[0]], *levels[1:]]

    @staticmethod
    def _widen(transition: nn.ModuleList, branches: list[Tensor]) -> list[Tensor]:
        """The branches as they are, and a coarser one made of the coarsest."""
        return [*branches, transition[-1](branches[-1])]


class AttentionBlock(nn.Module):
    """Coarse features, repeated to double size, and those beside them, weighted per channel, then convolved."""

    def __init__(self, coarse: int, beside: int, out: int) -> None:
        super().__init__()
        channels = coarse + beside
        self.squeeze = nn.Linear(channels, channels // 16, bias=False)
        self.excite = nn.Linear(channels // 16, channels, bias=False)
        self.conv = nn.Conv2d(channels, out, 3, padding=1)

    def forward(self, coarse: Tensor, beside: list[Tensor]) -> Tensor:
        x = torch.cat([doubled(coarse), *beside], 1)
        weight = torch.sigmoid(self.excite(F.relu(self.squeeze(x.mean((2, 3))))))
        return F.relu(self.conv(x * weight[:, :, None, None]))


class HighResolutionDepthNet(DepthNet):
    """Sigmoid maps of images B x 3 x H x W at 1 / 2^s of their size for s in ``scales``; H and W multiples of 32."""

    def __init__(self, pretrained: bool | str | Path = False, scales: tuple[int, ...] = SCALES) -> None:
        super().__init__()
        self.encoder = HighResolutionEncoder(pretrained)
        self.blocks = nn.ModuleDict({name: AttentionBlock(*channels) for name, *channels in BLOCKS})
        self.before, self.after = ReflectConv(32, 16), ReflectConv(16, 16)
        self.heads = nn.ModuleDict({str(s): ReflectConv((16, 32, 64, 128)[s], 1) for s in scales})
        hidden = [block.get_submodule("conv") for block in self.blocks.values()]
        init_decoder([*hidden, self.before, self.after], self.heads.values())

    def decoded(self, images: Tensor) -> dict[int, Tensor]:
        """The decoder's maps at 1 / 2^s by s, from 4 down to 0."""
        features = self.encoder(images)
        x, found = features[-1][0], {}
        for scale, block, beside in zip((4, 3, 2, 1), self.blocks.values(), reversed(features[:-1])):
            found[scale] = x = block(x, beside)
        found[0] = F.elu(self.after(doubled(F.elu(self.before(x)))))
        return found

    def scales(self, images: Tensor) -> list[Disparity]:
        """All of them, coarse to fine."""
        found = self.decoded(images)
        return [Disparity(s, torch.sigmoid(self.heads[str(s)](found[s]))) for s in found if str(s) in self.heads]

    def forward(self, images: Tensor) -> Tensor:
        """The finest alone, B x 1 x H x W."""
        return torch.sigmoid(self.heads["0"](self.decoded(images)[0]))


def doubled(x: Tensor) -> Tensor:
    """Every pixel four times."""
    return resize(x, (2 * x.shape[-2], 2 * x.shape[-1]), "nearest")
