"""From posed depth to one volume, and from the volume to a mesh (extra ``mesh``: scikit-image)."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np
import torch
import trimesh
from scipy import ndimage, sparse
from torch import Tensor

from kinodepth.data.files import atomic
from kinodepth.geometry.tsdf import SIDE, Region, Volume
from kinodepth.inference.views import View
from kinodepth.inference.writers import ply_comment
from kinodepth.types import Convention, InputError


def fuse(
    views: Callable[[], Iterable[View]],
    voxel: float = 0.025,
    truncation: float = 5.0,
    convention: Convention = "exact",
    device: torch.device | str = "cpu",
) -> Volume:
    """Fuse ``views`` (called once, or twice where the box has to be known before) into a volume of signed distances.

    ``exact`` makes room where surfaces are seen; ``published`` fills one box that holds all of the frusta and the
    origin (spec deep_video_mvs 8). Raises ``InputError`` where the volume would not fit in memory.
    """
    volume = Volume(voxel, truncation=truncation, convention=convention, device=device)
    if convention == "published":
        origin, size = published_box(views(), voxel)
        volume = Volume(voxel, origin, truncation, convention, device)
        volume.allocate_box(size)
    fused = 0
    for view in views():
        if convention == "exact":
            volume.allocate(view.depth, view.camera, view.cam_to_world)
        volume.integrate(view.depth, view.camera, view.cam_to_world, view.image)
        fused += 1
    if not fused or not len(volume.blocks):
        raise InputError("no depth is left to fuse; expected some below the cap; give a larger --max-depth")
    return volume


def published_box(views: Iterable[View], voxel: float) -> tuple[Tensor, Tensor]:
    """Origin (3, unit of the poses) and size (3, voxels) of the published volume (spec deep_video_mvs 8).

    The box around camera centres and frustum corners at the largest depth starts from the world's origin, which is so
    always inside, and is stretched by 1.05 away from it.
    """
    low, high = torch.zeros(3, dtype=torch.float64), torch.zeros(3, dtype=torch.float64)
    for view in views:
        camera, far = view.camera, float(view.depth.max())
        corners = [
            [(u - camera.cx) / camera.fx * far, (v - camera.cy) / camera.fy * far, far]
            for u in (0, camera.width)
            for v in (0, camera.height)
        ]
        points = torch.tensor([[0.0, 0.0, 0.0], *corners], dtype=torch.float64)
        world = points @ view.cam_to_world[:3, :3].T.double() + view.cam_to_world[:3, 3].double()
        low, high = torch.minimum(low, world.amin(0)), torch.maximum(high, world.amax(0))
    low, high = 1.05 * low, 1.05 * high
    return low, torch.ceil((high - low) / voxel).long()


def surface(volume: Volume, min_views: int = 1, min_triangles: int = 0) -> trimesh.Trimesh:
    """The surface at distance 0 as a coloured triangle mesh, normals towards the cameras.

    Only between voxels that ``min_views`` views saw; pieces of fewer than ``min_triangles`` are left out. The published
    convention asks for neither and so closes the back of everything. Raises ``InputError`` if nothing is left.
    """
    parts = []
    for region in [_box(volume)] if volume.convention == "published" else volume.regions():
        parts.append(_region_surface(region, 0 if volume.convention == "published" else min_views))
    vertices = np.concatenate([part[0] for part in parts])
    starts = np.cumsum([0, *(len(part[0]) for part in parts)])
    faces = np.concatenate([part[1] + start for part, start in zip(parts, starts)])
    colors = np.concatenate([part[2] for part in parts])
    vertices, faces, colors = _joined(vertices, faces, colors)
    faces = _without_pieces(faces, len(vertices), min_triangles)
    if not len(faces):
        raise InputError(
            "the depth shows no surface; expected views that overlap; lower --min-views, or give a larger --voxel"
        )
    used, index = np.unique(faces, return_inverse=True)
    world = vertices[used] * volume.voxel + volume.origin.cpu().numpy()
    return trimesh.Trimesh(world, index.reshape(faces.shape), vertex_colors=colors[used], process=False)


def write_mesh(path: Path, mesh: trimesh.Trimesh, up: np.ndarray, about: str) -> None:
    """Write .ply (binary, with normals, coordinates of the poses) or .glb, which stands on its feet in viewers:
    ``up`` (3, in the coordinates of the poses) is turned to y. Raises ``InputError`` for another ending."""
    check_ready(path)
    if path.suffix.lower() == ".glb":
        scene = trimesh.Scene()
        scene.add_geometry(mesh, transform=trimesh.geometry.align_vectors(up, [0, 1, 0]))
        data = scene.export(file_type="glb", include_normals=True)
    else:
        data = ply_comment(trimesh.exchange.ply.export_ply(mesh, vertex_normal=True), about)
    with atomic(path) as temporary:
        temporary.write_bytes(data)


def check_ready(path: Path) -> None:
    """Raise ``InputError``, before work is done, where no mesh can be made or not be written to ``path``."""
    if path.suffix.lower() not in (".ply", ".glb"):
        raise InputError(f"{path} ends in {path.suffix or 'nothing'}; expected .ply or .glb; choose another --out")
    marching_cubes()


def upwards(poses: Iterable[Tensor]) -> np.ndarray:
    """The mean direction (3) that is up in the pictures of cameras with these ``cam_to_world``."""
    up = -torch.stack([pose[:3, 1].double() for pose in poses]).mean(0)
    return (up / up.norm().clamp(min=1e-9)).numpy()


def _box(volume: Volume) -> Region:
    """All of a volume that is one box from index 0."""
    return volume.region(torch.zeros(3, dtype=torch.long), (volume.blocks.amax(0).cpu() + 1) * SIDE)


def _region_surface(region: Region, min_views: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Vertices V x 3 (voxel indices), faces F x 3, colours V x 3 uint8 of one box, by marching cubes."""
    nothing = np.empty((0, 3)), np.empty((0, 3), np.int64), np.empty((0, 3), np.uint8)
    distance = region.distance.cpu().numpy()
    mask = np.ones(distance.shape, bool)
    if min_views > 0:
        seen = region.weight.cpu().numpy() >= min_views
        # a cube counts if its eight corners are known; the library looks at the last of them
        corners = [seen[x:, y:, z:][: -1 if not x else None, : -1 if not y else None, : -1 if not z else None]
                   for x in (0, 1) for y in (0, 1) for z in (0, 1)]  # fmt: skip
        mask[:] = False
        mask[1:, 1:, 1:] = np.logical_and.reduce(corners)
    inside = distance[mask]
    if not (inside.size and distance.min() < 0 < distance.max()):
        return nothing
    try:
        found = marching_cubes()(distance, 0.0, gradient_direction="descent", mask=mask)
    except RuntimeError:  # no cube of the mask is cut
        return nothing
    vertices, faces = found[0].astype(np.float64), found[1].astype(np.int64)
    shades = region.color.cpu().numpy()
    colors = np.stack([ndimage.map_coordinates(shades[..., c], vertices.T, order=1) for c in range(3)], -1)
    return vertices + region.start.numpy(), faces, np.rint(colors).clip(0, 255).astype(np.uint8)


