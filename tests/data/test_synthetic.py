"""Synthetic recordings against float64 projections, analytic scenes and each other."""

from __future__ import annotations

import json
import pickle
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.ndimage import map_coordinates

from kinodepth.cli.main import main
from kinodepth.data import open_sequence, synthetic
from kinodepth.data.synthetic import MOTIONS, PLACES, Scene, World, solids
from kinodepth.data.synthetic.mesh import PERIOD, Light, build_mesh
from kinodepth.data.synthetic.render import _trace
from kinodepth.data.synthetic.textures import KINDS, SIZE, Atlas, fractal
from kinodepth.types import Camera, Frame, InputError

SMALL = {"frames": 8, "width": 192, "height": 144}


@cache
def pair(kind: str, motion: str, seed: int = 1, number: int = 3, **settings: float) -> tuple[Frame, Frame]:
    world = synthetic.make_world(Scene(seed, kind, motion=motion, **SMALL, **settings))
    return synthetic.render_frame(world, number), synthetic.render_frame(world, number + 1)


def array(tensor) -> np.ndarray:
    return tensor.double().numpy()


def moved(frame: Frame, later: Frame) -> tuple[np.ndarray, np.ndarray]:
    """Pixels (x, y) and depths in the next frame, in float64, from depth, poses and object motion alone."""
    camera, z = frame.camera, array(frame.depth[0])
    y, x = np.mgrid[: camera.height, : camera.width].astype(float)
    points = np.stack([(x - camera.cx) / camera.fx * z, (y - camera.cy) / camera.fy * z, z])
    later_from_now = np.linalg.inv(array(later.cam_to_world)) @ array(frame.cam_to_world)
    there = np.einsum("ij,jhw->ihw", later_from_now[:3, :3], points) + later_from_now[:3, 3, None, None]
    there += array(frame.extra["object_motion"])
    z_there = np.where(z > 0, there[2], 1)
    return np.stack([camera.fx * there[0] / z_there + camera.cx, camera.fy * there[1] / z_there + camera.cy]), z_there


def visible(frame: Frame, later: Frame, pixels: np.ndarray, z: np.ndarray) -> np.ndarray:
    """Pixels that have depth, stay inside and meet in the next frame a surface (linear in 1 / z) of their depth."""
    depth, camera = array(later.depth[0]), frame.camera
    inverse = np.where(depth > 0, 1 / np.maximum(depth, 1e-6), 0)
    met = map_coordinates(inverse, pixels[::-1], order=1, mode="nearest") * z
    inside = (pixels >= 0).all(0) & (pixels[0] <= camera.width - 1) & (pixels[1] <= camera.height - 1)
    return array(frame.depth[0] > 0).astype(bool) & inside & (np.abs(met - 1) < 0.01)


@pytest.mark.parametrize("motion", ["handheld", "walking", "driving"])
@pytest.mark.parametrize("kind", PLACES)
def test_warping_the_next_frame_reproduces_this_one(kind: str, motion: str) -> None:
    frame, later = pair(kind, motion)
    pixels, z = moved(frame, later)
    seen = visible(frame, later, pixels, z)
    warped = np.stack([map_coordinates(array(c), pixels[::-1], order=1, mode="nearest") for c in later.image])
    error = np.abs(warped - array(frame.image)).mean(0)
    unwarped = np.abs(array(later.image - frame.image)).mean(0)
    dynamic = frame.masks["dynamic"][0].numpy()
    assert seen.mean() > 0.3
    assert (seen & dynamic).sum() > 30
    for region in (seen & ~dynamic, seen & dynamic):
        assert np.median(error[region]) < 0.012
        assert error[region].mean() < 0.025
    assert error[seen].mean() < 0.8 * unwarped[seen].mean()


@pytest.mark.parametrize("motion", MOTIONS)
@pytest.mark.parametrize("kind", PLACES)
def test_flow_is_the_projection_of_depth_poses_and_object_motion(kind: str, motion: str) -> None:
    frame, later = pair(kind, motion)
    pixels, z = moved(frame, later)
    y, x = np.mgrid[: SMALL["height"], : SMALL["width"]]
    measured = (frame.depth[0] > 0).numpy() & (z > 0.1)
    error = np.abs(pixels - np.stack([x, y]) - array(frame.extra["optical_flow"]))[:, measured]
    assert error.max() < 1e-3
    # a ray through where a point will be meets that very point, or something nearer that hides it
    world = synthetic.make_world(Scene(1, kind, motion=motion, **SMALL))
    pose = array(later.cam_to_world)
    there = [(k, m, np.linalg.inv(pose) @ m.path(later.timestamp)) for k, m in enumerate(world.movers)]
    inside = measured & (pixels >= 0).all(0) & (pixels[0] <= SMALL["width"] - 1) & (pixels[1] <= SMALL["height"] - 1)
    met = _trace(world, pose, there, *pixels[:, inside].astype(np.float32)).depth / z[inside]
    moves = frame.masks["dynamic"][0].numpy()[inside]
    for region in (met[~moves], met[moves]):
        if len(region):
            assert (np.abs(region - 1) < 1e-4).mean() > 0.8
            assert (region > 1 + 1e-4).mean() < 0.02  # only where float32 rounding slips past an outline


