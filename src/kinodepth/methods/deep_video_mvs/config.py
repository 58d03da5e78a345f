"""What can be set about DeepVideoMVS. Section numbers are those of the method's specification."""

from __future__ import annotations

from dataclasses import dataclass
from math import inf
from typing import Literal

from kinodepth.types import Convention, InputError


@dataclass(frozen=True)
class PairConfig:
    """Defaults: the pair net as published (CVPR 2021), in the exact convention."""

    height: int = 256  # pixels, multiple of 32, of a prediction (published: 256)
    width: int = 320  # pixels, multiple of 32 (published: 320)
    # Feature extractor: torchvision's MnasNet (published), or any timm encoder with maps at 1/2 .. 1/32.
    backbone: str = "mnasnet1_0"
    # Start of the feature extractor: ImageNet weights by download, from a local torchvision file, or none. The fusion
    # net also takes a pair net's weights (our .safetensors): extractor, pyramid and encoder start from it (published).
    pretrained: bool | str = True
    near: float = 0.25  # metres, nearest plane and smallest depth
    far: float = 20.0  # metres, farthest plane and largest depth
    measurements: int = 2  # measurement frames per keyframe, at most (published: 2; 1 to 3 evaluated)
    buffer_size: int = 30  # keyframes kept, the current one included (published)
    keyframe_distance: float = 0.1  # combined pose distance to the last keyframe that makes a new one (published)
    optimal_translation: float = 0.15  # metres between keyframe and measurement frame (published)
    optimal_rotation: float = 0.0  # rotation distance, see geometry.pose.pose_distance (published)
    # Share of the matched space (pixels times inverse depths) that a measurement frame must see. A keyframe of which no
    # earlier one sees as much is a first one again. In the published convention any frame will do.
    min_overlap: float = 0.02
    train_height: int = 256  # pixels, multiple of 32, of training images (published)
    train_width: int = 256  # pixels, multiple of 32 (published)
    batch_size: int = 14  # windows per step (published: 14 pair, 4 fusion)
    window: int = 2  # frames per training window (published: 2 pair, 8 fusion)
    learning_rate: float = 1e-4  # Adam (published)
    anneal: bool = False  # let the rate of every stage fall to 0 along a cosine (published: constant)
    steps: tuple[int, ...] = (200_000, 400_000)  # per stage: without the extractor, everything (published)
    loss: Literal["inverse", "l1", "relative", "huber"] = "inverse"  # what is compared per pixel (published)
    # Weight of a loss on the matching scores themselves (see objective.matching_loss; published: none). From random
    # weights the networks learn what rooms look like first, and matching only after many thousand steps.
    matching_weight: float = 0.0
    flip: bool = True  # mirror half of the predictions' inputs in training (published, pair net)
    reverse: bool = True  # run half of the windows backwards (published)
    scale_geometry: bool = True  # scale depths and translations by up to 1.5 (published)
    # By up to this factor instead, either way. What rooms are like then says less about metres, and matching more: for
    # training on other places than those of use (published: none).
    largest_scale: float | None = None
    jitter_color: bool = True  # gamma, contrast, brightness (published)
    # Frozen parts keep their batch-norm statistics; published: they are not trained but their statistics move on.
    freeze_statistics: bool = True
    # Batch norm sees all frames and predictions of a step together (exact convention; published: each call by itself).
    joint_statistics: bool = True
    convention: Convention = "exact"  # geometry; `published` repeats the released code for its checkpoints

    def __post_init__(self) -> None:
        object.__setattr__(self, "steps", tuple(self.steps))  # a list when it comes from a file
        sizes = (self.height, self.width, self.train_height, self.train_width)
        if any(size % 32 or size < 64 for size in sizes):
            raise InputError(
                f"network sizes {self.height} x {self.width} and {self.train_height} x {self.train_width} (training); "
                "expected multiples of 32 pixels, at least 64; round them"
            )
        if self.largest_scale is not None and not 1 <= self.largest_scale < inf:
            raise InputError(
                f"largest_scale {self.largest_scale}; expected a factor from 1 up; leave it out for the published range"
            )
        if not (self.measurements >= 1 and self.buffer_size > 1 and self.window >= 2):
            raise InputError(
                f"{self.measurements} measurement frames, a buffer of {self.buffer_size} and windows of {self.window} "
                "frames; expected at least 1, 2 and 2; raise them"
            )


@dataclass(frozen=True)
class FusionConfig(PairConfig):
    """Defaults: the fusion net as published, in the exact convention."""

    batch_size: int = 4
    window: int = 8
    # Steps per stage: cell and decoder; and pyramid and encoder; everything; the cell alone on predicted depth (the
    # paper's last stage, which the released code lacks). Published: epochs of 100,000, 1,000,000 in all, then 25,000.
    steps: tuple[int, ...] = (100_000, 100_000, 775_000, 25_000)
    # Start the decoder, too, from the pair net that `pretrained` is, with a cell that hands on what comes in, and more
    # (published: both at random).
    start_decoder: bool = False
    cell_learning_rate: float = 5e-5  # of the last stage (published)
    flip: bool = False  # published: not in the fusion net
