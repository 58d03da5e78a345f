"""Camera: what happens to the picture happens to the camera. Sequence and Clip: what they carry."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from kinodepth.geometry.camera import back_project, pixel_grid, project
from kinodepth.geometry.sampling import resize
from kinodepth.types import Camera, Clip, InputError, Prediction, Record, Sequence

CAMERA = Camera(60.0, 55.0, 31.2, 20.7, 64, 48)
small = st.integers(0, 20)
operations = st.one_of(
    st.tuples(st.just("resize"), st.integers(8, 200), st.integers(8, 200)),
    st.tuples(st.just("crop"), st.floats(0, 0.4), st.floats(0, 0.4), st.floats(0.3, 0.6), st.floats(0.3, 0.6)),
    st.tuples(st.just("pad"), small, small, small, small),
    st.tuples(st.just("flip")),
)


def apply(camera: Camera, point: list[float], pixel: list[float], operation: tuple) -> tuple[Camera, list, list]:
    """One operation on camera, 3-D point and its pixel; the pixel moves as the picture's content does."""
    name, *arguments = operation
    (u, v), (x, y, z) = pixel, point
    if name == "resize":
        width, height = arguments
        moved = [(u + 0.5) * width / camera.width - 0.5, (v + 0.5) * height / camera.height - 0.5]
        return camera.resize(width, height), point, moved
    if name == "crop":
        left, top = int(arguments[0] * camera.width), int(arguments[1] * camera.height)
        width, height = max(1, int(arguments[2] * camera.width)), max(1, int(arguments[3] * camera.height))
        return camera.crop(left, top, width, height), point, [u - left, v - top]
    if name == "pad":
        return camera.pad(*arguments), point, [u + arguments[0], v + arguments[1]]
    return camera.flip(), [-x, y, z], [camera.width - 1 - u, v]


@given(
    st.lists(operations, max_size=6),
    st.tuples(st.floats(-2, 2), st.floats(-2, 2), st.floats(0.5, 20)),
)
@settings(max_examples=100, deadline=None)
def test_a_point_stays_on_its_pixel_through_any_chain(chain, start):
    camera, point = CAMERA, list(start)
    x, y, z = point
    pixel = [camera.fx * x / z + camera.cx, camera.fy * y / z + camera.cy]
    for operation in chain:
        camera, point, pixel = apply(camera, point, pixel, operation)
    found, _ = project(
        torch.tensor(point, dtype=torch.float64)[None, :, None, None], camera.matrix(torch.float64)[None]
    )
    assert found.flatten().tolist() == pytest.approx(pixel, abs=1e-6)


@given(st.lists(operations, max_size=6))
@settings(max_examples=50, deadline=None)
def test_project_undoes_back_project_for_any_camera(chain):
    camera = CAMERA
    for operation in chain:
        camera, _, _ = apply(camera, [0, 0, 1], [0, 0], operation)
    height, width = min(camera.height, 50), min(camera.width, 50)
    depth = torch.rand(1, 1, height, width, generator=torch.Generator().manual_seed(0), dtype=torch.float64) + 0.5
    pixels, z = project(back_project(depth, camera.matrix(torch.float64)[None]), camera.matrix(torch.float64)[None])
    torch.testing.assert_close(pixels[0], pixel_grid(height, width, torch.float64), atol=1e-8, rtol=0)
    torch.testing.assert_close(z, depth)


def close(a: Camera, b: Camera) -> bool:
    return all(math.isclose(getattr(a, k), getattr(b, k), abs_tol=1e-9) for k in ("fx", "fy", "cx", "cy")) and (
        (a.width, a.height) == (b.width, b.height)
    )


@pytest.mark.parametrize("convention", ["exact", "published"])
def test_undoing(convention):
    assert close(CAMERA.flip(convention).flip(convention), CAMERA)
    assert close(CAMERA.resize(96, 30, convention).resize(64, 48, convention), CAMERA)
    assert close(CAMERA.pad(3, 5, 7, 11).crop(3, 5, 64, 48), CAMERA)
    assert Camera.from_matrix(CAMERA.matrix(torch.float64), 64, 48) == CAMERA


