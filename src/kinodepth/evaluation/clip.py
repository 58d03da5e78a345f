"""Score predictions against a sequence with depth, one frame at a time.

Two passes over the frames: the first collects what clip-wide alignment needs (exact sums, one ratio per frame), the
second compares. Only one row of numbers per frame is kept, so memory does not grow with pictures.
"""

from __future__ import annotations

import hashlib
import math
import typing
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from kinodepth.evaluation.alignment import Ladder
from kinodepth.evaluation.frame import Pixels, finish, select_pixels
from kinodepth.evaluation.holes import HoleCounter
from kinodepth.evaluation.metrics import depth_errors, mean_over_images, pooled_over_pixels
from kinodepth.evaluation.protocols import ALIGNMENTS, Alignment, Protocol
from kinodepth.evaluation.regions import SameMaskWatch, choose_mask, region_masks
from kinodepth.evaluation.temporal import TemporalMeter
from kinodepth.types import InputError, Prediction, Record, Sequence


@dataclass(frozen=True)
class Result:
    """Scores of one clip, always together with their protocol.

    ``errors`` F x A x R x E (NaN where a frame has no pixel of the region) and ``pixels`` F x R, for frames
    ``names`` F, alignments ``ALIGNMENTS`` A, regions ``regions`` R and errors ``protocol.errors`` E.
    ``scales`` F are the per-frame median ratios, ``clip_scale`` their median, ``scale_drift`` the standard
    deviation of their logarithm. ``temporal`` and ``holes`` hold the numbers of the modules of that name.
    """

    protocol: Protocol
    names: tuple[str, ...]
    regions: tuple[str, ...]
    errors: Tensor
    pixels: Tensor
    scales: Tensor
    clip_scale: float
    scale_drift: float
    prediction_scale: str
    mask: str | None = None
    temporal: Mapping[str, float] = field(default_factory=dict)
    holes: Mapping[str, float] = field(default_factory=dict)
    missing: tuple[str, ...] = ()
    unused: tuple[str, ...] = ()
    without_depth: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    provenance: Mapping[str, Any] = field(default_factory=dict)

    def rows(self, alignment: Alignment | None = None, region: str = "all") -> Tensor:
        """The per-image rows F x E of one ``alignment`` (default: the protocol's) and ``region``."""
        chosen = alignment or self.protocol.alignment
        return self.errors[:, ALIGNMENTS.index(chosen), self.regions.index(region)]

    def average(
        self, alignment: Alignment | None = None, region: str = "all", averaging: str | None = None
    ) -> dict[str, float]:
        """The mean errors of one rung and region; ``averaging`` is ``images`` or ``pixels`` (default: protocol's).

        With the protocol's ``double_count`` images with dynamic pixels enter the mean over all pixels twice.
        """
        rows, pixels = self.rows(alignment, region), self.pixels[:, self.regions.index(region)]
        if self.protocol.double_count and region == "all" and "dynamic" in self.regions:
            again = self.pixels[:, self.regions.index("dynamic")] > 0
            rows, pixels = torch.cat([rows, rows[again]]), torch.cat([pixels, pixels[again]])
        if (averaging or self.protocol.averaging) == "images":
            means = mean_over_images(rows)
        else:
            means = pooled_over_pixels(rows, pixels, self.protocol.errors)
        return dict(zip(self.protocol.errors, means.tolist()))


class NamedPredictions(typing.Protocol):
    """Predictions that are read by frame name, such as a folder of them."""

    @property
    def names(self) -> list[str]: ...

    def __getitem__(self, name: str) -> Prediction: ...


