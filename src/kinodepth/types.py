"""The values that travel through kinodepth: camera, frame, clip, sequence, prediction.

=============  ======================================  ==============================================
name           shape                                   unit and convention
=============  ======================================  ==============================================
image          3 x H x W float32                       RGB in [0, 1]
depth          1 x H x W float32                       z along the optical axis; 0 = no measurement
prior_depth    1 x H x W float32                       another network's depth, larger = farther, in any unit; 0 = none
camera         fx, fy, cx, cy, width, height           pixels of that size, pixel centres at integers
cam_to_world   4 x 4 float64                           x_world = cam_to_world @ x_cam, OpenCV axes
timestamp      scalar                                  seconds
masks          1 x H x W, bool or integer instance ids  0 = background / not in the mask
=============  ======================================  ==============================================

Shape letters: B batch, T frames of a clip, H W image size.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import torch
from torch import Tensor

Convention = Literal["exact", "published"]
Scale = Literal["metric", "up_to_scale", "affine"]
SCALES: tuple[Scale, ...] = ("metric", "up_to_scale", "affine")


class InputError(ValueError):
    """Something the user gave cannot be used. The message is one sentence: found, expected, remedy."""


@dataclass(frozen=True)
class Camera:
    """A pinhole camera for images of exactly ``width`` x ``height`` pixels.

    ``fx, fy`` focal lengths and ``cx, cy`` principal point are in pixels; pixel centres lie at integer
    coordinates, so the image spans [-0.5, width - 0.5]. Raises ``InputError`` on values no camera has.
    """

    fx: float
    fy: float
    cx: float
    cy: float
    width: int
    height: int

    def __post_init__(self) -> None:
        values = (self.fx, self.fy, self.cx, self.cy)
        if not all(math.isfinite(v) for v in values) or self.fx <= 0 or self.fy <= 0:
            raise InputError(
                f"camera intrinsics fx={self.fx} fy={self.fy} cx={self.cx} cy={self.cy} are not usable; expected "
                "finite values with positive focal lengths in pixels; correct the intrinsics file"
            )
        if self.width < 1 or self.height < 1:
            raise InputError(f"camera size {self.width} x {self.height} is empty; expected at least 1 x 1 pixels")

    @classmethod
    def from_matrix(cls, matrix: Any, width: int, height: int) -> Camera:
        """The camera of a 3 x 3 pinhole ``matrix`` (nested list, array or tensor, pixels; skew is ignored)."""
        rows = [[float(v) for v in row] for row in matrix]
        return cls(rows[0][0], rows[1][1], rows[0][2], rows[1][2], int(width), int(height))

    def matrix(self, dtype: torch.dtype = torch.float32, device: torch.device | str | None = None) -> Tensor:
        """The 3 x 3 pinhole matrix in pixels."""
        rows = [[self.fx, 0.0, self.cx], [0.0, self.fy, self.cy], [0.0, 0.0, 1.0]]
        return torch.tensor(rows, dtype=dtype, device=device)

    @property
    def field_of_view(self) -> tuple[float, float]:
        """Horizontal and vertical field of view in degrees."""
        return (
            math.degrees(2 * math.atan(self.width / (2 * self.fx))),
            math.degrees(2 * math.atan(self.height / (2 * self.fy))),
        )

    def resize(self, width: int, height: int, convention: Convention = "exact") -> Camera:
        """The camera of the image resized to ``width`` x ``height``.

        ``exact`` moves the principal point with the pixel areas, c' = (c + 0.5) s - 0.5; ``published`` is the
        c' = c s that most research code, and so most published weights, were trained with.
        """
        return self.rescale(width / self.width, height / self.height, width, height, convention)

    def rescale(self, sx: float, sy: float, width: int, height: int, convention: Convention = "exact") -> Camera:
        """As ``resize`` with the factors given apart from the (rounded) new size."""
        shift = 0.5 if convention == "exact" else 0.0
        cx, cy = (self.cx + shift) * sx - shift, (self.cy + shift) * sy - shift
        return Camera(self.fx * sx, self.fy * sy, cx, cy, width, height)

    def crop(self, left: int, top: int, width: int, height: int) -> Camera:
        """The camera of the window that starts at pixel (``left``, ``top``)."""
        return replace(self, cx=self.cx - left, cy=self.cy - top, width=width, height=height)

    def pad(self, left: int, top: int, right: int, bottom: int) -> Camera:
        """The camera of the image with that many pixels added on each side."""
        return self.crop(-left, -top, self.width + left + right, self.height + top + bottom)

    def flip(self, convention: Convention = "exact") -> Camera:
        """The camera of the horizontally mirrored image: cx' = W - 1 - cx (``published``: W - cx)."""
        last = self.width - 1 if convention == "exact" else self.width
        return replace(self, cx=last - self.cx)


