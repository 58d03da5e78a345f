"""Each foreign layout on a tiny folder of its true shape, written here."""

from __future__ import annotations

import io
import struct
import zlib

import numpy as np
import pytest
import torch
from PIL import Image
from scipy import sparse
from scipy.spatial.transform import Rotation

from kinodepth import data
from kinodepth.data.selection import training_frames
from kinodepth.types import InputError


def save(path, values):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(values).save(path)


def picture(path, number, size=(64, 48)):
    save(path, np.full((size[1], size[0], 3), number, np.uint8))


def text(path, *lines):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(lines) + "\n")


def row(matrix):
    return " ".join(repr(float(v)) for v in np.asarray(matrix).ravel())


def pose(x=0.0, angle=0.0):
    matrix = np.eye(4)
    matrix[:3, :3] = Rotation.from_euler("y", angle).as_matrix()
    matrix[0, 3] = x
    return matrix


def test_seven_scenes(tmp_path):
    folder = tmp_path / "seq-01"
    for i in range(3):
        picture(folder / f"frame-{i:06d}.color.png", 10 * i, (640, 480))
        depth = np.full((480, 640), 1500, np.uint16)
        depth[0] = 65535
        save(folder / f"frame-{i:06d}.depth.png", depth)
        text(folder / f"frame-{i:06d}.pose.txt", *(row(r) for r in pose(0.1 * i)))
    sequence = data.open_sequence(tmp_path)
    frame = sequence.read(1)
    assert (sequence.name, len(sequence), frame.name) == ("seq-01", 3, "frame-000001")
    assert frame.camera.fx == 585
    assert frame.depth[0, 0].max() == 0
    assert frame.depth[0, 1:].unique().tolist() == [1.5]
    torch.testing.assert_close(frame.cam_to_world, torch.from_numpy(pose(0.1)))


def test_tum_joins_by_time_and_interpolates_poses(tmp_path):
    folder = tmp_path / "rgbd_dataset_freiburg1_toy"
    for i, time in enumerate((1.0, 1.1, 1.2)):
        picture(folder / "rgb" / f"{time:.6f}.png", i, (640, 480))
        save(folder / "depth" / f"{time + 0.01:.6f}.png", np.full((480, 640), 5000, np.uint16))
    text(folder / "rgb.txt", "# time file", *(f"{t:.6f} rgb/{t:.6f}.png" for t in (1.0, 1.1, 1.2)))
    text(folder / "depth.txt", *(f"{t + 0.01:.6f} depth/{t + 0.01:.6f}.png" for t in (1.0, 1.2)))
    turns = [Rotation.from_euler("y", a).as_quat() for a in (0.0, 0.4)]
    text(folder / "groundtruth.txt", f"0.9 0 0 0 {row(turns[0])}", f"1.3 4 0 0 {row(turns[1])}")
    sequence = data.open_sequence(folder)
    assert sequence.records[0].camera.fx == 517.306408
    assert ["depth" in r.load for r in sequence.records] == [True, False, True]
    frame = sequence.read(0)
    assert frame.depth.unique().tolist() == [1.0]
    torch.testing.assert_close(frame.cam_to_world, torch.from_numpy(pose(1.0, 0.1)))


def test_kitti_odometry_moves_poses_to_camera_2(tmp_path):
    folder = tmp_path / "sequences" / "04"
    for i in range(3):
        picture(folder / "image_2" / f"{i:06d}.png", i)
    p2 = np.array([[60.0, 0, 32, 6], [0, 60, 24, 0], [0, 0, 1, 0]])
    text(folder / "calib.txt", f"P0: {row(p2)}", f"P2: {row(p2)}")
    text(folder / "times.txt", "0", "0.1", "0.2")
    text(tmp_path / "poses" / "04.txt", *(row(pose(0.0, 0.1 * i)[:3]) for i in range(3)))
    sequence = data.open_sequence(tmp_path)
    offset = np.eye(4)
    offset[0, 3] = 0.1  # 6 / 60
    expected = offset @ pose(0.0, 0.2) @ np.linalg.inv(offset)
    torch.testing.assert_close(sequence.records[2].cam_to_world, torch.from_numpy(expected))
    assert sequence.records[1].timestamp == 0.1
    text(tmp_path / "poses" / "04.txt", row(pose()[:3]))
    with pytest.raises(InputError, match="1 poses for 3 images"):
        data.open_sequence(tmp_path)


