"""Evaluation protocols: named, versioned, frozen. A number means something only together with one of these, so every
result stores its protocol. Sources: specs sc_depth 13.3-13.4, rm_depth 8, deep_video_mvs 5,
dynamic_multiframe 13.
"""

from __future__ import annotations

import difflib
import math
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal

from kinodepth.evaluation.metrics import DEEP_VIDEO_MVS
from kinodepth.geometry.align import MedianRule
from kinodepth.types import InputError

Resize = Literal["depth_to_ground_truth", "inverse_depth_to_ground_truth", "ground_truth_to_prediction"]
Alignment = Literal["none", "per_clip_scale", "per_clip_scale_shift", "per_frame_median", "per_frame_scale_shift"]
Averaging = Literal["images", "pixels"]
ALIGNMENTS: tuple[Alignment, ...] = (
    "none",
    "per_clip_scale",
    "per_clip_scale_shift",
    "per_frame_median",
    "per_frame_scale_shift",
)
EIGHT = ("abs_rel", "sq_rel_m", "log10", "rmse_m", "rmse_log", "delta_1", "delta_2", "delta_3")
SEVEN = ("abs_rel", "sq_rel_m", "rmse_m", "rmse_log", "delta_1", "delta_2", "delta_3")


@dataclass(frozen=True)
class Crop:
    """Rows and columns (half-open) that are scored: fractions of the size, or pixels of the one size ``of``."""

    rows: tuple[float, float]
    columns: tuple[float, float]
    of: tuple[int, int] | None = None  # height, width in pixels; None = fractions

    def window(self, height: int, width: int) -> tuple[slice, slice]:
        """The crop of a ``height`` x ``width`` image. Raises ``InputError`` where the crop is for another size."""
        if self.of and self.of != (height, width):
            raise InputError(
                f"ground truth is {width} x {height} but the crop of this protocol is defined for {self.of[1]} x "
                f"{self.of[0]} pixels; use ground truth of that size or --protocol generic"
            )
        h, w = (1, 1) if self.of else (height, width)
        rows, columns = [int(r * h) for r in self.rows], [int(c * w) for c in self.columns]
        return slice(*rows), slice(*columns)


GARG = Crop((0.40810811, 0.99189189), (0.03594771, 0.96405229))
NYU = Crop((45, 471), (41, 601), of=(480, 640))
CITYSCAPES = Crop((256, 768), (192, 1856), of=(768, 2048))


@dataclass(frozen=True)
class Protocol:
    """Everything a depth score depends on besides prediction and data.

    Valid ground truth is ``min_depth`` < gt < ``max_depth`` metres (<= if ``closed``) inside ``crop``. Aligned
    predictions are clamped to ``clamp``. ``median`` is the rule for an even count: ``lower`` of the middle two
    (torch) or the ``mean_of_two`` (NumPy). ``double_count``: images with dynamic pixels enter the mean over all pixels
    twice, as in published SC-Depth tables. ``split_sha256`` hashes the list of frame names, None = any frames.
    """

    name: str
    version: int
    dataset: str
    ground_truth: str
    min_depth: float
    max_depth: float
    alignment: Alignment
    source: str
    crop: Crop | None = None
    closed: bool = False
    clamp: tuple[float, float] | None = None
    resize: Resize = "depth_to_ground_truth"
    median: MedianRule = "mean_of_two"
    averaging: Averaging = "images"
    double_count: bool = False
    regions: tuple[str, ...] = ("all", "static", "dynamic")
    errors: tuple[str, ...] = EIGHT
    frames: int | None = None  # in the published split, where there is one
    split_sha256: str | None = None

    def as_dict(self) -> dict[str, Any]:
        """The protocol as stored with results; infinity becomes None, so that it is plain JSON."""

        def plain(value: Any) -> Any:
            if isinstance(value, dict):
                return {key: plain(item) for key, item in value.items()}
            if isinstance(value, (list, tuple)):
                return [plain(item) for item in value]
            return None if isinstance(value, float) and math.isinf(value) else value

        return dict(plain(asdict(self)))

    @property
    def summary(self) -> str:
        """One line for people: what was compared how."""
        crop = "no crop" if self.crop is None else f"crop rows {self.crop.rows} columns {self.crop.columns}"
        low, high = ("<=", "<=") if self.closed else ("<", "<")
        parts = [
            f"{self.name} v{self.version}: {self.dataset}, {self.ground_truth}",
            f"{self.min_depth:g} {low} depth {high} {self.max_depth:g} m, {crop}",
            f"alignment {self.alignment} ({self.median} median)",
            f"mean over {self.averaging}" + (", dynamic images counted twice" if self.double_count else ""),
        ]
        return "; ".join(parts)