@dataclass(frozen=True)
class Frame:
    """One moment of a recording; what was not asked for or does not exist is None or absent.

    ``masks`` holds 1 x H x W tensors by name: ``dynamic`` (really moving), ``movable`` (of a class that can
    move), ``static``, ``instances`` (integer ids, 0 = none). ``extra`` holds what only some sources know,
    e.g. ``optical_flow`` 2 x H x W in pixels and ``object_motion`` 3 x H x W of synthetic scenes.
    """

    name: str
    image: Tensor
    timestamp: float | None = None
    camera: Camera | None = None
    cam_to_world: Tensor | None = None
    depth: Tensor | None = None
    prior_depth: Tensor | None = None
    masks: Mapping[str, Tensor] = field(default_factory=dict)
    extra: Mapping[str, Tensor] = field(default_factory=dict)


@dataclass(frozen=True)
class Record:
    """How to read one frame. ``load`` maps a field name (``image``, ``depth``, ``prior_depth``,
    ``mask:<name>`` or ``extra:<name>``) to a function that returns its tensor."""

    name: str
    load: Mapping[str, Callable[[], Tensor]]
    timestamp: float | None = None
    camera: Camera | None = None
    cam_to_world: Tensor | None = None

    @property
    def provides(self) -> frozenset[str]:
        """Names of what this frame can give: fields plus ``camera``, ``cam_to_world``, ``timestamp``."""
        stated = {key for key in ("camera", "cam_to_world", "timestamp") if getattr(self, key) is not None}
        return frozenset(set(self.load) | stated)


class Sequence:
    """An ordered, lazily read recording. Nothing is decoded before a frame is read.

    ``provides`` names what every frame can give: record fields plus ``camera``, ``cam_to_world``, ``timestamp``.
    """

    def __init__(self, name: str, records: list[Record], source: str = "") -> None:
        self.name, self.records, self.source = name, records, source

    def __len__(self) -> int:
        return len(self.records)

    @property
    def provides(self) -> frozenset[str]:
        return frozenset.intersection(*(record.provides for record in self.records)) if self.records else frozenset()

    @property
    def provides_somewhere(self) -> frozenset[str]:
        """What at least one frame can give."""
        return frozenset().union(*(record.provides for record in self.records))

    def read(self, index: int, fields: frozenset[str] | set[str] | tuple[str, ...] | None = None) -> Frame:
        """Frame ``index`` with ``image`` and the named ``fields`` (default: all that the record has)."""
        record = self.records[index]
        wanted = set(record.load) if fields is None else ({"image"} | set(fields)) & set(record.load)
        loaded = {key: record.load[key]() for key in wanted}
        return Frame(
            record.name,
            loaded["image"],
            record.timestamp,
            record.camera,
            record.cam_to_world,
            loaded.get("depth"),
            loaded.get("prior_depth"),
            {key.removeprefix("mask:"): value for key, value in loaded.items() if key.startswith("mask:")},
            {key.removeprefix("extra:"): value for key, value in loaded.items() if key.startswith("extra:")},
        )

    def frames(self, fields: frozenset[str] | set[str] | tuple[str, ...] | None = None) -> Iterator[Frame]:
        """The frames in order, one in memory at a time."""
        for index in range(len(self)):
            yield self.read(index, fields)

    def __iter__(self) -> Iterator[Frame]:
        return self.frames()

    def select(self, indices: list[int], name: str | None = None) -> Sequence:
        """The recording of the frames ``indices``, in that order."""
        return Sequence(name or self.name, [self.records[i] for i in indices], self.source)


