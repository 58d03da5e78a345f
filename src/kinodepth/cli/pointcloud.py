"""``kinodepth pointcloud``: one coloured point cloud of all predictions with poses."""

from __future__ import annotations

from typing import Literal

EXAMPLES = """
kinodepth pointcloud depth --out kitchen.ply
kinodepth pointcloud recording --recorded --voxel 0.02 --max-depth 4
"""


def run(
    depth: str,
    out: str | None = None,
    data: str | None = None,
    recorded: bool = False,
    voxel: float = 0.01,
    max_depth: float = 5.0,
    consistency: float = 0.05,
    edges: bool = False,
    min_views: int = 1,
    stride: int = 1,
    dark_border: bool = False,
    convention: Literal["exact", "published"] = "exact",
    format: str | None = None,
    quantity: Literal["depth", "inverse_depth"] | None = None,
    scale: Literal["metric", "up_to_scale", "affine"] | None = None,
    png_divisor: float | None = None,
) -> int:
    """Join metric depth with poses into one coloured point cloud (.ply); memory does not grow with the frames.

    One point per voxel, the mean of what was seen there. docs/reconstruction.md says how to choose the filters.

    Args:
        depth: folder of predictions, ours or any npz, npy, png by frame name; with --recorded a recording
        out: .ply to write; default: the name of the input
        data: the recording with images and poses; default: what the predictions were made from
        recorded: fuse the depth recorded with the frames, instead of predictions
        voxel: edge in metres of the cubes that become one point each
        max_depth: leave out what is farther from its camera, in metres
        consistency: keep depth that the frame before or after confirms within this share of it; 0 keeps all
        edges: keep the points at depth edges too, which hang in the air between two surfaces
        min_views: keep points that so many frames saw
        stride: use every so-manyth frame
        dark_border: leave out black pixels within 10 of the border (pictures that were warped, as in ScanNet)
        convention: published scales cameras and picks colours as the published reconstruction does
        format: format of the recording; default: detected
        quantity: what a foreign folder holds: depth or inverse_depth
        scale: how far a foreign folder can be trusted: metric, up_to_scale or affine
        png_divisor: stored value / divisor = metres in a foreign folder of 16-bit PNG
    """
    from kinodepth.cli._views import progress, sources, target
    from kinodepth.inference.cloud import Cloud
    from kinodepth.inference.views import Filters, views
    from kinodepth.inference.writers import write_points
    from kinodepth.types import InputError

    path = target(depth, out, ".ply")
    if path.suffix.lower() != ".ply":
        raise InputError(f"{path} is no .ply; expected a point cloud file; choose another --out")
    frames = sources(depth, data, recorded, stride, format, quantity, scale, png_divisor)
    cloud = Cloud(voxel)
    with progress("fuse", len(frames)) as follow:
        for view in follow(views(frames, Filters(max_depth, not edges, consistency, dark_border), convention)):
            cloud.add(view)
    points, colors = cloud.points(min_views)
    if not len(points):
        raise InputError(
            f"no point is left of {len(frames)} frames; expected depth that neighbours confirm; give a larger "
            "--max-depth or --consistency, or check the poses"
        )
    write_points(path, points.numpy(), colors.numpy(), f"unit=m voxel={voxel:g} frames={len(frames)}")
    print(f"{len(points):,} points of {len(frames)} frames: {path}")
    return 0
