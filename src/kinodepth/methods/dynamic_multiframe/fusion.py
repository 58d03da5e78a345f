"""Cross-cue fusion (spec dynamic_multiframe 6): where one cue looks, the other is gathered.

Volumes B x D x H x W; at 1/4 (or 1/8) of the size they become n = h w tokens of 32 channels. Attention never holds the
n x n matrix.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from kinodepth.geometry.sampling import resize
from kinodepth.networks.batch_norm import BatchNorm2d

WIDTH = 32  # channels of tokens and residuals


def block(inputs: int, kernel: int, stride: int = 1) -> list[nn.Module]:
    """Convolution, batch norm, ReLU."""
    return [nn.Conv2d(inputs, WIDTH, kernel, stride, kernel // 2), BatchNorm2d(WIDTH), nn.ReLU(inplace=True)]


class Cue(nn.Module):
    """One volume's layers: its tokens, its attention if it ``guides``, its values and residual if it is ``carried``."""

    def __init__(self, planes: int, halvings: int, residual: list[nn.Module], guides: bool, carried: bool) -> None:
        super().__init__()
        self.carried = carried
        self.expand = nn.Sequential(*(m for i in range(halvings) for m in block(WIDTH if i else planes, 3, 2)))
        if guides:
            self.query, self.key = nn.Conv2d(WIDTH, WIDTH, 1), nn.Conv2d(WIDTH, WIDTH, 1)
        if carried:
            self.value, self.residual = nn.Conv2d(WIDTH, WIDTH, 1), nn.Sequential(*residual)


class CrossCueFusion(nn.Module):
    """Mono (one-hot) and multi-view volumes to one of ``channels`` channels.

    ``kind``: ``cross`` carries both, each guided by the other; ``mono_guide_multi`` carries the multi-view volume only,
    guided by the mono one, and ``multi_guide_mono`` the other way round. With ``cues`` of one kind only, whatever
    ``kind``, that volume is carried and guides itself; the other is not looked at.
    """

    def __init__(self, planes: int = 32, halvings: int = 2, kind: str = "cross", cues: str = "both") -> None:
        super().__init__()
        alone = cues != "both"
        carries_mono = cues == "mono" if alone else kind != "mono_guide_multi"
        carries_multi = cues == "multi" if alone else kind != "multi_guide_mono"
        mono, multi = [*block(planes, 3), *block(WIDTH, 3)], block(planes, 1)
        self.mono = None if cues == "multi" else Cue(planes, halvings, mono, alone or carries_multi, carries_mono)
        self.multi = None if cues == "mono" else Cue(planes, halvings, multi, alone or carries_mono, carries_multi)
        self.gain = nn.Parameter(torch.zeros(1))
        self.channels = WIDTH * (carries_mono + carries_multi)

    def forward(self, mono: Tensor, multi: Tensor, beside: tuple[Tensor, ...] = ()) -> Tensor:
        """B x ``channels`` x H x W, and the channels of ``beside`` after these, joined in one copy."""
        seen = [(cue, volume) for cue, volume in ((self.mono, mono), (self.multi, multi)) if cue is not None]
        cues = [(cue, cue.expand(volume)) for cue, volume in seen]
        gathered = [
            attend(guide, guide_tokens, cue.value(tokens))
            for (cue, tokens), (guide, guide_tokens) in zip(cues, cues[::-1])  # each guided by the other, or by itself
            if cue.carried
        ]
        residuals = [cue.residual(volume) for cue, volume in seen if cue.carried]
        # What is gathered starts with the multi-view cue, the residual with the mono one: as published.
        found = torch.cat(gathered[::-1], 1) * self.gain.to(gathered[0].dtype)
        joined = torch.cat((*residuals, *(x.to(residuals[0].dtype) for x in beside)), 1)
        joined[:, : self.channels].add_(resize(found, mono.shape[-2:], "nearest_floor"))
        return joined


def attend(guide: Cue, tokens: Tensor, values: Tensor) -> Tensor:
    """``values`` B x C x h x w gathered by the self-attention (one head, no scaling) of the guide's ``tokens``."""
    query, key, value = (x.flatten(2).mT[:, None] for x in (guide.query(tokens), guide.key(tokens), values))
    found = F.scaled_dot_product_attention(query, key, value, scale=1.0)
    return found[:, 0].mT.unflatten(2, values.shape[-2:])
