"""What can be set about RM-Depth. The tags say how sure the source is, as in CARD.md: no code was ever released."""

from __future__ import annotations

from dataclasses import dataclass, fields
from math import inf
from typing import Literal

from kinodepth.networks.depth_nets import DepthNetKind
from kinodepth.types import InputError


@dataclass(frozen=True)
class RmDepthConfig:
    """Defaults: RM-Depth on KITTI at 640 x 192 (CVPR 2022). Section numbers are those of the method's specification."""

    height: int = 192  # pixels, multiple of 32; network and training size [supplementary]
    width: int = 640  # pixels, multiple of 32 [supplementary]
    pretrained: bool | str = True  # ImageNet start of the encoder: download, torchvision file, or none [our choice]
    # Which depth net the motion net is trained with: RM-Depth's own, or that of SC-Depth or of Mining Supervision, for
    # which the settings up to `supervise_all_iterations` say nothing
    depth_net: DepthNetKind = "recurrent"
    # Depth net (3). Encoder: ResNet-18 without its last stage, or up to its second stage plus a narrow one [our choice]
    encoder: Literal["resnet18_trunc", "resnet18_short"] = "resnet18_trunc"
    widths: tuple[int, int, int] = (64, 48, 32)  # channels of the hidden states at 1/16, 1/8, 1/4 [our choice]
    iterations: tuple[int, int, int] = (9, 2, 2)  # of the recurrent units there [supplementary]
    kernel_mod: int = 1  # pixels: kernel of a unit's modulation, odd [our choice]
    kernel_fuse: int = 3  # pixels: of its fusion [our choice]
    kernel_gate: int = 1  # pixels: of its gate [our choice]
    rmu: bool = True  # recurrent units; false: one plain fusion per level (ablation) [supplementary]
    modulation: bool = True  # modulation in the units (ablation) [supplementary]
    bands: int = 2  # filter sets of the upsampling; 1: without residual upsampling (ablation) [paper]
    supervise_all_iterations: bool = False  # losses on every hidden state, not on the last of a level [our choice]
    near: float = 0.1  # scene units, smallest depth [prior work]
    far: float = 100.0  # scene units, largest depth [prior work]
    # Motion net (4)
    object_motion: bool = True  # 3-D motion of objects; false: a rigid scene (ablation) [supplementary]
    # Which image the pose decoder's pair begins with: the earlier one, the answer inverted where that is the source
    # [prior work: Monodepth2], so that one answer for all pairs means "forwards"; or always the target. Then a sideways
    # motion for all pairs explains the left half of one source and the right half of the other, and nets stay there.
    pair_order: Literal["time", "target"] = "time"
    warping: bool = True  # object motion sees the source warped by what is known so far (ablation) [supplementary]
    detach_warp_input: bool = True  # no gradient through that warped image [our choice]
    # Losses (5)
    # Drop pixels that the unwarped source explains better, as soon as object motion counts: before, nets that know
    # nothing yet would never have to explain them [our choice]
    automask: bool = True
    smooth_weight: float = 1e-3  # of the disparity's edge-aware smoothness, halved at each coarser scale [prior work]
    outlier: Literal["aware", "sqrt_sparsity", "none"] = "aware"  # regulariser of object motion [supplementary]
    outlier_mode: Literal["mag", "photo"] = "mag"  # what tells outliers: size of motion, photometric gain [our choice]
    outlier_weight: float = 0.2  # [our choice]
    kappa: float = 1.0  # mode mag: rigid is up to this times the mean motion of the image [our choice]
    motion_smooth_weight: float = 0.1  # of the group smoothness of object motion [our choice]
    motion_smooth_wrap: bool = False  # differences around the border (Li et al.), or cropped [our choice]
    burn_in: float = 0.05  # share of the steps until object motion counts fully; 0 for its first half [our choice]
    # Training (6)
    stride: int = 1  # frames between target and source [figure]
    batch_size: int = 12  # windows per step [prior work]
    steps: int = 66_350  # optimiser steps: 20 epochs of 39,810 windows [prior work]
    learning_rate: float = 1e-4  # Adam [prior work]
    decay_at: float = 0.75  # share of the steps after which the learning rate is a tenth, 1 = never [prior work]
    flip: bool = True  # mirror half of the windows [prior work]
    jitter: bool = True  # change the colours of the network inputs of half of the windows [prior work]
    joint_batch: bool = True  # several processes: batch statistics over all of them, as one big batch

    def __post_init__(self) -> None:
        for name in ("widths", "iterations"):
            object.__setattr__(self, name, tuple(getattr(self, name)))  # a list when it comes from a file
            values = getattr(self, name)
            if len(values) != 3 or min(values) < 1:
                raise InputError(
                    f"{name} {values}; expected three numbers from 1 up, for 1/16, 1/8 and 1/4; correct it"
                )
        if self.height % 32 or self.width % 32 or min(self.height, self.width) < 64:
            raise InputError(
                f"network size {self.height} x {self.width}; expected multiples of 32 pixels, at least 64; "
                "choose the nearest such height and width"
            )
        for name in ("kernel_mod", "kernel_fuse", "kernel_gate"):
            if getattr(self, name) % 2 == 0:
                raise InputError(f"{name} {getattr(self, name)}; expected an odd number of pixels; use 1 or 3")
        for item in fields(self):
            value = getattr(self, item.name)
            if isinstance(value, float | int) and not 0 <= value < inf:
                raise InputError(f"{item.name} {value}; expected a number from 0 up; correct it")
        for name in ("bands", "stride", "batch_size", "steps", "learning_rate", "near"):
            if not getattr(self, name) > 0:
                raise InputError(f"{name} {getattr(self, name)}; expected more than 0; correct it")
        if not self.near < self.far:
            raise InputError(f"near {self.near} and far {self.far}; expected near < far; correct them")
