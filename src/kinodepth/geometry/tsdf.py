"""Fuse posed depth maps into one volume of truncated signed distances (spec deep_video_mvs 8, after Curless and Levoy).

The volume is stored in blocks of 8 x 8 x 8 voxels, and only where surfaces were seen: memory follows the surface, not
the number of frames. A voxel is a sample point at ``origin + index * voxel``; what was never seen has distance 1 and
weight 0.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import NamedTuple

import torch
from torch import Tensor

from kinodepth.geometry import camera as camera_geometry
from kinodepth.geometry.pose import invert, transform
from kinodepth.types import Camera, Convention, InputError

SIDE = 8  # voxels along the edge of a block
_BITS = 21  # of a block coordinate in a key: a million blocks to either side of the origin
MEMORY = 8 * 2**30  # bytes that a volume may take
_BLOCK_BYTES = SIDE**3 * 20  # distance, weight, three colours
_AT_ONCE = 2048  # blocks in work at a time: bounds the memory of a step


class Region(NamedTuple):
    """A box of voxels: ``distance`` and ``weight`` X x Y x Z (distance in truncations, positive on the side of the
    cameras), ``color`` X x Y x Z x 3 RGB from 0 to 255, ``start`` (3) the index of its first voxel."""

    distance: Tensor
    weight: Tensor
    color: Tensor
    start: Tensor


class Volume:
    """A volume of voxels ``voxel`` apart (unit of the poses); distances are truncated at ``truncation`` voxels.

    ``published`` rounds the running mean of the colours at every step, as the published rule does.
    """

    def __init__(
        self,
        voxel: float,
        origin: Tensor | None = None,
        truncation: float = 5.0,
        convention: Convention = "exact",
        device: torch.device | str = "cpu",
    ) -> None:
        if not (voxel > 0 and truncation >= 1):
            raise InputError(
                f"voxels of {voxel:g} with a truncation of {truncation:g} voxels make no volume; expected a size above "
                "0 and a truncation of 1 or more; correct them"
            )
        self.voxel, self.truncation, self.convention = voxel, truncation * voxel, convention
        self.device = torch.device(device)
        self.origin = (torch.zeros(3) if origin is None else origin).to(self.device, torch.float64)
        self._keys = torch.empty(0, dtype=torch.int64, device=self.device)  # sorted; slot of each in _slots
        self._slots = torch.empty(0, dtype=torch.int64, device=self.device)
        self.blocks = torch.empty(0, 3, dtype=torch.int64, device=self.device)  # by slot, as below
        self._distance = torch.empty(0, SIDE**3, device=self.device)
        self._weight = torch.empty(0, SIDE**3, device=self.device)
        self._color = torch.empty(0, SIDE**3, 3, device=self.device)
        axis = torch.arange(SIDE, device=self.device)
        self._offsets = torch.stack(torch.meshgrid(axis, axis, axis, indexing="ij")).flatten(1)  # 3 x 512

    @property
    def bytes(self) -> int:
        """What the voxels take in memory."""
        arrays = (self._distance, self._weight, self._color)
        return sum(array.numel() * array.element_size() for array in arrays)

    def integrate(self, depth: Tensor, camera: Camera, cam_to_world: Tensor, image: Tensor | None = None) -> None:
        """Add one view: ``depth`` 1 x H x W (0 = none) of ``camera``, ``image`` 3 x H x W in [0, 1] of that size.

        Every known voxel it sees, in front of the surface or up to a truncation behind it, takes part in a running
        mean with weight 1 per view. Call ``allocate`` first where there may be new surface.
        """
        depth = depth[0].to(self.device, torch.float32)
        world_to_cam = invert(cam_to_world.to(self.device, torch.float64))
        colors = None if image is None else (image.to(self.device) * 255).round().flatten(1).T.float()
        seen = self._in_view(camera, world_to_cam, float(depth.max()) + self.truncation)
        step = (self._offsets.double() * self.voxel).T @ world_to_cam[:3, :3].T
        for slots in seen.split(_AT_ONCE):
            corner = self.blocks[slots].double() * (SIDE * self.voxel) + self.origin
            corner = corner @ world_to_cam[:3, :3].T + world_to_cam[:3, 3]
            x, y, z = (corner[:, None] + step).float().unbind(-1)
            column = torch.round(x / z * camera.fx + camera.cx)
            row = torch.round(y / z * camera.fy + camera.cy)
            lands = (z > 0) & (column >= 0) & (column < camera.width) & (row >= 0) & (row < camera.height)
            pixel = torch.where(lands, row * camera.width + column, 0).long()
            measured = depth.flatten()[pixel]
            ahead = measured - z
            lands &= (measured > 0) & (ahead >= -self.truncation)
            self._update(
                slots, lands, (ahead / self.truncation).clamp(max=1), None if colors is None else colors[pixel]
            )

    def allocate(self, depth: Tensor, camera: Camera, cam_to_world: Tensor) -> None:
        """Make room for the voxels within a truncation of the surface that ``depth`` 1 x H x W (0 = none) shows.

        Raises ``InputError`` where the volume would take more than ``MEMORY``.
        """
        # every step-th pixel, so that at the largest depth they are half a voxel apart
        step = max(1, int(0.5 * self.voxel * min(camera.fx, camera.fy) / max(float(depth.max()), self.voxel)))
        depth = depth[:, ::step, ::step].to(self.device, torch.float32)
        focal = torch.tensor([step / camera.fx, step / camera.fy], device=self.device)
        center = torch.tensor([camera.cx, camera.cy], device=self.device) / step
        rays = camera_geometry.pixel_grid(depth.shape[-2], depth.shape[-1], device=self.device)
        rays = torch.cat(((rays - center[:, None, None]) * focal[:, None, None], torch.ones_like(depth)))
        known = depth[0] > 0
        ahead = torch.linspace(-1, 1, 5, device=self.device)[:, None] * self.truncation  # steps under half a block
        points = rays[:, known][:, None] * (depth[0][known] + ahead).clamp(min=0)
        pose = cam_to_world.to(self.device, torch.float64).clone()
        pose[:3, 3] -= self.origin
        index = transform(pose.float(), points).flatten(1).T / self.voxel
        # a surface needs the voxels on both sides of it, which may lie in the next block
        low, high = (torch.floor((index + side) / SIDE).long() for side in (-1, 1))
        keys, differ = _pack(low), low != high
        wanted = [torch.unique_consecutive(keys)]  # neighbours mostly share a block: less to sort
        for corner in range(1, 8):
            axes = [axis for axis in range(3) if corner >> axis & 1]
            crossing = differ[:, axes].all(1)
            other = low[crossing]
            other[:, axes] += 1
            wanted.append(torch.unique_consecutive(_pack(other)))
        self._insert(torch.unique(torch.cat(wanted)))

    def allocate_box(self, size: Tensor) -> None:
        """Make room for all voxels of indices 0 to ``size`` - 1 (3 integers). ``InputError`` beyond ``MEMORY``."""
        counts = [-(-int(count) // SIDE) for count in size]
        self._check_memory(math.prod(counts))
        axes = [torch.arange(count, device=self.device) for count in counts]
        self._insert(_pack(torch.cartesian_prod(*axes)).sort().values)

    def region(self, start: Tensor, size: Tensor) -> Region:
        """The voxels of indices ``start`` to ``start + size - 1`` (3 integers each), allocated or not."""
        first = torch.div(start, SIDE, rounding_mode="floor")
        last = torch.div(start + size - 1, SIDE, rounding_mode="floor")
        axes = [torch.arange(int(a), int(b) + 1, device=self.device) for a, b in zip(first, last)]
        counts = [len(axis) for axis in axes]
        slots, known = self._find(_pack(torch.cartesian_prod(*axes)))
        inside = [slice(int(s - f * SIDE), int(s - f * SIDE + n)) for s, f, n in zip(start, first, size)]

        def fetch(values: Tensor, missing: float) -> Tensor:
            shape = (-1,) + (1,) * (values.ndim - 1)
            found = (
                torch.where(known.view(shape), values[slots], missing)
                if len(values)
                else values.new_full((len(slots), *values.shape[1:]), missing)
            )
            found = found.view(*counts, SIDE, SIDE, SIDE, *values.shape[2:])
            found = found.permute(0, 3, 1, 4, 2, 5, *range(6, found.ndim))
            return found.reshape(*(count * SIDE for count in counts), *values.shape[2:])[tuple(inside)]

        return Region(fetch(self._distance, 1.0), fetch(self._weight, 0.0), fetch(self._color, 0.0), start)

    def regions(self, blocks: int = 8) -> Iterator[Region]:
        """Boxes of up to ``blocks`` blocks along each edge that hold all known voxels; neighbours share a layer."""
        edge = blocks * SIDE
        corners = torch.unique(torch.div(self.blocks, blocks, rounding_mode="floor"), dim=0)
        size = torch.full((3,), edge + 1)
        for corner in corners.cpu():
            yield self.region(corner * edge, size)

    def _update(self, slots: Tensor, lands: Tensor, distance: Tensor, colors: Tensor | None) -> None:
        """Take ``distance`` B x 512 and ``colors`` B x 512 x 3 where ``lands`` into the running means."""
        before = self._weight[slots]
        after = before + lands
        share = lands / after.clamp(min=1)  # 1 / weight where the voxel is seen, else 0: no change
        old = self._distance[slots]
        self._distance[slots] = old + (distance - old) * share
        self._weight[slots] = after
        if colors is None:
            return
        shade = self._color[slots]
        shade = shade + (colors - shade) * share[..., None]
        self._color[slots] = shade.round().clamp(max=255) if self.convention == "published" else shade

    def _in_view(self, camera: Camera, world_to_cam: Tensor, far: float) -> Tensor:
        """Slots of the blocks that reach into the field of view and are not all beyond ``far``."""
        center = (self.blocks.double() + 0.5) * (SIDE * self.voxel) + self.origin
        x, y, z = (center @ world_to_cam[:3, :3].T + world_to_cam[:3, 3]).unbind(-1)
        radius = 0.5 * 3**0.5 * SIDE * self.voxel
        visible = (z > -radius) & (z < far + radius)
        for across, focal, low, size in (
            (x, camera.fx, camera.cx, camera.width), (y, camera.fy, camera.cy, camera.height)
        ):  # fmt: skip
            before, beyond = low + 0.5, size - 0.5 - low  # pixels from the centre to either edge
            visible &= focal * across + before * z > -radius * (focal**2 + before**2) ** 0.5
            visible &= beyond * z - focal * across > -radius * (focal**2 + beyond**2) ** 0.5
        return visible.nonzero()[:, 0]

    def _check_memory(self, blocks: int) -> None:
        if blocks * _BLOCK_BYTES > MEMORY:
            raise InputError(
                f"voxels of {self.voxel:g} would take {blocks * _BLOCK_BYTES / 2**30:.1f} GiB here; expected at most "
                f"{MEMORY / 2**30:.1f}; give a larger --voxel or a smaller --max-depth"
            )

    def _find(self, keys: Tensor) -> tuple[Tensor, Tensor]:
        """Slots of ``keys`` and which of them are known; the slot of an unknown one is 0."""
        if not len(self._keys):
            return torch.zeros_like(keys), torch.zeros_like(keys, dtype=torch.bool)
        place = torch.searchsorted(self._keys, keys).clamp(max=len(self._keys) - 1)
        known = self._keys[place] == keys
        return torch.where(known, self._slots[place], 0), known

    def _insert(self, keys: Tensor) -> None:
        """Add blocks for those of the unique ``keys`` that are not there yet."""
        new = keys[~self._find(keys)[1]]
        count, needed = len(self.blocks), len(self.blocks) + len(new)
        self._check_memory(needed)
        if needed > len(self._distance):
            room = max(needed, len(self._distance) * 3 // 2)
            self._distance, self._weight, self._color = (
                torch.cat((values[:count], values.new_full((room - count, *values.shape[1:]), fill)))
                for values, fill in ((self._distance, 1.0), (self._weight, 0.0), (self._color, 0.0))
            )
        self.blocks = torch.cat((self.blocks, _unpack(new)))
        self._keys, order = torch.cat((self._keys, new)).sort()
        self._slots = torch.cat((self._slots, torch.arange(count, needed, device=self.device)))[order]


def _pack(blocks: Tensor) -> Tensor:
    """One int64 per block coordinate N x 3. Raises ``InputError`` beyond what fits."""
    if blocks.numel() and int(blocks.abs().max()) >= 1 << (_BITS - 1):
        raise InputError(
            "the volume is more than a million blocks wide; expected poses and depth in one unit and larger voxels; "
            "check the poses, or give a larger --voxel"
        )
    x, y, z = (blocks + (1 << (_BITS - 1))).unbind(-1)
    return (x << 2 * _BITS) | (y << _BITS) | z


def _unpack(keys: Tensor) -> Tensor:
    mask = (1 << _BITS) - 1
    return torch.stack((keys >> 2 * _BITS, keys >> _BITS & mask, keys & mask), -1) - (1 << (_BITS - 1))
