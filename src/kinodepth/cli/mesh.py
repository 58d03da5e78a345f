"""``kinodepth mesh``: one coloured triangle mesh of all predictions with poses."""

from __future__ import annotations

from typing import Literal

EXAMPLES = """
kinodepth mesh depth --out kitchen.glb
kinodepth mesh depth --data recording --voxel 0.025 --max-depth 5 --convention published
kinodepth mesh recording --recorded --out measured.ply
"""


def run(
    depth: str,
    out: str | None = None,
    data: str | None = None,
    recorded: bool = False,
    voxel: float = 0.025,
    max_depth: float = 5.0,
    truncation: float = 5.0,
    consistency: float | None = None,
    edges: bool = True,
    min_views: int = 2,
    min_triangles: int = 100,
    stride: int = 1,
    dark_border: bool = False,
    convention: Literal["exact", "published"] = "exact",
    device: str = "cpu",
    format: str | None = None,
    quantity: Literal["depth", "inverse_depth"] | None = None,
    scale: Literal["metric", "up_to_scale", "affine"] | None = None,
    png_divisor: float | None = None,
) -> int:
    """Fuse metric depth with poses into one coloured mesh (.ply or .glb); memory does not grow with the frames.

    Signed distances are averaged in voxels, where surfaces were seen. docs/reconstruction.md says how to choose.

    Args:
        depth: folder of predictions, ours or any npz, npy, png by frame name; with --recorded a recording
        out: .ply (coordinates of the poses) or .glb (turned upright) to write; default: the name of the input, .ply
        data: the recording with images and poses; default: what the predictions were made from
        recorded: fuse the depth recorded with the frames, instead of predictions
        voxel: distance of the voxels in metres
        max_depth: leave out what is farther from its camera, in metres
        truncation: distances count up to so many voxels from the surface
        consistency: keep depth that the frame before or after confirms within this share of it; 0 keeps all; default:
            0.05, published 0
        edges: keep depth at edges, where it may hang in the air between two surfaces
        min_views: surface only where so many frames saw it; published ignores it
        min_triangles: leave out pieces with fewer triangles; published ignores it
        stride: use every so-manyth frame
        dark_border: leave out black pixels within 10 of the border (pictures that were warped, as in ScanNet)
        convention: published fuses in one box around all views and the origin, with rounded colours and no filter
        device: cpu, cuda or cuda:N
        format: format of the recording; default: detected
        quantity: what a foreign folder holds: depth or inverse_depth
        scale: how far a foreign folder can be trusted: metric, up_to_scale or affine
        png_divisor: stored value / divisor = metres in a foreign folder of 16-bit PNG
    """
    from kinodepth.cli._views import progress, sources, target
    from kinodepth.inference import reconstruction
    from kinodepth.inference.views import Filters, views

    published = convention == "published"
    filters = Filters(
        max_depth,
        not edges,
        (0.0 if published else 0.05) if consistency is None else consistency,
        dark_border,
    )
    path = target(depth, out, ".ply")
    reconstruction.check_ready(path)
    frames = sources(depth, data, recorded, stride, format, quantity, scale, png_divisor)
    with progress("fuse", len(frames)) as follow:
        volume = reconstruction.fuse(
            lambda: follow(views(frames, filters, convention)), voxel, truncation, convention, device
        )
    mesh = reconstruction.surface(volume, min_views, 0 if published else min_triangles)
    up = reconstruction.upwards(frame.cam_to_world for frame in frames)
    reconstruction.write_mesh(path, mesh, up, f"unit=m voxel={voxel:g} frames={len(frames)} convention={convention}")
    print(
        f"{len(mesh.vertices):,} vertices, {len(mesh.faces):,} triangles of {len(frames)} frames in "
        f"{volume.bytes / 2**20:,.0f} MiB of voxels: {path}"
    )
    return 0