@dataclass(frozen=True)
class Clip:
    """A batch of short training windows with one camera per window.

    ``images`` B x T x 3 x H x W; ``cameras`` one per batch item, of size W x H; ``target`` the index into T of
    the frame that depth is predicted for; optional ``cam_to_world`` B x T x 4 x 4, ``depth`` and ``prior_depth``
    B x T x 1 x H x W, ``masks`` and ``extra`` by name, B x T x C x H x W. One window alone has B = 1.
    """

    images: Tensor
    cameras: tuple[Camera, ...]
    target: int = 0
    cam_to_world: Tensor | None = None
    depth: Tensor | None = None
    prior_depth: Tensor | None = None
    masks: Mapping[str, Tensor] = field(default_factory=dict)
    extra: Mapping[str, Tensor] = field(default_factory=dict)
    names: tuple[str, ...] = ()

    @property
    def intrinsics(self) -> Tensor:
        """B x 3 x 3 pinhole matrices in pixels of the images, on their device."""
        return torch.stack([camera.matrix() for camera in self.cameras]).to(self.images.device)

    @property
    def sources(self) -> tuple[int, ...]:
        """Indices into T of the frames other than the target, ascending."""
        return tuple(t for t in range(self.images.shape[1]) if t != self.target)

    def map_tensors(self, function: Callable[[Tensor], Tensor]) -> Clip:
        """The clip with ``function`` applied to every tensor it holds."""

        def apply(value: Tensor | None) -> Tensor | None:
            return None if value is None else function(value)

        return replace(
            self,
            images=function(self.images),
            cam_to_world=apply(self.cam_to_world),
            depth=apply(self.depth),
            prior_depth=apply(self.prior_depth),
            masks={key: function(value) for key, value in self.masks.items()},
            extra={key: function(value) for key, value in self.extra.items()},
        )

    def to(self, device: torch.device | str) -> Clip:
        return self.map_tensors(lambda value: value.to(device, non_blocking=True))


@dataclass(frozen=True)
class Prediction:
    """Depth of one frame together with what it means.

    ``depth`` 1 x H x W, > 0 and finite, z along the optical axis, for ``camera`` (of that size). ``scale`` says
    how far the values can be trusted: ``metric`` in ``unit``; ``up_to_scale`` times one unknown factor;
    ``affine`` up to factor and shift. ``outputs`` holds further maps by name (C x H x W), such as ``flow`` 2 x H x W in
    pixels of this size, ``motion`` 3 x H x W in ``unit`` and ``mask`` 1 x H x W bool.
    """

    name: str
    depth: Tensor
    scale: Scale
    unit: str
    camera: Camera | None = None
    cam_to_world: Tensor | None = None
    timestamp: float | None = None
    confidence: Tensor | None = None
    outputs: Mapping[str, Tensor] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.scale not in SCALES:
            raise InputError(f"prediction scale {self.scale!r} is unknown; expected one of {', '.join(SCALES)}")
        if not self.unit:
            raise InputError("prediction without a unit; expected e.g. 'm' or 'scene unit'")

    def cpu(self) -> Prediction:
        """The prediction in the memory of the processor."""
        maps = {name: values.cpu() for name, values in self.outputs.items()}
        pose = None if self.cam_to_world is None else self.cam_to_world.cpu()
        confidence = None if self.confidence is None else self.confidence.cpu()
        return replace(self, depth=self.depth.cpu(), cam_to_world=pose, confidence=confidence, outputs=maps)
