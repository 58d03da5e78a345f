"""Point clouds and meshes of scenes whose surfaces are known."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
import trimesh

from kinodepth.geometry import tsdf
from kinodepth.geometry.tsdf import Volume
from kinodepth.inference import reconstruction
from kinodepth.inference.cloud import Cloud
from kinodepth.inference.views import Filters, Source, View, views
from kinodepth.types import Camera, InputError

CAMERA = Camera(80.0, 82.0, 47.5, 31.5, 96, 64)
RADIUS, CENTER = 0.5, np.array([0.1, -0.05, 2.0])


def pose(x, turn=0.0):
    matrix = np.eye(4)
    matrix[:3, :3] = trimesh.transformations.rotation_matrix(turn, [0, 1, 0])[:3, :3]
    matrix[0, 3] = x
    return torch.from_numpy(matrix)


def ball(cam_to_world, camera=CAMERA):
    """Depth (1 x H x W, 0 beside it) of the ball of RADIUS around CENTER."""
    x, y = np.meshgrid(np.arange(camera.width), np.arange(camera.height))
    rays = np.stack([(x - camera.cx) / camera.fx, (y - camera.cy) / camera.fy, np.ones(x.shape)], -1)
    world = cam_to_world.numpy()
    c = (CENTER - world[:3, 3]) @ world[:3, :3]
    a, b = (rays**2).sum(-1), rays @ c
    root = b**2 - a * (c @ c - RADIUS**2)
    depth = np.where(root > 0, (b - np.sqrt(np.maximum(root, 0))) / a, 0)
    return torch.from_numpy(depth.astype(np.float32))[None]


def posed_balls(count=6):
    """Views of the ball, red on the left half of the world and blue on the right."""
    for index in range(count):
        matrix = pose(-0.5 + index / (count - 1), 0.25 - 0.5 * index / (count - 1))
        depth = ball(matrix)
        x = torch.arange(CAMERA.width).expand(CAMERA.height, -1)
        world_x = ((x - CAMERA.cx) / CAMERA.fx * depth[0]) * matrix[0, 0] + depth[0] * matrix[0, 2] + matrix[0, 3]
        right = (world_x > CENTER[0]).float()
        yield View(str(index), depth, CAMERA, matrix, torch.stack([1 - right, 0 * right, right]))


def test_mesh_lies_on_the_ball_and_faces_the_cameras():
    voxel = 0.03
    volume = reconstruction.fuse(lambda: posed_balls(), voxel)
    mesh = reconstruction.surface(volume, min_views=2)
    out = mesh.vertices - CENTER
    distance = np.linalg.norm(out, axis=1)
    seen = mesh.vertices[:, 2] < CENTER[2] - 0.5 * RADIUS  # the sides are seen at a slant
    assert seen.sum() > 300
    assert np.abs(distance[seen] - RADIUS).max() < 0.5 * voxel
    normals = (mesh.vertex_normals * out / distance[:, None]).sum(1)[seen]
    assert np.quantile(normals, 0.02) > 0.9
    colors = mesh.visual.vertex_colors[seen]
    side = out[seen, 0]
    assert (colors[side < -2 * voxel][:, :3] == [255, 0, 0]).mean() > 0.98
    assert (colors[side > 2 * voxel][:, :3] == [0, 0, 255]).mean() > 0.98


def test_published_mesh_closes_what_nobody_saw():
    """Voxels never seen count as free there, so a second surface lies a truncation behind each."""
    deepest = {}
    for convention in ("exact", "published"):
        mesh = reconstruction.surface(reconstruction.fuse(lambda: posed_balls(), 0.03, convention=convention))
        distance = np.linalg.norm(mesh.vertices - CENTER, axis=1)
        deepest[convention] = RADIUS - distance.min()
        assert (np.abs(distance - RADIUS) < 0.015).mean() > (0.9 if convention == "exact" else 0.4)
    assert deepest["exact"] < 0.03
    assert deepest["published"] == pytest.approx(0.15, abs=0.03)


def test_mesh_has_no_seams_between_its_regions():
    volume = reconstruction.fuse(lambda: posed_balls(), 0.01)
    assert len(list(volume.regions())) > 1
    mesh = reconstruction.surface(volume, min_views=2, min_triangles=100)
    inner = np.linalg.norm(mesh.vertices[:, :2] - CENTER[:2], axis=1) < 0.5 * RADIUS
    edges = trimesh.grouping.group_rows(mesh.edges_sorted, require_count=1)
    assert not inner[np.unique(mesh.edges_sorted[edges])].any()  # no open edge but at the rim
    assert len(edges)


def test_blocks_hold_what_one_full_box_holds():
    """Where there is room, the sparse volume is the dense one."""
    sparse, dense = Volume(0.04), Volume(0.04, torch.full((3,), -0.96))
    for view in posed_balls():
        sparse.allocate(view.depth, view.camera, view.cam_to_world)
    start, size = torch.tensor([-24, -24, -24]), torch.tensor([48, 48, 96])
    dense.allocate_box(size)
    for view in posed_balls():
        for volume in (sparse, dense):
            volume.integrate(view.depth, view.camera, view.cam_to_world, view.image)
    ours, full = sparse.region(start, size), dense.region(torch.zeros(3, dtype=torch.long), size)
    room = ours.weight > 0
    assert len(sparse.blocks) < len(dense.blocks) / 2
    torch.testing.assert_close(ours.weight[room], full.weight[room])
    torch.testing.assert_close(ours.distance[room], full.distance[room], atol=1e-4, rtol=0)
    torch.testing.assert_close(ours.color[room], full.color[room], atol=1e-2, rtol=0)
    near = (full.weight > 0) & (full.distance.abs() < 0.5)  # all that a surface is made of has room
    assert room[near].all()


def test_memory_follows_the_surface_and_not_the_frames():
    few, many = Volume(0.03), Volume(0.03)
    for volume, rounds in ((few, 1), (many, 10)):
        for _ in range(rounds):
            for view in posed_balls():
                volume.allocate(view.depth, view.camera, view.cam_to_world)
                volume.integrate(view.depth, view.camera, view.cam_to_world)
    assert many.bytes == few.bytes
    clouds = [Cloud(0.02), Cloud(0.02)]
    for cloud, rounds in zip(clouds, (1, 10)):
        for _ in range(rounds):
            for view in posed_balls():
                cloud.add(view)
    (once, _), (often, _) = (cloud.points() for cloud in clouds)
    torch.testing.assert_close(once, often)


def test_cloud_is_thin_coloured_and_on_the_ball():
    cloud = Cloud(0.02)
    for view in posed_balls():
        cloud.add(view)
    points, colors = cloud.points()
    assert np.abs(np.linalg.norm(points.numpy() - CENTER, axis=1) - RADIUS).max() < 0.01
    assert len(torch.unique(torch.floor(points / 0.02), dim=0)) == len(points)
    right = points[:, 0] > CENTER[0] + 0.02
    assert (colors[right] == torch.tensor([0, 0, 255], dtype=torch.uint8)).all()
    assert len(cloud.points(min_views=3)[0]) < len(points)
    with pytest.raises(InputError, match="voxel of 0 thins nothing"):
        Cloud(0)


def sources(depths, image=None, camera=CAMERA):
    picture = torch.full((3, 64, 96), 0.5) if image is None else image
    return [Source(str(i), lambda d=d: d, lambda: picture, camera, pose(0.05 * i)) for i, d in enumerate(depths)]


def test_depth_that_no_neighbour_confirms_is_left_out():
    wall = torch.full((1, 64, 96), 2.0)
    wrong = wall.clone()
    wrong[:, 20:30, 40:60] = 1.2
    found = list(views(sources([wall, wrong, wall]), Filters(edges=False)))
    assert [view.name for view in found] == ["0", "1", "2"]
    assert (found[1].depth[:, 20:30, 40:60] == 0).all()
    kept = found[1].depth > 0
    assert kept.float().mean() > 0.9
    assert torch.equal(found[1].depth[kept], wrong[kept])
    everything = list(views(sources([wall, wrong, wall]), Filters(edges=False, consistency=0)))
    assert torch.equal(everything[1].depth, wrong)


def test_cap_edges_and_dark_border():
    depth = torch.full((1, 64, 96), 2.0)
    depth[..., 48:] = 4.0
    depth[:, :5] = 6.0
    depth[:, 60] = torch.nan
    [view] = views(sources([depth]), Filters(edges=False, consistency=0))
    assert (view.depth[:, :5] == 0).all()
    assert (view.depth[:, 60] == 0).all()
    assert (view.depth[:, 5:60] > 0).all()
    [view] = views(sources([depth]), Filters(consistency=0))
    assert (view.depth[:, 20:40, 47:49] == 0).all()  # between the two walls
    assert (view.depth[:, 20:40, :40] > 0).all()
    dark = torch.full((3, 64, 96), 0.5)
    dark[..., :4], dark[..., 30:34] = 0, 0
    [view] = views(sources([depth], dark), Filters(edges=False, consistency=0, dark_border=True))
    assert (view.depth[..., :4] == 0).all()
    assert (view.depth[:, 20:40, 30:34] > 0).all()


def test_published_scales_the_camera_without_the_half_pixel():
    small = torch.full((1, 32, 48), 2.0)
    [exact] = views(sources([small]), Filters(edges=False, consistency=0))
    [published] = views(sources([small]), Filters(edges=False, consistency=0), "published")
    assert exact.camera.cx == (47.5 + 0.5) / 2 - 0.5
    assert published.camera.cx == 47.5 / 2
    assert exact.image.shape == published.image.shape == (3, 32, 48)


def test_what_cannot_be_fused_is_one_sentence(monkeypatch):
    view = next(posed_balls())
    empty = replace(view, depth=0 * view.depth)
    with pytest.raises(InputError, match="no depth is left to fuse"):
        reconstruction.fuse(lambda: [empty])
    with pytest.raises(InputError, match="voxels of 0 with a truncation of 5"):
        Volume(0)
    far = replace(view, cam_to_world=pose(1e9))
    with pytest.raises(InputError, match="more than a million blocks"):
        reconstruction.fuse(lambda: [far])
    monkeypatch.setattr(tsdf, "MEMORY", 1000)
    for convention in ("exact", "published"):
        with pytest.raises(InputError, match=r"voxels of 0.025 would take"):
            reconstruction.fuse(lambda: [view], convention=convention)


def test_files_hold_the_mesh(tmp_path):
    mesh = reconstruction.surface(reconstruction.fuse(lambda: posed_balls(), 0.05))
    up = reconstruction.upwards(view.cam_to_world for view in posed_balls())
    np.testing.assert_allclose(up, [0, -1, 0], atol=1e-9)
    for name in ("a.ply", "a.glb"):
        reconstruction.write_mesh(tmp_path / name, mesh, up, "unit=m voxel=0.05")
    ply = trimesh.load(tmp_path / "a.ply", process=False)
    np.testing.assert_allclose(ply.vertices, mesh.vertices, atol=1e-6)
    assert (ply.visual.vertex_colors == mesh.visual.vertex_colors).all()
    assert b"comment unit=m voxel=0.05" in (tmp_path / "a.ply").read_bytes()[:300]
    glb = trimesh.load(tmp_path / "a.glb", process=False).to_mesh()
    np.testing.assert_allclose(glb.vertices[:, 1], -mesh.vertices[:, 1], atol=1e-5)  # y down has become y up
    with pytest.raises(InputError, match=r"ends in .obj; expected .ply or .glb"):
        reconstruction.write_mesh(tmp_path / "a.obj", mesh, up, "")
