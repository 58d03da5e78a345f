"""Trivial predictors that any trained network has to beat: constant depth, and the median depth of each image row."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

import torch
from torch import Tensor

from kinodepth.types import Prediction, Sequence

_BINS, _NEAREST, _FARTHEST = 4096, 1e-2, 1e4  # log-spaced metres: steps of 0.34 %


class RowMedians:
    """The median of all ground truth in each row of a clip, from one histogram per row (memory independent of length).

    Rows without any ground truth take the value of the nearest row that has some. Exact to 0.34 %.
    """

    def __init__(self, depths: Iterable[Tensor]) -> None:
        counts = torch.zeros(0, _BINS)
        edges = torch.logspace(-2, 4, _BINS + 1, dtype=torch.float64)
        for depth in depths:
            d = depth[0].double()
            counts = counts if len(counts) else torch.zeros(len(d), _BINS)
            row, column = torch.nonzero(d > 0, as_tuple=True)
            value = torch.bucketize(d[row, column].clamp(_NEAREST, _FARTHEST * 0.999), edges, right=True) - 1
            counts.index_put_((row, value), torch.ones(len(row)), accumulate=True)
        half = counts.sum(1, keepdim=True) / 2
        bins = (counts.cumsum(1) < half).sum(1)
        known = torch.nonzero(half[:, 0] > 0)[:, 0]
        nearest = (torch.arange(len(counts))[:, None] - known[None]).abs().argmin(1)
        self.values = (edges[bins] * edges[bins + 1]).sqrt()[known[nearest]].float()

    def depth(self, height: int, width: int) -> Tensor:
        """A 1 x ``height`` x ``width`` prediction; another height takes the rows at the same relative place."""
        at = ((torch.arange(height) + 0.5) * len(self.values) / height).long()
        return self.values[at][None, :, None].expand(1, height, width).clone()


class Baseline(Mapping[str, Prediction]):
    """Predictions by frame name that are made on the spot: constant depth 1, or ``row_medians``."""

    def __init__(self, sequence: Sequence, row_medians: RowMedians | None = None) -> None:
        self._records = {record.name: record for record in sequence.records}
        self._row_medians = row_medians
        self._sizes: dict[str, tuple[int, int]] = {}

    def __getitem__(self, name: str) -> Prediction:
        if name not in self._sizes:
            height, width = self._records[name].load["depth"]().shape[-2:]
            self._sizes[name] = height, width
        height, width = self._sizes[name]
        depth = torch.ones(1, height, width) if self._row_medians is None else self._row_medians.depth(height, width)
        return Prediction(name, depth, "up_to_scale" if self._row_medians is None else "metric", "m")

    def __iter__(self) -> Iterator[str]:
        return iter(self._records)

    def __len__(self) -> int:
        return len(self._records)


def read_depths(sequence: Sequence) -> Iterator[Tensor]:
    """The ground truth of the frames that have it, one at a time."""
    return (record.load["depth"]() for record in sequence.records if "depth" in record.load)
