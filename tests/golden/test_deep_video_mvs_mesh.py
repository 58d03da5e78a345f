"""Reconstruction of DeepVideoMVS against recorded numbers. Every size and value comes from the file."""

from __future__ import annotations

import torch

from golden.closeness import assert_close
from kinodepth.geometry.tsdf import Volume
from kinodepth.inference.reconstruction import View, published_box
from kinodepth.types import Camera


def views(g):
    height, width = g.depths_64.shape[-2:]
    camera = Camera.from_matrix(g.K_64, width, height)
    for index, (image, depth, pose) in enumerate(zip(g.images, g.depths_64, g.poses_64)):
        capped = torch.where(depth > float(g.max_depth), 0, depth)[None]
        yield View(str(index), capped, camera, pose, image.permute(2, 0, 1).float() / 255)


def test_published_box(golden):
    g = golden("deep_video_mvs/tsdf.npz")
    origin, size = published_box(views(g), float(g.voxel_size))
    assert_close(origin, g.volume_origin, rtol=1e-6, atol=1e-6)
    assert size.tolist() == g.volume_dim.tolist()
    low, high = g.frustum_bounds_64.T
    assert_close(origin, 1.05 * low, rtol=1e-9, atol=1e-12)
    assert_close(size, torch.ceil(1.05 * (high - low) / g.voxel_size))


def test_published_fusion(golden):
    g = golden("deep_video_mvs/tsdf.npz")
    volume = Volume(float(g.voxel_size), g.volume_origin, convention="published")
    volume.allocate_box(g.volume_dim)
    for view in views(g):
        volume.integrate(view.depth, view.camera, view.cam_to_world, view.image)
    found = volume.region(torch.zeros(3, dtype=torch.long), g.volume_dim)
    packed = g.color.long()
    expected = torch.stack((packed % 256, packed // 256 % 256, packed // 65536), -1)  # red is the lowest byte
    everywhere, seen = torch.ones_like(g.weight, dtype=torch.bool), g.weight > 0
    assert seen.any()
    for voxels in (everywhere, seen):  # few voxels of the box are seen, so they are asked by themselves too
        assert_close(found.distance[voxels], g.tsdf[voxels], atol=1e-4, share=0.999)
        assert_close(found.weight[voxels], g.weight[voxels], atol=1e-4, share=0.999)
        assert_close(found.color[voxels], expected[voxels], atol=1.0, share=0.999)