def marching_cubes() -> Callable:
    """The library's function. Raises ``InputError`` where the extra is not installed."""
    try:
        from skimage.measure import marching_cubes as function
    except ImportError:
        raise InputError(
            "scikit-image is not installed; expected it for meshes; run pip install 'kinodepth[mesh]', or make a "
            "point cloud with kinodepth pointcloud"
        ) from None
    return function


def _joined(vertices: np.ndarray, faces: np.ndarray, colors: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The mesh with the vertices that neighbouring regions both made (on whole voxels) made one."""
    places = np.rint(vertices * 1024).astype(np.int64)
    shared = np.flatnonzero((places % (SIDE * 1024) == 0).any(1))
    _, first, index = np.unique(places[shared], axis=0, return_index=True, return_inverse=True)
    target = np.arange(len(vertices))
    target[shared] = shared[first[index.ravel()]]
    faces = target[faces]
    flat = (faces[:, 0] == faces[:, 1]) | (faces[:, 1] == faces[:, 2]) | (faces[:, 2] == faces[:, 0])
    return vertices, faces[~flat], colors


def _without_pieces(faces: np.ndarray, count: int, least: int) -> np.ndarray:
    """The faces of those connected pieces that have at least ``least``."""
    if least <= 1 or not len(faces):
        return faces
    edges = np.concatenate([faces[:, :2], faces[:, 1:]])
    graph = sparse.coo_matrix((np.ones(len(edges), bool), edges.T), shape=(count, count))
    piece = sparse.csgraph.connected_components(graph, directed=False)[1][faces[:, 0]]
    return faces[np.bincount(piece)[piece] >= least]
