import math

import pytest
import torch
from scipy.spatial.transform import Rotation

from kinodepth.evaluation.trajectory import (
    absolute_trajectory_error,
    kitti_text,
    relative_pose_error,
    trajectory_errors,
    tum_text,
    umeyama,
)
from kinodepth.types import InputError


def walk(count=20):
    rotations = torch.from_numpy(Rotation.random(count, rng=0).as_matrix())
    poses = torch.eye(4, dtype=torch.float64).repeat(count, 1, 1)
    poses[:, :3, :3] = rotations
    poses[:, :3, 3] = torch.randn(count, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64).cumsum(0)
    return poses


def moved(poses, scale=2.5):
    world = walk(3)[2]
    other = poses.clone()
    other[:, :3, 3] *= scale
    return world @ other


def test_umeyama_recovers_a_similarity_and_never_mirrors():
    poses = walk()
    fit = umeyama(poses[:, :3, 3], moved(poses)[:, :3, 3])
    assert fit.scale == pytest.approx(2.5)
    mirrored = poses[:, :3, 3] * torch.tensor([1.0, 1.0, -1.0])
    assert float(torch.linalg.det(umeyama(poses[:, :3, 3], mirrored).rotation)) == pytest.approx(1)


def test_ate_is_zero_up_to_similarity_and_counts_the_rest():
    poses = walk()
    assert absolute_trajectory_error(poses, moved(poses)) < 1e-9
    assert absolute_trajectory_error(poses, moved(poses), with_scale=False) > 0.1
    with pytest.raises(InputError):
        absolute_trajectory_error(poses[:5], poses)


def test_rpe_of_a_known_drift():
    true = torch.eye(4, dtype=torch.float64).repeat(10, 1, 1)
    true[:, 0, 3] = torch.arange(10.0)
    drifting = true.clone()
    drifting[:, 0, 3] *= 1.1
    angles = 0.01 * torch.arange(10.0, dtype=torch.float64)
    drifting[:, :3, :3] = torch.from_numpy(
        Rotation.from_rotvec((angles[:, None] * torch.tensor([1.0, 0, 0])).numpy()).as_matrix()
    )
    translation, rotation = relative_pose_error(drifting, true)
    assert translation == pytest.approx(0.1)
    assert rotation == pytest.approx(math.degrees(0.01))


def test_texts():
    poses = walk(2)
    values = [float(v) for v in tum_text([0.5, 1.5], poses).splitlines()[1].split()]
    assert values[0] == 1.5
    assert values[1:4] == pytest.approx(poses[1, :3, 3].tolist())
    rotation = Rotation.from_quat(values[4:]).as_matrix()
    torch.testing.assert_close(torch.from_numpy(rotation), poses[1, :3, :3], rtol=1e-6, atol=1e-6)
    assert [float(v) for v in kitti_text(poses).splitlines()[0].split()] == pytest.approx(
        poses[0, :3].flatten().tolist()
    )


def test_errors_of_a_trajectory_of_another_size_and_place():
    true = walk(8)
    turned = torch.eye(4, dtype=torch.float64)
    turned[:3, :3] = torch.from_numpy(Rotation.from_rotvec([0.1, 0.2, -0.3]).as_matrix())
    predicted = turned @ true
    predicted[:, :3, 3] *= 0.25
    found = trajectory_errors(predicted, true)
    assert found["scale"] == pytest.approx(4)
    assert max(value for name, value in found.items() if name not in ("poses", "scale")) < 1e-4
    assert "snippet_m" not in trajectory_errors(predicted[:4], true[:4])