def _sc_depth(
    key: str, dataset: str, ground_truth: str, max_depth: float, crop: Crop | None, frames: int | None
) -> None:
    """Add the evaluation script of SC-Depth for a dataset, its double counting, and its validation rule."""
    script = _add(
        name=f"sc_depth_{key}",
        dataset=dataset,
        ground_truth=ground_truth,
        min_depth=0.1,
        max_depth=max_depth,
        clamp=(0.1, max_depth),
        crop=crop,
        alignment="per_frame_median",
        frames=frames,
        source="spec sc_depth 13.3 and 13.4, evaluation script",
    )
    _add(
        script,
        name=f"{script.name}_double_count",
        double_count=True,
        source=f"{script.source}, as published (issue 82)",
    )
    _add(
        script,
        name=f"{script.name}_validation",
        median="lower",
        errors=("abs_diff_m", *EIGHT),
        frames=None,
        source="spec sc_depth 13.3, validation and test implementation",
    )


def _add(base: Protocol | None = None, **values: Any) -> Protocol:
    protocol = replace(base, **values) if base else Protocol(version=1, **values)
    PROTOCOLS[protocol.name] = protocol
    return protocol


PROTOCOLS: dict[str, Protocol] = {}
_add(
    name="generic",
    dataset="any",
    ground_truth="any",
    min_depth=0.0,
    max_depth=math.inf,
    alignment="per_clip_scale",
    errors=(*EIGHT, "abs_diff_m", "abs_inverse_per_m"),
    source="ours: one scale for the whole clip, so that scale drift counts as error",
)
_add(
    _add(
        name="kitti_eigen_raw",
        dataset="KITTI Eigen test",
        ground_truth="raw LiDAR",
        min_depth=1e-3,
        max_depth=80.0,
        clamp=(1e-3, 80.0),
        crop=GARG,
        alignment="per_frame_median",
        resize="inverse_depth_to_ground_truth",
        errors=SEVEN,
        frames=697,
        source="spec rm_depth 8",
    ),
    name="kitti_eigen_improved",
    ground_truth="accumulated annotated depth",
    min_depth=0.0,
    max_depth=math.inf,
    crop=None,
    frames=652,
)
_add(
    PROTOCOLS["kitti_eigen_raw"],
    name="cityscapes",
    dataset="Cityscapes test, without the bottom quarter",
    ground_truth="stereo disparity",
    crop=CITYSCAPES,
    frames=1525,
    source="spec rm_depth 8, as ManyDepth",
)
_add(
    PROTOCOLS["kitti_eigen_raw"],
    name="make3d",
    dataset="Make3D test, central part twice as wide as high",
    ground_truth="laser",
    min_depth=0.0,
    max_depth=70.0,
    clamp=None,
    crop=None,
    errors=("abs_rel", "sq_rel_m", "rmse_m", "log10"),
    frames=134,
    source="spec rm_depth 8, as Monodepth2",
)
_add(
    PROTOCOLS["cityscapes"],
    name="mining_supervision",
    dataset="Cityscapes test, without the bottom quarter; moving objects of 0.005 of the picture or more",
    ground_truth="stereo",
    source="spec mining_supervision 12",
)
_add(
    name="deep_video_mvs",
    dataset="posed indoor video",
    ground_truth="RGB-D sensor",
    min_depth=0.5,
    max_depth=math.inf,
    closed=True,
    alignment="none",
    resize="ground_truth_to_prediction",
    errors=DEEP_VIDEO_MVS,
    source="spec deep_video_mvs 5",
)
_add(
    name="dynamic_multiframe",
    dataset="KITTI odometry 00, 04, 05, 07 at 256 x 512 (--format dynamic_multiframe)",
    ground_truth="accumulated annotated depth, projected to 256 x 512",
    min_depth=0.0,
    max_depth=80.0,
    closed=True,
    clamp=(0.0, 80.0),
    alignment="none",
    resize="ground_truth_to_prediction",
    errors=SEVEN,
    frames=8634,
    source="spec dynamic_multiframe 13",
)
_sc_depth("kitti", "KITTI Eigen test", "raw LiDAR", 80.0, GARG, 697)
_sc_depth("nyu", "NYUv2 test", "Kinect, filled", 10.0, NYU, 654)
_sc_depth("ddad", "DDAD validation", "LiDAR", 200.0, None, None)
_sc_depth("bonn", "BONN RGB-D dynamic", "RGB-D sensor", 10.0, None, None)
_sc_depth("tum", "TUM RGB-D, dynamic objects", "RGB-D sensor", 10.0, None, None)


def get(name: str) -> Protocol:
    """The protocol called ``name``. Raises ``InputError`` with the nearest known name."""
    if name not in PROTOCOLS:
        close = difflib.get_close_matches(name, PROTOCOLS, 1)
        hint = f"did you mean {close[0]}?" if close else f"expected one of {', '.join(sorted(PROTOCOLS))}"
        raise InputError(f"there is no protocol {name!r}; {hint}")
    return PROTOCOLS[name]