def kitti_raw(tmp_path):
    date = tmp_path / "2011_09_26"
    drive = date / "2011_09_26_drive_0001_sync"
    identity = row(np.eye(3))
    projection = np.array([[40.0, 0, 32, 0], [0, 40, 24, 0], [0, 0, 1, 0]])
    text(date / "calib_cam_to_cam.txt", "calib_time: now", f"R_rect_00: {identity}", f"P_rect_02: {row(projection)}")
    axes = np.array([[0, -1, 0], [0, 0, -1], [1, 0, 0]])  # LiDAR x forward, y left, z up
    text(date / "calib_velo_to_cam.txt", f"R: {row(axes)}", "T: 0 0 0")
    text(date / "calib_imu_to_velo.txt", f"R: {identity}", "T: 0 0 0")
    for i in (0, 1, 3):  # frame 2 is lost
        picture(drive / "image_02" / "data" / f"{i:010d}.png", i)
        text(
            drive / "oxts" / "data" / f"{i:010d}.txt",
            f"49.0 8.0 100 0 0 0 {' 0' * 24}".replace("49.0", f"{49 + i * 1e-5}"),
        )
    text(drive / "image_02" / "timestamps.txt", *(f"2011-09-26 13:02:25.{i}00000000" for i in range(4)))
    (drive / "velodyne_points" / "data").mkdir(parents=True)
    # two returns on one pixel (the nearer counts), one behind
    points = np.array([[10, 0, 0, 0], [5, 0, 0, 0], [-3, 0, 0, 0]], np.float32)
    points.tofile(drive / "velodyne_points" / "data" / "0000000000.bin")
    return tmp_path, drive


def test_kitti_raw(tmp_path):
    root, drive = kitti_raw(tmp_path)
    sequence = data.open_sequence(root)
    assert [r.name for r in sequence.records] == ["0000000000", "0000000001", "0000000003"]
    times = [r.timestamp for r in sequence.records]
    assert np.allclose(np.diff(times), [0.1, 0.2], atol=1e-6)
    depth = sequence.read(0).depth
    assert depth[0, 23, 31] == 5  # round(24) - 1, round(32) - 1
    assert (depth > 0).sum() == 1
    # 1e-5 degrees north is 1.11 m; yaw 0 faces east, so north is to the left: minus x
    step = sequence.records[1].cam_to_world[:3, 3]
    assert step[0] == pytest.approx(-1.11, abs=0.01)
    assert step[1:].abs().max() < 1e-6
    save(drive / "proj_depth" / "groundtruth" / "image_02" / "0000000001.png", np.full((48, 64), 512, np.uint16))
    better = data.open_sequence(root)
    assert better.read(1).depth.unique().tolist() == [2.0]
    with (drive / "velodyne_points" / "data" / "0000000000.bin").open("ab") as file:
        file.write(b"cut")
    (drive / "proj_depth" / "groundtruth" / "image_02" / "0000000001.png").unlink()
    with pytest.raises(InputError, match="cut off"):
        data.open_sequence(root).read(0)


def scene(tmp_path, name="nyu"):
    root = tmp_path / name
    for place in ("a", "b"):
        folder = root / "training" / place
        for i in range(4):
            picture(folder / f"{i:04d}.jpg", i)
        text(folder / "cam.txt", "50 0 32", "0 50 24", "0 0 1")
        save(folder / "depth" / "0001.png", np.full((48, 64), 5000, np.uint16))
        save(folder / "leres_depth" / "0002.png", np.full((48, 64), 777, np.uint16))
    (root / "training" / "train.txt").write_text("a")  # no newline at the end
    (root / "training" / "val.txt").write_text("b\n")
    return root


def test_sc_depth_layout(tmp_path):
    root = scene(tmp_path)
    first, second = data.open_sequences(root)
    assert (first.name, second.name) == ("a", "b")
    assert ["depth" in r.load for r in first.records] == [False, True, False, False]  # by stem, not by position
    assert first.read(1).depth.unique().tolist() == [1.0]
    assert first.read(2).prior_depth.unique().tolist() == [777.0]
    text(root / "training" / "a" / "frame_index.txt", "0", "2", "3")
    whole = data.open_sequences(root)[0]
    assert len(whole) == 4
    assert [r.name for r in training_frames(whole).records] == ["0000", "0002", "0003"]
    text(root / "training" / "train.txt", "nowhere")
    with pytest.raises(InputError, match="nowhere"):
        data.open_sequences(root)


