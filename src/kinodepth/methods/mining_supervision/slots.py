"""Slot attention auto-encoder: cuts a picture of motion into slots, the first of which is what does not move
(spec mining_supervision 4.6). K slots, the background first; maps B x K x C x H x W."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

SIZE = 64  # numbers per slot and channels of every layer
COLOURS, CHANNELS = 3, 4  # a motion picture: colours of flow, then depth
NOISE = 1e-10


class Slots(NamedTuple):
    """``pictures`` B x K x 4 x H x W, ``masks`` B x K x 1 x H x W that add up to 1, ``slots`` B x K x 64,
    ``presence`` B x (K - 1), the probability that a foreground slot holds anything."""

    pictures: Tensor
    masks: Tensor
    slots: Tensor
    presence: Tensor

    @property
    def combined(self) -> Tensor:
        """The picture that all slots make together, B x 4 x H x W."""
        return (self.pictures * self.masks).sum(1)

    def without_empty(self) -> Slots:
        """Foreground masks sharpened by the presence of their slots; the background takes what they leave."""
        weighted = self.presence[..., None, None, None] * self.masks[:, 1:]
        front = weighted.square() / (weighted.sum(1, keepdim=True) + NOISE)
        return self._replace(masks=torch.cat([1 - front.sum(1, keepdim=True), front], 1))


class PositionEmbedding(nn.Module):
    """Adds a linear function of the place in the picture to maps B x 64 x H x W."""

    def __init__(self) -> None:
        super().__init__()
        self.dense = nn.Linear(4, SIZE)

    def forward(self, x: Tensor) -> Tensor:
        down, across = (torch.linspace(0, 1, n, dtype=x.dtype, device=x.device) for n in x.shape[-2:])
        y, x_ = torch.meshgrid(down, across, indexing="ij")
        return x + self.dense(torch.stack([y, x_, 1 - y, 1 - x_], -1)).permute(2, 0, 1)


class SlotAttention(nn.Module):
    """Slots B x K x 64 that compete for the inputs B x N x 64."""

    def __init__(self, iterations: int = 3) -> None:
        super().__init__()
        self.iterations = iterations
        start = [nn.Parameter(nn.init.xavier_uniform_(torch.empty(1, 1, SIZE))) for _ in range(4)]
        self.background_mean, self.background_log_sigma, self.foreground_mean, self.foreground_log_sigma = start
        self.norm_inputs, self.norm_slots, self.norm_mlp = (nn.LayerNorm(SIZE) for _ in range(3))
        self.query, self.key, self.value = (nn.Linear(SIZE, SIZE, bias=False) for _ in range(3))
        self.gru = nn.GRUCell(SIZE, SIZE)
        self.mlp = nn.Sequential(nn.Linear(SIZE, 2 * SIZE), nn.ReLU(), nn.Linear(2 * SIZE, SIZE))

    def forward(self, inputs: Tensor, noise: Tensor) -> Tensor:
        """``noise`` B x K x 64, standard normal, the background's first."""
        back = self.background_mean + self.background_log_sigma.exp() * noise[:, :1]
        front = self.foreground_mean + self.foreground_log_sigma.exp() * noise[:, 1:]
        slots = torch.cat([back, front], 1)
        inputs = self.norm_inputs(inputs)
        keys, values = self.key(inputs), self.value(inputs)
        for _ in range(self.iterations):
            logits = keys @ self.query(self.norm_slots(slots)).transpose(1, 2) / SIZE**0.5
            share = logits.softmax(-1) + 1e-8
            update = (share / share.sum(1, keepdim=True)).transpose(1, 2) @ values
            slots = self.gru(update.flatten(0, 1), slots.flatten(0, 1)).view_as(slots)
            slots = slots + self.mlp(self.norm_mlp(slots))
        return slots


class SlotNet(nn.Module):
    """Cuts motion pictures B x 4 x H x W (flow colours in [-1, 1], depth; H and W multiples of 16) into slots."""

    def __init__(self, count: int = 5, iterations: int = 3) -> None:
        super().__init__()
        self.count = count
        inputs = (CHANNELS, SIZE, SIZE, SIZE)
        self.encoder = nn.Sequential(
            *(layer for c in inputs for layer in (nn.Conv2d(c, SIZE, 5, padding=2), nn.LeakyReLU()))
        )
        self.encoder_position, self.decoder_position = PositionEmbedding(), PositionEmbedding()
        self.tokens = nn.Sequential(nn.Linear(SIZE, SIZE), nn.LeakyReLU(), nn.Linear(SIZE, SIZE))
        self.attention = SlotAttention(iterations)
        growing = [(nn.ConvTranspose2d(SIZE, SIZE, 5, 2, 2, 1), nn.LeakyReLU()) for _ in range(4)]
        self.decoder = nn.Sequential(
            *(layer for pair in growing for layer in pair),
            nn.ConvTranspose2d(SIZE, SIZE, 5, 1, 2),
            nn.LeakyReLU(),
            nn.ConvTranspose2d(SIZE, CHANNELS + 1, 3, 1, 1),
        )
        joint, hidden = (count - 1) * SIZE, count * SIZE // 2
        self.context = nn.Sequential(nn.Linear(joint, hidden), nn.LeakyReLU(), nn.Linear(hidden, joint), nn.LeakyReLU())
        self.present = nn.Sequential(nn.Linear(SIZE, SIZE), nn.LeakyReLU(), nn.Linear(SIZE, 1))

    def forward(self, pictures: Tensor, noise: Tensor) -> Slots:
        """``noise`` B x K x 64, standard normal: where the slots start."""
        features = self.encoder_position(self.encoder(pictures))
        slots = self.attention(self.tokens(features.flatten(2).transpose(1, 2)), noise)
        size = (pictures.shape[-2] // 16, pictures.shape[-1] // 16)
        spread = slots.flatten(0, 1)[:, :, None, None].expand(-1, -1, *size)
        decoded = self.decoder(self.decoder_position(spread)).unflatten(0, slots.shape[:2])
        colours, depth, logits = decoded.split((COLOURS, 1, 1), 2)
        low, high = (reduce(colours, (-3, -2, -1), keepdim=True) for reduce in (torch.amin, torch.amax))
        colours = 2 * (colours - low) / (high - low + 1e-7) - 1
        front = slots[:, 1:]
        residual = self.context(front.flatten(1)).view_as(front)
        presence = self.present(front + residual)[..., 0].sigmoid()
        return Slots(torch.cat([colours, F.relu(depth)], 2), logits.softmax(1), slots, presence)
