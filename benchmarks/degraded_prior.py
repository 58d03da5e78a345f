"""Give a recording a prior made from its own depth, spoilt the way the depth of a network is: for experiments only.

    python benchmarks/degraded_prior.py CLIP [--seed 0]

Per frame: holes filled from the nearest measurement, blurred over 2 % of the width, times a factor in [0.5, 2], plus a
shift of up to 20 % of the median either way; noise of 5 % of each value that changes over 10 % of the width, since
networks are wrong by whole surfaces.
"""

from __future__ import annotations

import argparse

import numpy as np
import torch
from scipy import ndimage
from torch import Tensor

from kinodepth import open_sequence
from kinodepth.data.prior import Source, write_prior
from kinodepth.types import Sequence


def spoil(depth: Tensor, rng: np.random.Generator) -> Tensor:
    """A bad copy of ``depth`` (1 x H x W, 0 = none): positive everywhere, of unknown scale and shift."""
    values = depth[0].double().numpy()
    nearest = ndimage.distance_transform_edt(values == 0, return_distances=False, return_indices=True)
    reach = 0.02 * values.shape[1]
    filled = ndimage.gaussian_filter(values[tuple(nearest)], reach)
    noise = ndimage.gaussian_filter(rng.standard_normal(values.shape), 5 * reach)
    filled *= 1 + 0.05 * noise / noise.std()
    middle = np.median(filled)
    spoilt = np.exp(rng.uniform(-1, 1) * np.log(2)) * (filled + rng.uniform(-0.2, 0.2) * middle)
    return torch.from_numpy(spoilt.clip(0.01 * middle))[None].float()


def add_prior(sequence: Sequence, seed: int) -> None:
    """Write prior/ of ``sequence`` (a folder with depth) from its own depth."""
    place = {record.name: index for index, record in enumerate(sequence.records)}

    def read(name: str) -> Tensor:
        return spoil(sequence.records[place[name]].load["depth"](), np.random.default_rng([seed, place[name]]))

    source = Source(read, "depth", "affine", f"its own depth, spoilt with seed {seed}")
    for _ in write_prior(sequence, source, overwrite=True):
        pass


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("clip", help="recording in the folder contract, with depth")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    add_prior(open_sequence(options.clip), options.seed)


if __name__ == "__main__":
    main()
