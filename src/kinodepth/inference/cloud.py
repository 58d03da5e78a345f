"""One point cloud of many views: a mean point and colour per voxel, so memory follows the surface, not the frames."""

from __future__ import annotations

import torch
from torch import Tensor

from kinodepth.geometry import camera as camera_geometry
from kinodepth.geometry import pose
from kinodepth.inference.views import View
from kinodepth.types import InputError

_BITS = 21  # of a voxel coordinate in a key


class Cloud:
    """Points thinned to one per cube of edge ``voxel`` (unit of the poses): the mean of what fell into it."""

    def __init__(self, voxel: float) -> None:
        if not voxel > 0:
            raise InputError(f"a voxel of {voxel:g} thins nothing; expected a size above 0; correct --voxel")
        self.voxel = voxel
        self._keys = torch.empty(0, dtype=torch.int64)
        self._sums = torch.empty(0, 8, dtype=torch.float64)  # x, y, z, red, green, blue, points, views
        self._new: list[tuple[Tensor, Tensor]] = []
        self._waiting = 0

    def add(self, view: View) -> None:
        """Take in the depth of one view."""
        known = view.depth[0] > 0
        points = camera_geometry.back_project(view.depth.double()[None], view.camera.matrix(torch.float64)[None])
        world = pose.transform(view.cam_to_world.double()[None], points)[0][:, known].T
        cells = torch.floor(world / self.voxel).long() + (1 << (_BITS - 1))
        if cells.numel() and not bool(((cells >= 0) & (cells < 1 << _BITS)).all()):
            raise InputError(
                f"the cloud is more than a million voxels of {self.voxel:g} wide; expected poses and depth in one "
                "unit; check the poses, or give a larger --voxel"
            )
        keys = (cells[:, 0] << 2 * _BITS) | (cells[:, 1] << _BITS) | cells[:, 2]
        rows = torch.cat((world, view.image[:, known].T.double(), torch.ones(len(world), 1, dtype=torch.float64)), 1)
        keys, sums = _summed(keys, rows)
        self._new.append((keys, torch.cat((sums, torch.ones(len(keys), 1, dtype=torch.float64)), 1)))
        self._waiting += len(keys)
        if self._waiting > max(1_000_000, len(self._keys)):  # rarer as it grows: each point is moved a few times only
            self._merge()

    def points(self, min_views: int = 1) -> tuple[Tensor, Tensor]:
        """Points N x 3 (float64, in the world) and colours N x 3 (uint8) of voxels that ``min_views`` views saw."""
        self._merge()
        sums = self._sums[self._sums[:, 7] >= min_views]
        means = sums[:, :6] / sums[:, 6:7]
        return means[:, :3], (means[:, 3:] * 255).round().clamp(0, 255).to(torch.uint8)

    def _merge(self) -> None:
        keys, sums = zip((self._keys, self._sums), *self._new)
        self._keys, self._sums = _summed(torch.cat(keys), torch.cat(sums))
        self._new, self._waiting = [], 0


def _summed(keys: Tensor, rows: Tensor) -> tuple[Tensor, Tensor]:
    """The unique ``keys`` N, and the sums of the ``rows`` N x C of each."""
    unique, index = torch.unique(keys, return_inverse=True)
    return unique, torch.zeros(len(unique), rows.shape[1], dtype=rows.dtype).index_add_(0, index, rows)