def test_masks_say_what_moves() -> None:
    for kind in PLACES:
        frame, _ = pair(kind, "handheld")
        dynamic, static = frame.masks["dynamic"], frame.masks["static"]
        moves = frame.extra["object_motion"].norm(dim=0, keepdim=True) > 0
        assert bool((dynamic ^ static).all())
        assert bool((moves <= dynamic).all())
        assert bool((dynamic <= frame.masks["movable"]).all())
        assert bool((frame.masks["instances"][frame.masks["movable"]] > 0).all())
        assert 0 < dynamic.float().mean() < 0.7
        assert frame.image.min() >= 0
        assert frame.image.max() <= 1


def test_a_room_is_closed_and_a_street_has_sky_without_depth() -> None:
    assert bool((pair("room", "handheld")[0].depth > 0).all())
    street = pair("street", "driving")[0]
    sky = street.depth == 0
    assert 0.02 < sky.float().mean() < 0.8
    assert not sky[:, -1].any()
    assert bool((street.extra["object_motion"] * sky == 0).all())


def test_a_static_camera_stands_and_a_rotating_one_only_turns() -> None:
    for kind in PLACES:
        frame, later = pair(kind, "static")
        assert array(frame.cam_to_world - later.cam_to_world).any() == np.False_
        still = frame.masks["static"][0]
        assert frame.extra["optical_flow"][:, still].abs().max() < 1e-4
        frame, later = pair(kind, "rotation")
        step = np.linalg.inv(array(frame.cam_to_world)) @ array(later.cam_to_world)
        assert np.abs(step[:3, 3]).max() < 1e-12
        assert np.degrees(np.arccos((np.trace(step[:3, :3]) - 1) / 2)) > 0.1


@pytest.mark.parametrize(
    ("kind", "motion", "name"), [("street", "driving", "car ahead"), ("room", "walking", "companion")]
)
def test_what_moves_with_the_camera_stays_in_the_picture(kind: str, motion: str, name: str) -> None:
    world = synthetic.make_world(Scene(2, kind, motion=motion, shake=0.0, **SMALL))
    frame = synthetic.render_frame(world, 3)
    mine = (frame.masks["instances"] == world.names.index(name))[0]
    assert mine.sum() > 20
    assert bool(frame.masks["dynamic"][0][mine].all())
    assert frame.extra["object_motion"][:, mine].norm(dim=0).min() > 0.01
    assert frame.extra["optical_flow"][:, mine].abs().max() < 0.01
    assert frame.extra["optical_flow"][:, ~mine].abs().max() > 1


def test_without_movers_nothing_is_dynamic() -> None:
    frame, _ = pair("room", "handheld", movers=False)
    assert not frame.masks["dynamic"].any()
    assert not frame.extra["object_motion"].any()


def test_depth_of_known_walls_and_of_a_ball_is_the_analytic_one() -> None:
    """A camera in a box 4 x 3 x 6 m with a block in it, and a lathed ball, against formulas."""
    width, height = 64, 48
    camera = Camera(50.0, 50.0, 31.5, 23.5, width, height)
    room = solids.block(0, 1.5, 0, 4, 3, 6, "plaster")
    obstacle = solids.block(0.5, 1.5, 2, 0.4, 1.0, 0.4, "wood")
    tiles = {"plaster": 0, "wood": 1}
    mesh = build_mesh(solids.join(room, obstacle), tiles, Light(1.0))
    scene = Scene(frames=1, width=width, height=height)
    atlas = Atlas([KINDS[name].draw(np.random.default_rng(0)) for name in tiles])
    tables = mesh.table.T.copy(), np.zeros_like(mesh.index.T), mesh.light
    world = World(scene, camera, lambda t: np.eye(4), mesh.scene, (), ("",), np.zeros(1, bool), *tables, atlas, 0)
    depth = synthetic.render_frame(world, 0).depth[0].numpy()
    y, x = (np.mgrid[:height, :width] - np.array([23.5, 31.5])[:, None, None]) / 50.0
    walls = np.minimum(np.minimum(2 / np.abs(x), 1.5 / np.abs(y)), 3.0)
    front = (np.abs(1.8 * x - 0.5) < 0.2) & (np.abs(1.8 * y - 1.0) < 0.5)
    clear = ~((x > 0.1) & (x < 0.45) & (y > 0.1))  # no side or top of the block here
    assert front.sum() > 50
    np.testing.assert_allclose(depth[front], 1.8, rtol=1e-5)
    np.testing.assert_allclose(depth[clear], walls[clear], rtol=1e-5)
    ball = solids.ellipsoid(0.5, 1.0, 0.5, "plaster", 64, 48)
    radii = np.linalg.norm(ball.corners, axis=-1)
    np.testing.assert_allclose(radii, 0.5, atol=1e-9)
    np.testing.assert_allclose(ball.normals, ball.corners / 0.5, atol=0.06)