def evaluate(
    predictions: Mapping[str, Prediction] | NamedPredictions,
    sequence: Sequence,
    protocol: Protocol,
    mask: str | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Result:
    """Score ``predictions`` (by frame name; may read lazily) against the depth of ``sequence`` under ``protocol``.

    ``predictions`` is a dict, or anything with ``names`` and ``[name]``. ``mask`` names the region mask (default
    ``dynamic`` where there is one). ``progress(done, total)`` is called per frame and pass. Raises ``InputError`` when
    nothing matches by name, or masks are missing, mixed up or of another size than the ground truth.
    """
    records = {record.name: record for record in sequence.records}
    if len(records) < len(sequence.records):
        raise InputError(f"frame names of {sequence.name} repeat; expected each once; evaluate one recording at a time")
    offered = list(predictions if isinstance(predictions, Mapping) else predictions.names)
    without_depth = tuple(name for name, record in records.items() if "depth" not in record.load)
    names = [name for name in records if name in set(offered) and name not in without_depth]
    if not names:
        raise InputError(_no_match(sequence, offered, without_depth))
    kind = choose_mask(sequence, names, mask)
    missing = tuple(name for name in records if name not in set(offered) and name not in without_depth)
    watch, ladder = SameMaskWatch(), Ladder(protocol.median)
    scale = predictions[names[0]].scale

    def pixels_of(name: str) -> tuple[Prediction, Tensor | None, Pixels]:
        prediction, load = predictions[name].cpu(), records[name].load
        moving = load[f"mask:{kind}"]() if kind else None
        regions = region_masks(moving, kind or "")
        return prediction, moving, select_pixels(name, prediction.depth, load["depth"](), protocol, regions)

    empty = 0
    for index, name in enumerate(names):
        _, moving, pixels = pixels_of(name)
        empty += int((pixels.prediction <= 0).sum())
        ladder.add(pixels.prediction, pixels.ground_truth)
        if moving is not None:
            watch.add(name, moving)
        if progress:
            progress(index + 1, 2 * len(names))

    regions = ("all", *(region_masks(torch.zeros(1, 1, 1), kind) if kind else ()))
    errors, counts = [], []
    temporal, holes = TemporalMeter(1.0 if scale == "metric" else ladder.clip_scale), HoleCounter()
    for index, name in enumerate(names):
        prediction, moving, pixels = pixels_of(name)
        frame_errors, aligned = _frame_errors(pixels, ladder, protocol, regions)
        errors.append(frame_errors)
        counts.append([_region(pixels, region).sum() for region in regions])
        if moving is not None and "dynamic" in pixels.regions:
            holes.add_scored(aligned[pixels.regions["dynamic"]], pixels.ground_truth[pixels.regions["dynamic"]])
            holes.add(prediction.depth, _objects(records[name], moving))
        temporal.add(prediction, records[name], moving)
        if progress:
            progress(len(names) + index + 1, 2 * len(names))
    return Result(
        protocol,
        tuple(names),
        regions,
        torch.stack(errors),
        torch.tensor(counts),
        torch.tensor(ladder.ratios, dtype=torch.float64),
        ladder.clip_scale,
        ladder.scale_drift,
        scale,
        kind,
        temporal.summary(),
        holes.summary(),
        missing,
        tuple(name for name in offered if name not in records),
        without_depth,
        tuple(_warnings(protocol, names, missing, len(without_depth), empty) + watch.warnings(sequence)),
        {"frames_sha256": frames_sha256(names), "sequence": sequence.name, "frames": len(names)},
    )


def joined(results: Mapping[str, Result]) -> Result:
    """The results of several recordings, by name, as one: every frame of all of them counts the same.

    Each recording keeps the alignment that was fitted to it. Regions that not all of them have are left out, as are
    the numbers that one recording alone has: scale, drift, temporal consistency and holes.
    """
    parts = list(results.values())
    first = parts[0]
    regions = tuple(region for region in first.regions if all(region in part.regions for part in parts))
    chosen = [[part.regions.index(region) for region in regions] for part in parts]
    names = tuple(f"{label}/{name}" for label, part in results.items() for name in part.names)
    return Result(
        first.protocol,
        names,
        regions,
        torch.cat([part.errors[:, :, index] for part, index in zip(parts, chosen)]),
        torch.cat([part.pixels[:, index] for part, index in zip(parts, chosen)]),
        torch.cat([part.scales for part in parts]),
        math.nan,
        math.nan,
        first.prediction_scale,
        first.mask,
        missing=tuple(f"{label}/{name}" for label, part in results.items() for name in part.missing),
        without_depth=tuple(f"{label}/{name}" for label, part in results.items() for name in part.without_depth),
        warnings=tuple(f"{label}: {line}" for label, part in results.items() for line in part.warnings),
        provenance={"frames_sha256": frames_sha256(list(names)), "recordings": len(parts), "frames": len(names)},
    )


def _region(pixels: Pixels, region: str) -> Tensor:
    return torch.ones_like(pixels.ground_truth, dtype=torch.bool) if region == "all" else pixels.regions[region]


def _objects(record: Record, moving: Tensor) -> Tensor:
    """The moving mask with one id per object where the record knows instances of the same size."""
    if "mask:instances" not in record.load:
        return moving
    instances = record.load["mask:instances"]()
    return instances * (moving != 0) if instances.shape == moving.shape else moving


def _frame_errors(
    pixels: Pixels, ladder: Ladder, protocol: Protocol, regions: tuple[str, ...]
) -> tuple[Tensor, Tensor]:
    """Errors A x R x E of one frame, and its prediction under the protocol's own alignment."""
    table, own = [], pixels.prediction
    farthest = protocol.clamp[1] if protocol.clamp else max(ladder.farthest, 1e-6)
    for alignment, fit in ladder.fits(pixels.prediction, pixels.ground_truth).items():
        aligned = finish(fit.apply(pixels.prediction, farthest), protocol)
        if alignment == protocol.alignment:
            own = aligned
        rows = [
            depth_errors(aligned, pixels.ground_truth, _region(pixels, region), protocol.errors) for region in regions
        ]
        table.append([list(row.values()) for row in rows])
    return torch.tensor(table, dtype=torch.float64), own


def _no_match(sequence: Sequence, offered: list[str], without_depth: tuple[str, ...]) -> str:
    if len(without_depth) == len(sequence):
        return f"no frame of {sequence.name} has depth; expected ground truth to score against; choose data with depth"
    some = ", ".join(offered[:3]) or "none"
    wanted = ", ".join(record.name for record in sequence.records[:3])
    return (
        f"no prediction belongs to a frame of {sequence.name} by name (predictions: {some}; frames: {wanted}); "
        "expected equal stems; rename the prediction files"
    )


def _warnings(
    protocol: Protocol, names: list[str], missing: tuple[str, ...], without_depth: int, empty: int
) -> list[str]:
    found = []
    if without_depth:
        found.append(f"{without_depth} frames have no recorded depth and are not scored; {len(names)} are.")
    if empty:
        found.append(
            f"{empty} scored pixels have NO PREDICTED DEPTH (0, negative or not finite) and count as they are."
        )
    if missing:
        found.append(
            f"{len(missing)} frames have depth but NO PREDICTION and are not scored: {', '.join(missing[:5])} ..."
        )
    if protocol.split_sha256 and protocol.split_sha256 != frames_sha256(names):
        found.append("The frames scored are NOT THE SPLIT of the protocol.")
    elif protocol.frames and protocol.frames != len(names):
        found.append(
            f"Scored {len(names)} frames; the published split of {protocol.name} has {protocol.frames}: do not compare "
            "with published tables."
        )
    return found


def frames_sha256(names: list[str]) -> str:
    """The hash of a split: SHA-256 of the sorted frame names, one per line."""
    return hashlib.sha256("\n".join(sorted(names)).encode()).hexdigest()
