"""The detector of moving things: torchvision's Mask R-CNN on five channels (spec mining_supervision 4.7, 7.3)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torchvision.models.detection import MaskRCNN
from torchvision.models.detection.anchor_utils import AnchorGenerator
from torchvision.models.detection.backbone_utils import resnet_fpn_backbone

from kinodepth.methods.mining_supervision.objects import boxes

MEAN, STD = (0.485, 0.456, 0.406, 0.0, 0.0), (0.229, 0.224, 0.225, 1.0, 1.0)
ANCHORS = ((32,), (64,), (128,), (256,), (512,))
FEWEST = 100  # pixels of a mask to learn from
LONGER = 1333 / 800  # largest longer side over the shorter one


class Detector(nn.Module):
    """Instance masks of one class from RGB, inverse depth over its largest value and the probability of road.

    ``side`` is the shorter side of the pictures it works at. Without ``pretrained`` its normalisations are frozen at
    nothing, as published with ImageNet weights.
    """

    def __init__(self, side: int = 800, pretrained: bool | str = False) -> None:
        super().__init__()
        weights = "IMAGENET1K_V1" if pretrained else None
        backbone = resnet_fpn_backbone(backbone_name="resnet18", weights=weights, trainable_layers=3)
        stem = nn.Conv2d(5, 64, 7, 2, 3, bias=False)
        with torch.no_grad():
            rgb = backbone.body.conv1.weight
            stem.weight.copy_(torch.cat([rgb, rgb[:, :1], rgb[:, :1]], 1))
        backbone.body.conv1 = stem
        self.net = MaskRCNN(
            backbone,
            num_classes=2,
            rpn_anchor_generator=AnchorGenerator(ANCHORS, ((0.5, 1.0, 2.0),) * len(ANCHORS)),
            min_size=side,
            max_size=round(side * LONGER),
            image_mean=MEAN,
            image_std=STD,
        )

    def losses(self, pictures: Tensor, masks: Sequence[Tensor]) -> dict[str, Tensor]:
        """The terms of B x 5 x H x W ``pictures`` and the N x H x W bool ``masks`` of each."""
        targets = [_target(each.to(pictures.device)) for each in masks]
        return dict(self.net(list(pictures), targets))

    @torch.no_grad()
    def masks(self, picture: Tensor, least_score: float) -> Tensor:
        """What is found in 5 x H x W with at least ``least_score``: N x H x W bool."""
        found = self.net([picture])[0]
        return found["masks"][found["scores"] > least_score, 0] >= 0.5


def _target(masks: Tensor) -> dict[str, Tensor]:
    masks = masks[masks.flatten(1).sum(1) > FEWEST]
    box = boxes(masks)
    down, across = box.any(2).float(), box.any(1).float()
    corners = torch.stack(
        [
            across.argmax(1),
            down.argmax(1),
            across.shape[1] - across.flip(1).argmax(1),
            down.shape[1] - down.flip(1).argmax(1),
        ],
        1,
    )
    return {
        "boxes": corners.float().reshape(-1, 4),
        "labels": torch.ones(len(masks), dtype=torch.int64, device=masks.device),
        "masks": masks.to(torch.uint8),
    }