def test_the_same_seed_gives_the_same_bytes_and_another_seed_another_world() -> None:
    scene = Scene(5, "room", **SMALL)
    first = synthetic.render_frame(synthetic.make_world(scene), 2)
    synthetic.make_world.cache_clear()
    second = synthetic.render_frame(synthetic.make_world(scene), 2)
    for a, b in (
        (first.image, second.image),
        (first.depth, second.depth),
        *zip(first.extra.values(), second.extra.values()),
    ):
        assert a.numpy().tobytes() == b.numpy().tobytes()
    other = synthetic.render_frame(synthetic.make_world(Scene(6, "room", **SMALL)), 2)
    assert (first.image - other.image).abs().mean() > 0.02
    assert first.camera != other.camera


def test_a_sequence_reads_lazily_and_travels_to_other_processes() -> None:
    recording = synthetic.sequence(3, "room", frames=4, width=96, height=64)
    assert len(recording) == 4
    assert recording.provides >= {
        "image",
        "depth",
        "camera",
        "cam_to_world",
        "timestamp",
        "mask:dynamic",
        "extra:optical_flow",
    }
    frame = recording.read(2, {"depth"})
    assert frame.image.shape == (3, 64, 96)
    assert frame.depth is not None
    assert not frame.masks
    copy = pickle.loads(pickle.dumps(recording)).read(2, {"depth"})
    assert bool((copy.image == frame.image).all())
    frame.depth.zero_()
    assert bool((recording.read(2, {"depth"}).depth > 0).all())


def test_camera_effects_change_images_only_when_asked_for() -> None:
    plain, _ = pair("room", "handheld")
    spoilt, _ = pair("room", "handheld", noise=0.02, exposure=0.2, blur=0.5)
    assert bool((plain.depth == spoilt.depth).all())
    assert (plain.image - spoilt.image).abs().mean() > 0.01


@pytest.mark.parametrize("name", sorted(KINDS))
def test_textures_tile_and_have_detail_at_every_scale(name: str) -> None:
    """No seam; and every octave of the pyramid adds contrast."""
    tile = np.clip(KINDS[name].draw(np.random.default_rng(4)), 0, 1)
    assert tile.shape == (SIZE, SIZE, 3)
    grey = tile.mean(-1)
    for axis in (0, 1):
        seam = np.abs(np.take(grey, 0, axis) - np.take(grey, -1, axis)).mean()
        inside = np.abs(np.diff(grey, axis=axis)).mean(1 - axis)
        assert seam <= inside.max() * 1.05
    while len(grey) > 4:
        half = (grey[::2, ::2] + grey[1::2, ::2] + grey[::2, 1::2] + grey[1::2, 1::2]) / 4
        assert np.std(grey - half.repeat(2, 0).repeat(2, 1)) > 2e-4
        grey = half


def test_the_atlas_interpolates_like_the_textbook() -> None:
    tile = np.clip(0.5 + 0.2 * np.stack([fractal(np.random.default_rng(k)) for k in range(3)], -1), 0, 1)
    rng = np.random.default_rng(0)
    uv = rng.uniform(-SIZE, 2 * SIZE, (2, 500)).astype(np.float32)
    got = Atlas([tile]).sample(np.zeros(500, np.int32), uv, np.zeros(500, np.float32))
    bytes_ = np.rint(tile * 255) / 255
    want = [map_coordinates(bytes_[..., c], uv[::-1].astype(float) - 0.5, order=1, mode="grid-wrap") for c in range(3)]
    np.testing.assert_allclose(got, np.stack(want), atol=2e-3)


def test_unusable_settings_are_told_in_one_sentence() -> None:
    for settings in (
        {"kind": "moon"},
        {"motion": "flying"},
        {"frames": 0},
        {"width": 2},
        {"fps": -1.0},
        {"fov": 200.0},
    ):
        with pytest.raises(InputError, match="expected"):
            Scene(**settings)


