"""What can be set about Dynamic-multiframe-depth. Section numbers are those of the method's specification."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from kinodepth.types import Convention, InputError


@dataclass(frozen=True)
class DynamicMultiframeConfig:
    """Defaults: the ResNet-18 model as published (CVPR 2023), in the exact convention."""

    height: int = 256  # pixels, multiple of 16, of a training image (published: 256); predictions keep its scale
    width: int = 512  # pixels, multiple of 16 (published: 512)
    backbone: str = "resnet18.tv_in1k"  # any timm encoder with maps at 1/2, 1/4, 1/8 (published: and EfficientNet-B5)
    pretrained: bool | str = True  # ImageNet weights of the backbone by download, from a local file, or none
    near: float = 1 / 0.33  # metres, nearest plane and smallest depth (published)
    far: float = 1 / 0.0025  # metres, farthest plane and largest depth (published)
    plane_range: Literal["fixed", "auto"] = "fixed"  # auto: training sets near and far by baseline and field of view
    planes: int = 32  # depth hypotheses (published)
    neighbours: int = 2  # frames that a keyframe is matched with (published: the one before and the one after)
    dilation: int = 1  # frames from one neighbour to the next (published)
    # Prediction matches with earlier and later frames, so it lags by half of the neighbours (published: one frame), or
    # with earlier frames only.
    online: Literal["delayed", "causal"] = "delayed"
    matching: Literal["ssim", "ssim_l1", "l1", "l1_pooled"] = "ssim"  # photometric error (published: ssim)
    patch: int = 3  # pixels, odd, window over which errors are averaged (published)
    fusion: Literal["cross", "mono_guide_multi", "multi_guide_mono"] = "cross"  # (published: cross)
    fusion_halvings: int | None = None  # resolution of the attention; None: 2, and 3 if width > 650 (published)
    image_in_depth_net: bool = True  # the depth net also sees the keyframe (published)
    large: bool = False  # wider encoder-decoders (published: option)
    cues: Literal["both", "mono", "multi"] = "both"  # ours, for comparisons: the fusion sees one cue alone
    volume_dropout: float = 0.0  # share of the fused volume that training blanks (published: 0)
    volume_dropout_cells: bool = True  # in cells of 8 x 8 pixels, else whole samples (published)
    batch_size: int = 8  # windows per step (published)
    # Parts of a batch with batch-norm statistics of their own (published: one per device, of up to 8).
    statistics_groups: int = 1
    learning_rate: float = 1e-4  # Adam with amsgrad (published)
    steps: int = 136_720  # published: 80 epochs of 1,709 steps
    decay_at: float = 65 / 80  # share of the steps after which the learning rate is a tenth (published)
    freeze_encoder: bool = True  # the image encoder keeps its ImageNet weights (published: ResNet-18 yes, B5 no)
    freeze_statistics: bool = True  # and its batch-norm statistics (published: they move on)
    margin: int = 0  # frames at either end of a recording that are no keyframes (published: 5, without depth)
    loss: Literal["virtual_normal", "silog", "photometric"] = "virtual_normal"  # (published: virtual_normal)
    alpha: float = 0.5  # weight of the depth terms: 8 alpha (published)
    # Which triples of points make virtual normals. valid: of pixels with depth; published: of all pixels.
    triples: Literal["valid", "published"] = "valid"
    triple_share: float = 0.15  # triples per image, of its pixels (published)
    flip: bool = True  # mirror half of the samples behind the matching (published)
    jitter_color: bool = True  # brightness, contrast, saturation, hue (published)
    convention: Convention = "exact"  # geometry; `published` repeats the released code for its checkpoints

    def __post_init__(self) -> None:
        if any(size % 16 or size < 32 for size in (self.height, self.width)):
            raise InputError(
                f"network size {self.height} x {self.width}; expected multiples of 16 pixels, at least 32; round them"
            )
        if not (0 < self.near < self.far and self.planes >= 2):
            raise InputError(
                f"{self.planes} planes from {self.near} to {self.far}; expected 0 < near < far, 2 or more; correct it"
            )
        if self.patch % 2 == 0 or self.neighbours < 1 or self.dilation < 1:
            raise InputError(
                f"patch {self.patch}, {self.neighbours} neighbours {self.dilation} frames apart; expected an odd patch "
                "and 1 or more of the others; correct them"
            )

    @property
    def halvings(self) -> int:
        """How often volumes are halved before the attention."""
        return self.fusion_halvings or (3 if self.width > 650 else 2)

    @property
    def offsets(self) -> tuple[int, ...]:
        """Frames from the keyframe to its neighbours, ascending."""
        if self.online == "causal":
            return tuple(-k * self.dilation for k in range(self.neighbours, 0, -1))
        before = self.neighbours // 2
        return tuple(k * self.dilation for k in range(-before, self.neighbours - before + 1) if k)