def test_sc_depth_testing_has_masks_by_colour(tmp_path):
    folder = tmp_path / "ddad" / "testing"
    picture(folder / "color" / "x.png", 1)
    matrix = sparse.csr_matrix(np.array([[0, 7.5], [0, 0]]))
    (folder / "depth").mkdir()
    sparse.save_npz(folder / "depth" / "x.npz", matrix)
    colors = np.zeros((2, 2, 3), np.uint8)
    colors[0, 1] = 0, 0, 142
    save(folder / "seg_mask" / "x.png", colors)
    text(folder / "seg_mask" / "dynamic_colors.txt", "0 0 142", "220 20 60")
    frame = data.open_sequence(tmp_path / "ddad").read(0)
    assert frame.depth[0].tolist() == [[0, 7.5], [0, 0]]
    assert frame.masks["dynamic"][0].tolist() == [[False, True], [False, False]]
    Image.fromarray(colors).quantize(4).save(folder / "seg_mask" / "x.png")  # the same colours by palette
    assert data.open_sequence(tmp_path / "ddad").read(0).masks["dynamic"][0].tolist() == [[False, True], [False, False]]
    text(folder / "seg_mask" / "dynamic_colors.txt", "0 0 256")
    with pytest.raises(InputError, match="expected one 'R G B' row"):
        data.open_sequence(tmp_path / "ddad")


def test_davis(tmp_path):
    for i in range(2):
        picture(tmp_path / "JPEGImages" / "480p" / "bear" / f"{i:05d}.jpg", i)
        mask = np.zeros((48, 64), np.uint8)
        mask[0, 0] = 3
        save(tmp_path / "Annotations" / "480p" / "bear" / f"{i:05d}.png", mask)
    sequence = data.open_sequence(tmp_path)
    assert sequence.name == "bear"
    assert sequence.read(1).masks["instances"].unique().tolist() == [0, 3]
    assert sequence.read(1).masks["dynamic"].sum() == 1


def mvs(tmp_path, frames=3):
    for i in range(frames):
        picture(tmp_path / "images" / f"{i * 2:05d}.jpg", i)
        save(tmp_path / "depth" / f"{i * 2:05d}.png", np.full((48, 64), 2560, np.uint16))
    text(tmp_path / "K.txt", "50 0 32", "0 50 24", "0 0 1")
    text(tmp_path / "poses.txt", *(row(pose(0.1 * i)) for i in range(frames)))


def test_deep_video_mvs_folder(tmp_path):
    mvs(tmp_path)
    sequence = data.open_sequence(tmp_path)
    assert sequence.read(2).name == "00004"
    assert sequence.read(2).depth.unique().item() == pytest.approx(2.56)
    assert sequence.records[2].cam_to_world[0, 3] == pytest.approx(0.2)
    (tmp_path / "kitti_meta").mkdir()
    assert data.open_sequence(tmp_path).read(0).depth.unique().item() == 10


def test_deep_video_mvs_folder_with_lost_frames(tmp_path):
    mvs(tmp_path)
    text(tmp_path / "poses.txt", row(pose()), " ".join(["nan"] * 16), row(pose(0.2)))
    assert [r.cam_to_world is None for r in data.open_sequence(tmp_path).records] == [False, True, False]


def test_deep_video_mvs_training_scenes(tmp_path):
    for name in ("scene0000_00", "scene0001_00"):
        for i in range(3):
            (tmp_path / name).mkdir(exist_ok=True)
            image = np.full((48, 64, 3), (255, 0, 51 * i), np.uint8)
            np.savez(tmp_path / name / f"{i:06d}.npz", image=image, depth=np.full((48, 64), 1500 + i, np.uint16))
        text(tmp_path / name / "K.txt", "50 0 32", "0 50 24", "0 0 1")
        text(tmp_path / name / "poses.txt", *(row(pose(0.1 * i)) for i in range(3)))
    assert [s.name for s in data.open_sequences(tmp_path)] == ["scene0000_00", "scene0001_00"]
    text(tmp_path / "train.txt", "scene0001_00")
    text(tmp_path / "validation.txt", "scene0000_00")
    assert [s.name for s in data.open_sequences(tmp_path)] == ["scene0001_00", "scene0000_00"]
    frame = data.open_sequence(tmp_path / "scene0000_00").read(1)
    assert frame.name == "000001"
    assert frame.image[:, 5, 5].tolist() == pytest.approx([1, 0, 0.2])
    assert frame.depth.unique().item() == pytest.approx(1.501)
    assert frame.cam_to_world[0, 3] == 0.1
    (tmp_path / "scene0000_00" / "000002.npz").write_bytes(b"PK cut")
    with pytest.raises(InputError, match=r"000002\.npz has no readable depth"):
        data.open_sequence(tmp_path / "scene0000_00").records[2].load["depth"]()
    text(tmp_path / "train.txt", "nowhere")
    with pytest.raises(InputError, match="nowhere is no scene but is listed"):
        data.open_sequences(tmp_path)