def test_what_is_written_is_read_back_exactly(tmp_path: Path) -> None:
    """Images to a step of 8 bits, depth to a step of the divisor, everything else exactly; again the same bytes."""
    command = ["synth", str(tmp_path / "clip"), "--kind", "street", "--seed", "3", "--frames", "3", "--size", "96x64"]
    assert main(command) == 0
    scene = Scene(3, "street", 3, 96, 64)
    recording = open_sequence(tmp_path / "clip")
    assert len(recording) == 3
    for index, want in enumerate(synthetic.render(synthetic.make_world(scene))):
        got = recording.read(index)
        assert (got.name, got.timestamp, got.camera) == (want.name, want.timestamp, want.camera)
        assert bool((got.cam_to_world == want.cam_to_world).all())
        assert (got.image - want.image).abs().max() <= 0.5 / 255 + 1e-6
        assert (got.depth - want.depth).abs().max() <= 0.5 / 256 + 1e-4
        assert set(got.masks) == set(want.masks)
        assert all(bool((got.masks[k] == want.masks[k]).all()) for k in want.masks)
        assert bool((got.extra["exact_depth"] == want.depth).all())
        assert all(bool((got.extra[k] == want.extra[k]).all()) for k in want.extra)
    assert json.loads((tmp_path / "clip" / "sequence.json").read_text())["scene"]["seed"] == 3
    before = {p: p.read_bytes() for p in (tmp_path / "clip").rglob("*") if p.is_file()}
    assert main(command) == 0
    assert before == {p: p.read_bytes() for p in (tmp_path / "clip").rglob("*") if p.is_file()}


def test_a_folder_with_something_else_in_it_is_left_alone(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "mine.txt").write_text("keep")
    assert main(["synth", str(tmp_path), "--frames", "1", "--size", "32x32"]) == 2
    assert "not empty" in capsys.readouterr().err
    assert [p.name for p in tmp_path.iterdir()] == ["mine.txt"]


def test_several_clips_are_several_recordings(tmp_path: Path) -> None:
    assert main(["synth", str(tmp_path), "--clips", "2", "--frames", "1", "--size", "32x32", "--extra", "false"]) == 0
    assert sorted(p.name for p in tmp_path.iterdir()) == ["room_0000", "room_0001"]
    assert main(["synth", str(tmp_path / "x"), "--size", "32"]) == 2
    assert main(["synth", str(tmp_path / "x"), "--clips", "0"]) == 2


def test_a_long_street_repeats_without_a_seam() -> None:
    """Depth and light agree from one frame to the next where the camera passes the end of the period."""
    world = synthetic.make_world(Scene(4, "street", 120, 160, 120, fps=1.5, movers=False, shake=0.0))
    assert world.period == PERIOD
    passed = [world.path(number / 1.5)[2, 3] // PERIOD for number in range(120)]
    number = passed.index(1.0) - 1
    frame, later = synthetic.render_frame(world, number), synthetic.render_frame(world, number + 1)
    pixels, z = moved(frame, later)
    seen = visible(frame, later, pixels, z)
    warped = np.stack([map_coordinates(array(c), pixels[::-1], order=1, mode="nearest") for c in later.image])
    far = seen & (z > 10)  # near the camera a step of metres changes what the texture filter keeps
    assert far.mean() > 0.1
    assert np.median(np.abs(warped - array(frame.image)).mean(0)[far]) < 0.03


def test_a_dolls_house_looks_the_same_and_is_smaller():
    settings = {"seed": 3, "width": 64, "height": 48, "frames": 2}
    large, small = (synthetic.sequence(**settings, scale=scale) for scale in (1.0, 0.25))
    for a, b in zip(large.frames(("depth", "extra")), small.frames(("depth", "extra"))):
        assert torch.equal(a.image, b.image)
        torch.testing.assert_close(b.depth, a.depth / 4)
        torch.testing.assert_close(b.cam_to_world[:3, 3], a.cam_to_world[:3, 3] / 4)
        assert torch.equal(a.cam_to_world[:3, :3], b.cam_to_world[:3, :3])
    first, second = (s.records[1].load for s in (large, small))
    torch.testing.assert_close(second["extra:object_motion"](), first["extra:object_motion"]() / 4)
    torch.testing.assert_close(second["extra:optical_flow"](), first["extra:optical_flow"]())
    torch.testing.assert_close(small.records[1].cam_to_world[:3, 3] * 4, large.records[1].cam_to_world[:3, 3])
    with pytest.raises(InputError, match="scale 0"):
        Scene(scale=0.0)