def test_published_conventions_in_numbers():
    half = CAMERA.resize(32, 24, "published")
    assert (half.cx, half.cy) == pytest.approx((15.6, 10.35))
    assert CAMERA.flip("published").cx == pytest.approx(64 - 31.2)
    assert CAMERA.resize(32, 24).cx == pytest.approx((31.2 + 0.5) / 2 - 0.5)


def test_camera_resize_is_what_sampling_resize_does():
    """Resize a picture whose value is its own x (or y): the new pixel must show the place that the camera says."""
    ramps = pixel_grid(48, 64, torch.float64)[None]
    for width, height in ((128, 96), (32, 24), (48, 72)):
        resized = resize(ramps, (height, width))
        new = pixel_grid(height, width, torch.float64)
        camera = CAMERA.resize(width, height)
        expected_x = (new[0] - camera.cx) / camera.fx * CAMERA.fx + CAMERA.cx
        expected_y = (new[1] - camera.cy) / camera.fy * CAMERA.fy + CAMERA.cy
        inner = (slice(2, -2), slice(2, -2))
        torch.testing.assert_close(resized[0, 0][inner], expected_x[inner])
        torch.testing.assert_close(resized[0, 1][inner], expected_y[inner])


def test_field_of_view():
    assert Camera(50.0, 25.0, 49.5, 49.5, 100, 100).field_of_view == pytest.approx(
        (90.0, 2 * math.degrees(math.atan(2)))
    )


@pytest.mark.parametrize("bad", [{"fx": 0.0}, {"fy": -1.0}, {"cx": math.nan}, {"fx": math.inf}, {"width": 0}])
def test_cameras_that_cannot_be_are_refused(bad):
    values = {"fx": 1.0, "fy": 1.0, "cx": 0.0, "cy": 0.0, "width": 4, "height": 4} | bad
    with pytest.raises(InputError, match="expected"):
        Camera(**values)


def test_sequence_reads_lazily_and_says_what_every_frame_has():
    decoded = []

    def record(i: int, **load) -> Record:
        def image() -> torch.Tensor:
            decoded.append(i)
            return torch.full((3, 2, 2), float(i))

        return Record(f"{i}", {"image": image, **load}, timestamp=float(i))

    depth = lambda: torch.ones(1, 2, 2)  # noqa: E731
    sequence = Sequence("s", [record(0, depth=depth), record(1), record(2, **{"mask:dynamic": depth, "depth": depth})])
    assert len(sequence) == 3
    assert sequence.provides == {"image", "timestamp"}
    assert sequence.select([0, 2]).provides == {"image", "timestamp", "depth"}
    assert decoded == []
    frame = sequence.read(2)
    assert set(frame.masks) == {"dynamic"}
    assert frame.depth is not None
    assert sequence.read(2, {"depth"}).masks == {}
    assert [f.name for f in sequence.select([2, 0])] == ["2", "0"]
    assert decoded == [2, 2, 2, 0]


def test_clip_maps_every_tensor_and_knows_its_sources():
    images = torch.rand(2, 3, 3, 4, 5)
    clip = Clip(images, (CAMERA, CAMERA.flip()), target=1, depth=images[:, :, :1], masks={"dynamic": images[:, :, :1]})
    assert clip.sources == (0, 2)
    assert clip.intrinsics.shape == (2, 3, 3)
    assert clip.intrinsics[1, 0, 2] == pytest.approx(63 - 31.2)
    doubled = clip.map_tensors(lambda x: 2 * x)
    for name in ("images", "depth"):
        torch.testing.assert_close(getattr(doubled, name), 2 * getattr(clip, name))
    torch.testing.assert_close(doubled.masks["dynamic"], 2 * clip.masks["dynamic"])
    assert doubled.prior_depth is None


@pytest.mark.parametrize(("scale", "unit"), [("meters", "m"), ("metric", "")])
def test_predictions_must_say_what_they_mean(scale, unit):
    with pytest.raises(InputError, match="expected"):
        Prediction("a", torch.ones(1, 2, 2), scale, unit)