COLOR_K, DEPTH_K = (
    np.array([[100.0, 0, 64], [0, 100, 48], [0, 0, 1]]),
    np.array([[50.0, 0, 30], [0, 50, 24], [0, 0, 1]]),
)


def gradient(width=128, height=96):
    """A picture whose red and green are its columns and rows."""
    y, x = np.mgrid[:height, :width]
    return np.stack([x, y, 0 * x], -1).astype(np.uint8)


def check_scannet(sequence):
    """Frame 1 lost its pose; depth pixel (u, v) shows colour pixel 2 (u - 30) + 64, 2 (v - 24) + 48."""
    assert [r.cam_to_world is None for r in sequence.records] == [False, True, False]
    torch.testing.assert_close(sequence.records[2].cam_to_world, torch.from_numpy(pose(0.5, 0.25)))
    frame = sequence.read(2)
    assert frame.camera.fx == 50
    assert frame.image.shape == (3, 48, 64)
    assert frame.depth.unique().tolist() == [2.5]
    assert (frame.image[:2, 10, 20] * 255).tolist() == pytest.approx([2 * (20 - 30) + 64, 2 * (10 - 24) + 48], abs=1e-3)
    assert frame.image[:, :, 63].max() == 0  # beyond the colour picture


def test_scannet_raw_folder(tmp_path):
    for i, name in enumerate(("0", "2", "10")):  # in the order of numbers
        save(tmp_path / "color" / f"{name}.png", gradient())
        save(tmp_path / "depth" / f"{name}.png", np.full((48, 64), 2500, np.uint16))
        matrix = np.full((4, 4), -np.inf) if i == 1 else pose(0.25 * i, 0.125 * i)
        text(tmp_path / "pose" / f"{name}.txt", *(row(r) for r in matrix))
    for kind, matrix in (("color", COLOR_K), ("depth", DEPTH_K)):
        square = np.eye(4)
        square[:3, :3] = matrix
        text(tmp_path / "intrinsic" / f"intrinsic_{kind}.txt", *(row(r) for r in square))
    sequence = data.open_sequence(tmp_path)
    assert [r.name for r in sequence.records] == ["0", "2", "10"]
    check_scannet(sequence)
    (tmp_path / "intrinsic" / "intrinsic_depth.txt").unlink()
    with pytest.raises(InputError, match=r"has no intrinsic/intrinsic_depth\.txt"):
        data.open_sequence(tmp_path)


def sens(path, codec=1, version=4):
    """A .sens file of three frames; frame 1 lost its pose."""
    blob = struct.pack("<IQ", version, 5) + b"video"
    for matrix in (COLOR_K, np.eye(3), DEPTH_K, np.eye(3)):
        square = np.eye(4, dtype=np.float32)
        square[:3, :3] = matrix
        blob += square.tobytes()
    blob += struct.pack("<2i4IfQ", codec, 1, 128, 96, 64, 48, 1000.0, 3)
    buffer = io.BytesIO()
    Image.fromarray(gradient()).save(buffer, "PNG")
    color = buffer.getvalue() if codec else gradient().tobytes()
    depth = zlib.compress(np.full((48, 64), 2500, "<u2").tobytes())
    for i in range(3):
        matrix = np.full((4, 4), -np.inf) if i == 1 else pose(0.25 * i, 0.125 * i)
        blob += matrix.astype(np.float32).tobytes() + struct.pack("<4Q", i, i, len(color), len(depth)) + color + depth
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(blob)
    return blob


