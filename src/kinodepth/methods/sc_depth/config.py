"""What can be set about SC-Depth. Section numbers are those of the papers' code as described in docs/methods."""

from __future__ import annotations

from dataclasses import dataclass, fields
from math import inf
from typing import Literal

from kinodepth.networks.depth_nets import DepthNetKind
from kinodepth.types import Convention, InputError


@dataclass(frozen=True)
class ScDepthConfig:
    """Defaults: SC-Depth V1 on KITTI (IJCV 2021; published configuration kitti_raw), in the exact convention."""

    depth_net: DepthNetKind = "resnet"  # its own, or that of RM-Depth (recurrent) or of Mining Supervision (hrnet)
    resnet_layers: int = 18  # its encoder: 18, 34, 50, 101 or 152 (published: 18); that of the pose is always 18
    pretrained: bool | str = True  # ImageNet start: download, path of a local torchvision file, or none (paper: yes)
    height: int = 256  # pixels, multiple of 32; network and training size (published: per dataset)
    width: int = 832  # pixels, multiple of 32
    stride: int = 1  # frames between target and neighbour (published `skip_frames`: 1; Bonn, TUM 10)
    sequence_length: int = 3  # frames per window, odd (published: 3)
    batch_size: int = 4  # windows per step (published: 4 KITTI, DDAD; 8 NYU, Bonn, TUM)
    steps: int = 100_000  # optimiser steps (published: 100 epochs of 1000)
    learning_rate: float = 1e-4  # Adam, constant (published)
    photo_weight: float = 1.0  # weight of the photometric term (published)
    geometry_weight: float = 0.1  # weight of the geometry consistency term (published)
    smooth_weight: float = 0.1  # weight of the edge-aware smoothness term (published)
    ssim: bool = True  # 0.85 SSIM + 0.15 L1 instead of L1 alone (published `no_ssim` is the opposite)
    auto_mask: bool = True  # drop pixels that the unwarped source explains better
    self_discovered_mask: bool = True  # weigh the photometric error by 1 - geometric inconsistency
    minimum: bool = True  # per pixel only the view pair with the smallest colour error counts
    flip: bool = True  # augmentation: mirror half of the windows (published)
    zoom: float = 1.15  # augmentation: largest random scale before cropping, 1 = none (published: 1.15)
    # BatchNorm sees all views, and all pairs in both directions, of a batch together (exact convention only; published:
    # each call by itself, which takes the common direction of travel out of every pose feature and delays learning)
    joint_statistics: bool = True
    joint_batch: bool = True  # several processes: statistics and masked means over all of them, as one big batch
    convention: Convention = "exact"  # pixel geometry; `published` repeats the released code for its checkpoints

    def __post_init__(self) -> None:
        if self.height % 32 or self.width % 32 or min(self.height, self.width) < 64:
            raise InputError(
                f"network size {self.height} x {self.width}; expected multiples of 32 pixels, at least 64; "
                "choose the nearest such height and width"
            )
        if self.sequence_length < 3 or self.sequence_length % 2 == 0:
            raise InputError(f"sequence_length {self.sequence_length}; expected an odd number from 3 up; use 3")
        if self.depth_net != "resnet" and (self.convention == "published" or not self.joint_statistics):
            raise InputError(
                f"depth_net {self.depth_net} with convention {self.convention}, joint_statistics "
                f"{self.joint_statistics}; expected exact and true for all but resnet; change one of them"
            )
        for item in fields(self):
            value = getattr(self, item.name)
            if isinstance(value, float | int) and not 0 <= value < inf:
                raise InputError(f"{item.name} {value}; expected a number from 0 up; correct it")
        for name in ("stride", "batch_size", "steps", "learning_rate"):
            if not getattr(self, name) > 0:
                raise InputError(f"{name} {getattr(self, name)}; expected more than 0; correct it")


@dataclass(frozen=True)
class ScDepthV2Config(ScDepthConfig):
    """Defaults: SC-Depth V2 on NYUv2 (TPAMI 2022; published configuration nyu), in the exact convention."""

    height: int = 256
    width: int = 320
    batch_size: int = 8
    rotation_consistency_weight: float = 1.0  # weight of recognising a known rotation (published `rot_c_weight`)
    rotation_triplet_weight: float = 1.0  # weight of less rotation after rectifying (published `rot_t_weight`)


@dataclass(frozen=True)
class ScDepthV3Config(ScDepthConfig):
    """Defaults: SC-Depth V3 on KITTI (TPAMI 2023; published configuration kitti_raw), in the exact convention."""

    smooth_weight: float = 0.0  # published: no smoothness term
    normal_matching_weight: float = 0.1  # weight of normals equal to those of the prior depth (published)
    mask_ranking_weight: float = 0.1  # weight of the prior's order of depths (published `mask_rank_weight`)
    normal_ranking_weight: float = 0.1  # weight of the prior's angles across edges (published `normal_rank_weight`)
    # Partners of the pairs from everywhere: `row` pairs neighbours in reading order, which nearly always lie in one
    # row (published); `random` draws them independently
    global_pairs: Literal["row", "random"] = "row"
