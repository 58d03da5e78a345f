"""``kinodepth pointcloud`` and ``kinodepth mesh`` on a made-up room, from predictions and from recorded depth."""

from __future__ import annotations

import json

import numpy as np
import pytest
import trimesh
from scipy.spatial import cKDTree

from kinodepth.cli.main import main
from kinodepth.data import open_sequence


@pytest.fixture(scope="module")
def room(tmp_path_factory):
    folder = tmp_path_factory.mktemp("reconstruct") / "room"
    words = ["synth", folder, "--kind", "room", "--frames", 5, "--size", "96x64", "--seed", 3, "--movers", "false"]
    assert main([str(word) for word in words]) == 0
    return folder


@pytest.fixture
def predictions(room, tmp_path):
    """The true depth, as ``kinodepth predict`` leaves it; the last frame has no prediction."""
    folder = tmp_path / "depth"
    (folder / "npz").mkdir(parents=True)
    for record in open_sequence(room).records[:-1]:
        np.savez(folder / "npz" / f"{record.name}.npz", depth=record.load["depth"]()[0].numpy())
    about = {"quantity": "depth", "scale": "metric", "unit": "m", "source": str(room)}
    (folder / "prediction.json").write_text(json.dumps(about))
    return folder


def call(*words):
    return main([str(word) for word in words])


def test_predictions_and_recorded_depth_give_one_cloud(room, predictions, tmp_path, capsys):
    assert call("pointcloud", predictions, "--out", tmp_path / "a.ply", "--voxel", 0.02) == 0
    assert "points of 4 frames" in capsys.readouterr().out
    assert call("pointcloud", room, "--recorded", "--out", tmp_path / "b.ply", "--voxel", 0.02) == 0
    assert "points of 5 frames" in capsys.readouterr().out
    ours, measured = (trimesh.load(tmp_path / name) for name in ("a.ply", "b.ply"))
    apart = cKDTree(measured.vertices).query(ours.vertices)[0]
    assert np.median(apart) < 0.005
    assert 500 < len(ours.vertices) <= len(measured.vertices)


@pytest.mark.parametrize("convention", ["exact", "published"])
def test_mesh_of_predictions_lies_on_the_points(predictions, tmp_path, convention):
    out = tmp_path / "room.glb"
    assert call("mesh", predictions, "--out", tmp_path / "room.ply", "--voxel", 0.08, "--convention", convention) == 0
    assert call("mesh", predictions, "--out", out, "--voxel", 0.08, "--convention", convention) == 0
    assert call("pointcloud", predictions, "--out", tmp_path / "points.ply", "--voxel", 0.04) == 0
    mesh, points = (trimesh.load(tmp_path / name) for name in ("room.ply", "points.ply"))
    near, which = cKDTree(mesh.vertices).query(points.vertices[::5])
    off = ((points.vertices[::5] - mesh.vertices[which]) * mesh.vertex_normals[which]).sum(1)
    assert np.median(near) < 0.06  # of voxels of 0.08
    assert np.median(np.abs(off)) < 0.01
    assert len(trimesh.load(out).to_mesh().faces) == len(mesh.faces)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("pointcloud", "{depth}", "--scale", "up_to_scale"), "expected metric depth, in the unit of the poses"),
        (("mesh", "{depth}", "--out", "x.obj"), "expected .ply or .glb"),
        (("pointcloud", "{depth}", "--out", "x.glb"), "is no .ply"),
        (("pointcloud", "{depth}", "--max-depth", "0.01"), "no point is left of 4 frames"),
        (("mesh", "{depth}", "--max-depth", "0.01"), "no depth is left to fuse"),
        (("mesh", "{depth}", "--voxel", "0"), "voxels of 0"),
        (("mesh", "{depth}", "--min-views", "50"), "shows no surface"),
        (("pointcloud", "{depth}", "--stride", "0"), "--stride is 0"),
        (("pointcloud", "{images}", "--recorded"), "no frame with recorded depth, camera and pose"),
        (("pointcloud", "{depth}", "--data", "{images}"), "has a prediction by its name, a camera and a pose"),
    ],
)
def test_what_cannot_be_fused_is_one_sentence(room, predictions, tmp_path, capsys, monkeypatch, words, message):
    monkeypatch.chdir(tmp_path)
    places = {"depth": predictions, "images": room / "images"}
    assert call(*(word.format(**places) for word in words)) == 2
    assert message in capsys.readouterr().err
    assert not list(tmp_path.glob("*.ply"))