@pytest.mark.parametrize("codec", [0, 1])
def test_scannet_sens_file(tmp_path, codec):
    file = tmp_path / "scene0707_00" / "scene0707_00.sens"
    sens(file, codec)
    for place in (file, file.parent):
        sequence = data.open_sequence(place)
        assert (sequence.name, len(sequence), sequence.records[1].name) == ("scene0707_00", 3, "000001")
    poses = [r.cam_to_world for r in sequence.records]
    torch.testing.assert_close(poses[2], torch.from_numpy(pose(0.5, 0.25)), atol=1e-6, rtol=0)
    exact = sequence.read(2)
    published = data.open_sequence(file, convention="published").read(2)
    u, v = 20, 10
    x, y = 2 * (u - 30) + 64, 2 * (v - 24) + 48
    assert (exact.image[:2, v, u] * 255).tolist() == pytest.approx([x, y], abs=1e-3)
    assert (published.image[:2, v, u] * 255).tolist() == pytest.approx([round(x * 127 / 128), round(y * 95 / 96)])
    assert exact.depth.unique().tolist() == [2.5]


def test_scannet_sens_files_that_cannot_be_read(tmp_path):
    file = tmp_path / "a.sens"
    blob = sens(file)
    for size in (6, 200, len(blob) - 5):
        file.write_bytes(blob[:size])
        with pytest.raises(InputError, match="ends too early"):
            data.open_sequence(file)
    sens(file, version=3)
    with pytest.raises(InputError, match="is version 3"):
        data.open_sequence(file)
    sens(file, codec=2 + 5)
    with pytest.raises(InputError, match="colour codec 7"):
        data.open_sequence(file)


def test_icl_nuim(tmp_path):
    for scene in ("livingroom1", "office2"):
        for i in range(2):
            picture(tmp_path / f"{scene}-color" / f"{i:05d}.jpg", i, (640, 480))
            save(tmp_path / f"{scene}-depth-clean" / f"{i:05d}.png", np.full((480, 640), 1250, np.uint16))
        lines = [line for i in range(2) for line in (f"{i} {i} {i + 1}", *(row(r) for r in pose(0.5 * i, 0.1 * i)))]
        text(tmp_path / f"{scene}-traj.txt", *lines)
    first, second = data.open_sequences(tmp_path)
    assert (first.name, second.name, len(second)) == ("livingroom1", "office2", 2)
    frame = second.read(1)
    assert (frame.camera.fx, frame.camera.cx) == (525, 320)
    assert frame.depth.unique().tolist() == [1.25]
    torch.testing.assert_close(frame.cam_to_world, torch.from_numpy(pose(0.5, 0.1)))
    text(tmp_path / "office2-traj.txt", *lines[:-5])
    with pytest.raises(InputError, match="1 poses for 2 images"):
        data.open_sequences(tmp_path)


def test_rgbd_scenes(tmp_path):
    turn = Rotation.from_euler("y", 0.3).as_quat()
    for i in range(2):
        picture(tmp_path / "imgs" / "scene_05" / f"{i:05d}-color.png", i, (640, 480))
        save(tmp_path / "imgs" / "scene_05" / f"{i:05d}-depth.png", np.full((480, 640), 12345, np.uint16))
    rows = [f"{turn[3]} {turn[0]} {turn[1]} {turn[2]} {i} 0 0" for i in range(2)]
    text(tmp_path / "pc" / "05.pose", *rows)
    for place in (tmp_path, tmp_path / "imgs", tmp_path / "imgs" / "scene_05"):
        sequence = data.open_sequence(place)
        assert sequence.name == "scene_05"
    frame = sequence.read(1)
    assert (frame.name, frame.camera.fx) == ("00001", 570.3)
    assert frame.depth.unique().item() == pytest.approx(1.2345)
    torch.testing.assert_close(frame.cam_to_world, torch.from_numpy(pose(1.0, 0.3)))
    text(tmp_path / "pc" / "05.pose", rows[0])
    with pytest.raises(InputError, match="1 rows for 2 images"):
        data.open_sequence(tmp_path)


def test_unknown_things_are_one_sentence(tmp_path):
    with pytest.raises(InputError, match="does not exist"):
        data.open_sequence(tmp_path / "nothing")
    with pytest.raises(InputError, match="no images"):
        data.open_sequence(tmp_path)
    with pytest.raises(InputError, match="no format"):
        data.open_sequence(tmp_path, format="nothing")
    (tmp_path / "note.txt").write_text("x")
    with pytest.raises(InputError, match="neither a video nor an image"):
        data.open_sequence(tmp_path / "note.txt")
