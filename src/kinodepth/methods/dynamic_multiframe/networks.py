"""Encoder-decoder of both branches, image encoder (spec dynamic_multiframe 4, 5, 7). H and W: multiples of 16."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from kinodepth.networks.init import init_decoder
from kinodepth.networks.timm_features import timm_features
from kinodepth.types import Convention

LEVELS = (2, 4, 8)  # parts of the image size at which image features enter the decoders
KERNELS = (7, 7, 5, 5, 3)  # of the first convolution of each encoder level
WIDTHS = ((48, 64, 128, 192, 256), (256, 128, 64, 48, 32, 24))  # channels of encoder and decoder
LARGE_WIDTHS = ((48, 64, 128, 256, 512), (512, 256, 128, 64, 32, 24))
SLOPE = 0.1  # of leaky ReLUs
FIRST_GUESS = 0.1  # of outputs in [0, 1): 28 m with the published planes
PUBLISHED_MEAN, PUBLISHED_STD = (0.45,) * 3, (0.225,) * 3  # of the ResNet
IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # of all others, as published


class ImageEncoder(nn.Module):
    """Feature maps at 1/2, 1/4 and 1/8 of an image, from the stages of any timm encoder that lead to them.

    ``channels`` lists their widths. ``pretrained`` starts from ImageNet weights: True downloads them, a path reads a
    file. Raises ``InputError`` for an encoder that is unknown, has no such maps, or whose weights cannot be had.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, name: str, pretrained: bool | str | Path = False, convention: Convention = "exact") -> None:
        super().__init__()
        body = timm_features(name, pretrained, LEVELS)
        if hasattr(body, "blocks"):  # EfficientNets keep stages that nothing uses
            body.blocks = body.blocks[: max(body._stage_out_idx)]
        self.channels: list[int] = body.feature_info.channels()
        self.body: nn.Module = body
        weights = body.default_cfg if hasattr(body, "default_cfg") else body.pretrained_cfg
        mean, std = weights["mean"], weights["std"]
        if convention == "published":
            is_resnet = name.startswith("resnet")
            mean, std = (PUBLISHED_MEAN, PUBLISHED_STD) if is_resnet else (IMAGENET_MEAN, IMAGENET_STD)
        self.register_buffer("mean", torch.tensor(mean)[:, None, None], persistent=False)
        self.register_buffer("std", torch.tensor(std)[:, None, None], persistent=False)

    def forward(self, images: Tensor) -> list[Tensor]:
        """Map images B x 3 x H x W in [0, 1] to three maps, the finest first."""
        return self.body((images - self.mean) / self.std)


class SplitConv(nn.Sequential):
    """A k x 1 and a 1 x k convolution, each followed by a leaky ReLU; the output is ceil(size / stride)."""

    def __init__(self, inputs: int, outputs: int, kernel: int, stride: int = 1) -> None:
        super().__init__()
        inside = kernel // 2 if stride == 1 else 0  # zeros that the convolution adds itself
        self.above = nn.Identity() if inside else Around(kernel, stride, 0)
        self.vertical = nn.Conv2d(inputs, outputs, (kernel, 1), (stride, 1), (inside, 0))
        self.leaky = nn.LeakyReLU(SLOPE, inplace=True)
        self.beside = nn.Identity() if inside else Around(kernel, stride, 1)
        self.horizontal = nn.Conv2d(outputs, outputs, (1, kernel), (1, stride), (0, inside))
        self.leaky_too = nn.LeakyReLU(SLOPE, inplace=True)


class Around(nn.Module):
    """Zeros before and behind, along ``axis`` (0 rows, 1 columns), such that a convolution gives ceil(size / stride);
    an odd one goes last."""

    def __init__(self, kernel: int, stride: int, axis: int) -> None:
        super().__init__()
        self.kernel, self.stride, self.axis = kernel, stride, axis

    def forward(self, x: Tensor) -> Tensor:
        size = x.shape[2 + self.axis]
        total = max(self.stride * (-(-size // self.stride) - 1) + self.kernel - size, 0)
        sides = (total // 2, total - total // 2)
        return F.pad(x, (0, 0, *sides) if self.axis == 0 else sides)


class Up(nn.Sequential):
    """A 4 x 4 transposed convolution of stride 2 with a leaky ReLU: twice the size.

    The released code cuts the border off afterwards, which is what a padding of 1 does.
    """

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.conv = nn.ConvTranspose2d(inputs, outputs, 4, 2, 1)
        self.leaky = nn.LeakyReLU(SLOPE, inplace=True)


class DepthNet(nn.Module):
    """An image or volume of ``inputs`` channels and image features to four maps in [0, 1), the finest first."""

    def __init__(self, inputs: int, features: list[int], large: bool = False) -> None:
        super().__init__()
        wide, narrow = LARGE_WIDTHS if large else WIDTHS
        before = (inputs, *wide)
        self.encoder = nn.ModuleList(
            nn.Sequential(SplitConv(before[i], wide[i], KERNELS[i], 1 if i == 0 else 2), SplitConv(wide[i], wide[i], 3))
            for i in range(5)
        )
        sums = [wide[3 - i] + features[2 - i] + narrow[i] for i in range(3)]  # skip, image features, stage before
        self.decoder = nn.ModuleList(
            [
                Up(wide[4], narrow[0]),
                nn.Sequential(Up(sums[0], narrow[1]), SplitConv(narrow[1], narrow[1], 3)),
                nn.Sequential(Up(sums[1], narrow[2]), SplitConv(narrow[2], narrow[2], 3)),
                Up(sums[2], narrow[3]),
                nn.Sequential(
                    SplitConv(wide[0] + narrow[3], narrow[4], 3),
                    nn.Conv2d(narrow[4], narrow[5], 3, padding=1),
                    nn.LeakyReLU(SLOPE, inplace=True),
                ),
            ]
        )
        self.predictors = nn.ModuleList(nn.Conv2d(channels, 1, 3, padding=1) for channels in (*narrow[:3], narrow[5]))

    def start_evenly(self) -> None:
        """Initial weights that let signals through all layers, and a first guess of a tenth everywhere.

        PyTorch's own, with which the released code starts, shrink signals to nothing in 20 layers without
        normalisation, and at 0 the output has no direction.
        """
        convs = [layer for layer in (*self.encoder.modules(), *self.decoder.modules()) if isinstance(layer, nn.Conv2d)]
        init_decoder(convs, self.predictors)
        for layer in self.decoder.modules():
            if isinstance(layer, nn.ConvTranspose2d):  # a quarter of the kernel reaches each output
                nn.init.normal_(layer.weight, std=(2 / (4 * layer.in_channels)) ** 0.5)
        for predictor in self.predictors:
            nn.init.constant_(predictor.get_parameter("bias"), FIRST_GUESS)

    def forward(self, x: Tensor, features: list[Tensor]) -> list[Tensor]:
        skips = []
        for level in self.encoder:
            x = level(x)
            skips.append(x)
        stages = [self.decoder[0](skips[4])]
        for i in range(3):
            stages.append(self.decoder[i + 1](torch.cat((skips[3 - i], features[2 - i], stages[-1]), 1)))
        stages[3] = self.decoder[4](torch.cat((skips[0], stages[3]), 1))
        return [predict(stage).tanh().abs() for predict, stage in zip(self.predictors, stages)][::-1]
