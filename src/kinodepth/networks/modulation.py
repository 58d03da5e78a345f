"""The recurrent modulation unit of RM-Depth (spec rm_depth 3.4) and its ablations."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class ModulationUnit(nn.Module):
    """Refine a hidden state by an encoder feature that is modulated anew in every iteration.

    Topology [figure]: w, b = A([F, h]); F' = tanh(Bc(w F + b)); z = sigmoid(G([h, F'])); h <- (1 - z) h + z F'.
    F stays the unmodulated feature throughout. Kernel sizes, biases and starting weights [our choice]: A begins as
    w = 1, b = 0. Without ``modulation`` that is all there is, and F' is the same in every iteration.
    """

    def __init__(
        self, channels: int, kernel_mod: int = 1, kernel_fuse: int = 3, kernel_gate: int = 1, modulation: bool = True
    ) -> None:
        super().__init__()
        self.modulate = nn.Conv2d(2 * channels, 2 * channels, kernel_mod, padding="same") if modulation else None
        self.fuse = nn.Conv2d(channels, channels, kernel_fuse, padding="same")
        self.gate = nn.Conv2d(2 * channels, channels, kernel_gate, padding="same")
        if self.modulate is not None:
            nn.init.normal_(self.modulate.weight, std=0.01)
            with torch.no_grad():
                self.modulate.get_parameter("bias").copy_(torch.tensor([1.0, 0.0]).repeat_interleave(channels))
        for conv in (self.fuse, self.gate):
            nn.init.xavier_uniform_(conv.weight)
            nn.init.zeros_(conv.get_parameter("bias"))

    def forward(self, feature: Tensor, hidden: Tensor, iterations: int) -> list[Tensor]:
        """The hidden states after 1 .. ``iterations``, B x C x h x w each like ``feature`` and the first ``hidden``."""
        channels = feature.shape[1]
        fixed = changing = content = None
        if self.modulate is None:
            content = torch.tanh(self.fuse(feature))
        else:  # the feature's half of A is the same in every iteration
            fixed = F.conv2d(feature, self.modulate.weight[:, :channels], self.modulate.bias, padding="same")
            changing = self.modulate.weight[:, channels:]
        states = []
        for _ in range(iterations):
            if fixed is not None:
                assert changing is not None
                factor, offset = (fixed + F.conv2d(hidden, changing, padding="same")).chunk(2, 1)
                content = torch.tanh(self.fuse(torch.addcmul(offset, factor, feature)))
            assert content is not None
            hidden = torch.lerp(hidden, content, torch.sigmoid(self.gate(torch.cat([hidden, content], 1))))
            states.append(hidden)
        return states


class PlainFusion(nn.Module):
    """The ablation "without RMU" (Eq. 3 [outline]): h = tanh(convolution of [h, F]), once."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.fuse = nn.Conv2d(2 * channels, channels, 3, padding=1)
        nn.init.xavier_uniform_(self.fuse.weight)
        nn.init.zeros_(self.fuse.get_parameter("bias"))

    def forward(self, feature: Tensor, hidden: Tensor, iterations: int) -> list[Tensor]:
        """As ``ModulationUnit``, whatever ``iterations``: one state."""
        return [torch.tanh(self.fuse(torch.cat([hidden, feature], 1)))]
