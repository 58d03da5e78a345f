"""What can be set about Mining Supervision. Section numbers are those of the specification."""

from __future__ import annotations

from dataclasses import dataclass, fields
from math import inf
from typing import Literal

from kinodepth.networks.depth_nets import DepthNetKind
from kinodepth.types import Convention, InputError

EPOCH = 5810  # steps: 69,731 triplets of Cityscapes in batches of 12


@dataclass(frozen=True)
class MiningSupervisionConfig:
    """Defaults: the published run on Cityscapes with given masks (CVPR 2024), in the exact convention."""

    masks: Literal["given", "found"] = "given"  # instance masks of the recordings, or found without supervision
    pretrained: bool | str = True  # ImageNet start of the encoders: download or none (published: yes)
    depth_net: DepthNetKind = "hrnet"  # of the scene and of objects; published: hrnet
    height: int = 192  # pixels, multiple of 32; network and training size
    width: int = 512  # pixels, multiple of 32
    stride: int = 1  # frames between target and neighbour (published: 2, in triplets made before)
    neighbours: Literal["video", "stored"] = "video"  # in other frames, or stored beside the image (triplets)
    flow_net: Literal["large", "small"] = "large"  # RAFT variant (published: large)
    batch_size: int = 12  # windows per step (published: 12)
    depth_steps: int = EPOCH  # depth and pose without object motion (published: epoch 0)
    motion_steps: int = EPOCH  # residual flow alone (published: epoch 1)
    joint_steps: int = 13 * EPOCH  # everything (published: epochs 2 to 14)
    object_steps: int = 5 * EPOCH  # depth and pose of objects (published: 5 epochs)
    alignment_steps: int = 20 * EPOCH  # scale of objects (published: 20 epochs over static objects)
    final_steps: int = 5 * EPOCH  # fine-tuning on labels (published: 5 epochs)
    learning_rate: float = 2e-4  # Adam; halved after 8/13 of the joint stage (published: at epoch 10)
    alignment_rate: float = 1e-3  # Adam; halved at 3/20 and 10/20 (published)
    final_rate: float = 2e-5  # Adam, constant (published)
    alignment_batch: int = 32  # objects per step (published: 32)
    smooth_weight: float = 0.002  # edge-aware smoothness of inverse depth (published)
    # Share of stage depth after which pixels do not count that the unmoved neighbours explain better (published: 0,
    # and so it is with convention published)
    automask_after: float = 0.5
    sparsity_weight: float = 0.02  # sparsity of object motion (published)
    object_smooth_weight: float = 0.02  # smoothness inside objects (published)
    label_weight: float = 0.1  # labels of moving objects (published)
    moving_pixels: float = 1.0  # mean |x| + |y| of motion from which a pixel moves (published `flow_threshold`)
    moving_share: float = 0.5  # of a mask that must move (published `is_dynamic_threshold`)
    least_object: float = 0.005  # of the picture: smaller objects do not count (published)
    middle_parts: int = 20  # objects in the middle 1 / parts of the columns count as moving (published)
    slot_size: int = 128  # pixels per side of what slots see, multiple of 16 (published)
    slot_steps: int = 40 * 4358  # (published: 40 epochs in batches of 16)
    ground_steps: int = 20 * 4358  # (published: 20 epochs)
    detector_rounds: int = 10  # trainings of the detector on its own last answers (published: 10 epochs)
    detector_steps: int = 4358  # per round (published: one epoch)
    detector_side: int = 800  # pixels of the shorter side that the detector works at (published)
    found_batch: int = 16  # of slots, ground and detector (published)
    jitter: bool = True  # augmentation: other colours, half of the time (published)
    flip: bool = True  # augmentation: mirror half of the windows (published)
    convention: Convention = "exact"  # published: with the faults listed in docs/mining_supervision.md

    def __post_init__(self) -> None:
        if self.height % 32 or self.width % 32 or min(self.height, self.width) < 32:
            raise InputError(
                f"network size {self.height} x {self.width}; expected multiples of 32 pixels; "
                "choose the nearest such height and width"
            )
        for item in fields(self):
            value = getattr(self, item.name)
            if isinstance(value, float | int) and not 0 <= value < inf:
                raise InputError(f"{item.name} {value}; expected a number from 0 up; correct it")
        for name in ("stride", "batch_size", "alignment_batch", "found_batch", "detector_rounds", "slot_size"):
            if getattr(self, name) < 1:
                raise InputError(f"{name} {getattr(self, name)}; expected at least 1; correct it")
