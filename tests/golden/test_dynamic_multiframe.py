"""Dynamic-multiframe-depth against recorded numbers. Sizes, seeds and values come from the files, tolerances from
their README."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image

from golden.closeness import assert_close
from kinodepth.data import open_sequence
from kinodepth.data.centre_crop import centre_crop
from kinodepth.data.clips import read_clip
from kinodepth.evaluation.clip import evaluate
from kinodepth.evaluation.metrics import mean_over_images, pooled_over_pixels
from kinodepth.evaluation.protocols import SEVEN, Crop, get
from kinodepth.geometry.depth import invert_depth, plane_depths
from kinodepth.geometry.pose import move_between
from kinodepth.losses.smoothness import edge_aware_smoothness_loss
from kinodepth.methods.dynamic_multiframe import convert, losses, objective, photometric, recipe
from kinodepth.methods.dynamic_multiframe.config import DynamicMultiframeConfig
from kinodepth.methods.dynamic_multiframe.fusion import attend
from kinodepth.methods.dynamic_multiframe.model import Outputs, build
from kinodepth.methods.dynamic_multiframe.volume import Matcher, photometric_volume
from kinodepth.types import Camera, Clip, Prediction, Record, Sequence

FOLDER = "dynamic_multiframe"
BACKBONES = {"resnet18": convert.RESNET, "efficientnetb5": convert.B5}


def assert_near(actual, expected, limit):
    """The largest difference, as a share of the largest expected value."""
    assert_close(actual, expected, atol=limit * float(expected.abs().max()))


def published(**settings):
    return DynamicMultiframeConfig(pretrained=False, convention="published", **settings)


@pytest.fixture
def network(seeded_weights):
    """``network(variant, **settings)``: the seeded published networks under our names."""

    def load(variant, **settings):
        state = seeded_weights(f"{FOLDER}/manifest_{variant}.json")
        model = build(published(backbone=BACKBONES.get(variant, convert.RESNET), **settings))
        ours = {convert.to_ours(k): v for k, v in state.items() if not convert.SURPLUS.match(k)}
        model.load_state_dict(ours)
        return model.eval()

    return load


# ---------------------------------------------------------------------------------------------------------------
# Cost volume
# ---------------------------------------------------------------------------------------------------------------


def images(g, prefix=""):
    """Keyframe, frames, poses and intrinsics of a file in our layout; images in [0, 1]."""
    key, frames, pose, poses, k = (
        getattr(g, prefix + name) for name in ("keyframe", "frames", "keyframe_pose", "poses", "keyframe_intrinsics")
    )
    return key + 0.5, frames.transpose(0, 1) + 0.5, pose, poses.transpose(0, 1), k[:, :3, :3]


def volume(g, depths, prefix="", samples=slice(None), **settings):
    key, frames, pose, poses, intrinsics = (values[samples] for values in images(g, prefix))
    moves = move_between(poses, pose[:, None].expand_as(poses))
    matcher = Matcher(convention="published", **settings)
    others = getattr(g, prefix + "intrinsics").transpose(0, 1)[samples, :, :3, :3]
    return photometric_volume(key, frames, moves, intrinsics, depths, matcher, others)


def test_planes(golden):
    g = golden(f"{FOLDER}/cost_volume.npz")
    config = published()
    assert_close(plane_depths(len(g.depth_planes), config.near, config.far), g.depth_planes, rtol=1e-5)


def test_cost_volume(golden):
    g = golden(f"{FOLDER}/cost_volume.npz")
    found = volume(g, g.depth_planes)
    assert_close(found, g.cost_volume, atol=5e-4)
    assert_close(found, g.cost_volume, atol=1e-4, share=0.999)


VARIANTS = {
    "ssim": {},
    "ssim_l1": {"matching": "ssim_l1"},
    "l1": {"matching": "l1"},
    "l1_pooled": {"matching": "l1_pooled"},
    "patch5": {"patch": 5},
    "uniform_channels": {"channels": (1 / 3, 1 / 3, 1 / 3)},
    "not_centered": {"centered": False},
    "alpha1": {"sharpness": 1.0},
    "pixel_mask": {},  # another validity of the volumes of single neighbours, which are not made here
}


@pytest.mark.parametrize("variant", VARIANTS)
def test_cost_volume_variants(golden, variant):
    inputs, g = golden(f"{FOLDER}/cost_volume.npz"), golden(f"{FOLDER}/cost_volume_variants.npz")
    found = volume(inputs, g.depth_planes, samples=slice(1), **VARIANTS[variant])
    assert_close(found, getattr(g, f"cost_volume_{variant}"), atol=5e-4)


def test_cost_volume_of_planes_per_pixel_and_of_three_frames(golden):
    inputs, g = golden(f"{FOLDER}/cost_volume.npz"), golden(f"{FOLDER}/cost_volume_variants.npz")
    found = volume(inputs, g.custom_planes, samples=slice(1))
    assert_close(found, g.cost_volume_custom_planes, atol=5e-4)
    assert_close(volume(g, g.depth_planes, "three_"), g.cost_volume_three_frames, atol=5e-4)


# ---------------------------------------------------------------------------------------------------------------
# Networks
# ---------------------------------------------------------------------------------------------------------------


def one_hot(index, planes):
    return torch.zeros(len(index), planes, *index.shape[-2:]).scatter_(1, index, 1)


@torch.no_grad()
def test_fusion(golden, network):
    g = golden(f"{FOLDER}/fusion.npz")
    fusion = network("resnet18").fusion
    mono = one_hot(g.pseudo_index, g.cost_volume.shape[1])
    assert_close(fusion(mono, g.cost_volume), g.ccf, atol=1e-5)
    tokens = fusion.mono.expand(mono)
    assert_close(tokens, g.ccf_mono_features, atol=1e-5)
    assert_close(fusion.multi.expand(g.cost_volume), g.ccf_multi_features, atol=1e-5)
    n = tokens[0, 0].numel()  # gathering one-hot values gives the attention itself
    rows = attend(fusion.mono, tokens, torch.eye(n).view(1, n, *tokens.shape[-2:]).expand(len(tokens), -1, -1, -1))
    count = g.ccf_mono_attention_rows.shape[1]
    assert_close(rows.flatten(2).mT[:, :count], g.ccf_mono_attention_rows, atol=1e-5)


@torch.no_grad()
@pytest.mark.parametrize(
    ("variant", "name", "settings"),
    [
        ("resnet18_wide", "ccf_wide", {"width": 960}),
        ("resnet18_mono_guide_multi", "mono_guide_multi", {"fusion": "mono_guide_multi"}),
        ("resnet18_multi_guide_mono", "multi_guide_mono", {"fusion": "multi_guide_mono"}),
    ],
)
def test_fusion_variants(golden, network, variant, name, settings):
    g = golden(f"{FOLDER}/fusion.npz")
    mono = one_hot(g.pseudo_index, g.cost_volume.shape[1])
    found = network(variant, **settings).fusion(mono[:1], g.cost_volume[:1])
    assert_close(found, getattr(g, name), atol=1e-5)


@torch.no_grad()
@pytest.mark.parametrize("variant", BACKBONES)
def test_whole_network(golden, network, variant):
    g = golden(f"{FOLDER}/network_{variant}.npz")
    model = network(variant)
    key, *others = images(g)
    found = model.volume(key, *others)
    assert_close(found[:, ::8], g.cost_volume_every8, atol=5e-4)
    features = model.image_encoder(key)
    for ours, theirs in zip(
        (features[0][..., ::4, ::4], features[1][..., ::2, ::2], features[2]),
        (g.feature_0_s4, g.feature_1_s2, g.feature_2), strict=True,
    ):  # fmt: skip
        assert_near(ours, theirs, 1e-4)
    outputs = model(key, found)
    assert torch.equal(outputs.plane, g.pseudo_index.long())
    mono = [g.result_mono, *(getattr(g, f"predicted_inverse_depth_mono_{i}") for i in (1, 2, 3))]
    final = [g.result, *(getattr(g, f"predicted_inverse_depth_{i}") for i in (1, 2, 3))]
    for ours, theirs in zip(outputs.mono, mono, strict=True):
        assert_close(ours, theirs, atol=1e-5)
    for ours, theirs in zip(outputs.final, final, strict=True):
        assert_close(ours, theirs, atol=2e-4)
    fused = model.fusion(model.pseudo_volume(outputs.plane, found), found)
    assert_close(fused[..., ::4, ::4], g.fused_volume_s4, atol=2e-3)


@pytest.mark.parametrize("variant", BACKBONES)
def test_published_checkpoints_convert(golden, tmp_path, variant):
    keys = golden(f"{FOLDER}/manifest_{variant}.json")["keys"]
    state = {f"module.{key}": torch.zeros(()).expand(shape) for key, (shape, _) in keys.items()}
    torch.save({"arch": "DataParallel", "epoch": 3, "state_dict": state}, tmp_path / "file.pth")
    found = convert.convert(tmp_path / "file.pth")
    assert (found.missing, found.unexpected) == ((), ())
    assert found.config == published(backbone=BACKBONES[variant], freeze_encoder=variant == "resnet18")
    assert len(found.state_dict) + len(found.surplus) == len(keys)


# ---------------------------------------------------------------------------------------------------------------
# Losses
# ---------------------------------------------------------------------------------------------------------------


def recorded_triples(g, depth, name="vnl_indices"):
    """Triples at the recorded indices, one call after the other."""
    intrinsics, indices = g.keyframe_intrinsics[:, :3, :3], getattr(g, name).long()
    for call in indices if indices.ndim == 3 else indices[None]:
        yield losses.true_triples(depth, call.expand(len(depth), -1, -1), intrinsics, "published")


def truth_of(g):
    known = g.target > 0
    return torch.where(known, 1 / torch.where(known, g.target, 1).clamp(max=100), 0)


def outputs_of(g, grad=False):
    found = [[getattr(g, f"prediction_{kind}{i}").clone() for i in range(4)] for kind in ("", "mono_")]
    for value in (*found[0], *found[1]):
        value.requires_grad_(grad)
    return Outputs(*found, torch.empty(0))


def total(terms, config):
    weights = objective.term_weights(terms, config)
    return sum(weights[name] * term for name, term in terms.items())


def test_training_loss(golden):
    g, config = golden(f"{FOLDER}/losses.npz"), published()
    outputs, depth = outputs_of(g, grad=True), truth_of(g)
    assert_close(invert_depth(depth), g.target_after, rtol=1e-6)
    triples = recorded_triples(g, depth)
    terms = objective.depth_terms(outputs, depth, config, lambda: next(triples))
    for name, term in terms.items():
        assert_close(term, getattr(g, f"total__{name}"), rtol=1e-4)
    loss = total(terms, config)
    assert_close(loss, g.total__loss, rtol=1e-4)
    loss.backward()
    for i in range(4):
        assert_near(outputs.final[i].grad, getattr(g, f"grad_{i}"), 1e-4)
        assert_near(outputs.mono[i].grad, getattr(g, f"grad_mono_{i}"), 1e-4)


def test_virtual_normals(golden):
    g = golden(f"{FOLDER}/losses.npz")
    triples = next(recorded_triples(g, truth_of(g), "vnl_single_indices"))
    assert torch.equal(triples.kept, g.vnl_single_kept)
    assert_close(losses.virtual_normal_loss(1 / g.prediction_0, triples), g.vnl_single, rtol=1e-4)
    assert_close(losses.virtual_normal_loss(1 / g.prediction_0, triples, dropped=0), g.vnl_single_all, rtol=1e-4)


def test_scale_invariant_loss(golden):
    g = golden(f"{FOLDER}/losses.npz")
    depth = truth_of(g)
    found = losses.scale_invariant_loss(g.prediction_0, invert_depth(depth), depth > 0)
    assert_close(found, g.silog_depth, rtol=1e-4)
    config = published(loss="silog")
    terms = objective.depth_terms(outputs_of(g), depth, config, lambda: None)
    for i in range(4):
        assert_close(terms[f"sdl_{i}"], getattr(g, f"silog_inverse__sdl_{i}"), rtol=1e-4)
        assert_close(terms[f"sdl_mono_{i}"], getattr(g, f"silog_inverse__sdl_{i}_mono"), rtol=1e-4)
    assert_close(total(terms, config), g.silog_inverse__loss, rtol=1e-4)


def clip_of(g):
    """Keyframe and neighbours of a file as a window; only the keyframe has depth."""
    key, frames, pose, poses, intrinsics = images(g)
    pictures, depth = torch.cat((key[:, None], frames), 1), truth_of(g)[:, None]
    cameras = tuple(Camera.from_matrix(k, key.shape[-1], key.shape[-2]) for k in intrinsics)
    depth = torch.cat((depth, torch.zeros_like(depth).expand(-1, frames.shape[1], -1, -1, -1)), 1)
    return Clip(pictures, cameras, 0, torch.cat((pose[:, None], poses), 1), depth)


def test_photometric_baseline(golden):
    g, config = golden(f"{FOLDER}/losses.npz"), published(loss="photometric")
    clip = clip_of(g)
    key, frames, pose, poses, intrinsics = images(g)
    moves = move_between(poses, pose[:, None].expand_as(poses)).float()
    truth = invert_depth(clip.depth[:, 0])
    known = truth > 0
    difference = (g.prediction_0 - truth)[known]
    assert_close(difference.abs().mean(), g.sparse_l1, rtol=1e-4)
    assert_close(difference.square().mean(), g.sparse_l2, rtol=1e-4)
    assert_close(edge_aware_smoothness_loss(g.prediction_0, key), g.smoothness, rtol=1e-4)
    assert_near(photometric.photometric_error(frames[:, 0], key)[:, 0], g.photometric_error_map, 1e-4)

    def errors(**options):
        return photometric.reprojection_errors(
            g.prediction_0, key, frames, moves, intrinsics, convention="published", **options
        )

    plain, masked = errors(), errors(automask=True)
    for over in ("min", "avg"):
        assert_close(photometric.reprojection_loss(plain, over), getattr(g, f"reprojection_{over}"), rtol=1e-4)
        assert_close(
            photometric.reprojection_loss(masked, over), getattr(g, f"reprojection_{over}_automask"), rtol=1e-4
        )
    for found, name in ((plain, "min"), (errors(border=3), "border3")):
        least = found.amin(1)
        valid, expected = getattr(g, f"reprojection_{name}_valid"), getattr(g, f"reprojection_{name}_map")
        assert (least.isfinite() == valid).float().mean() >= 0.999
        both = least.isfinite() & valid
        assert_close(least[both], expected[both], atol=1e-4 * float(expected.max()), share=0.999)
    found = photometric.self_supervised_loss(g.prediction_0, masked, key, 2)
    assert_close(found, g.selfsup_scale2, rtol=1e-4)
    terms, weights = photometric.photometric_terms(outputs_of(g), clip, config)
    for i in range(4):
        assert_close(terms[f"sparse_{i}"], getattr(g, f"baseline__sdl_{i}"), rtol=1e-4)
        assert_close(terms[f"photometric_{i}"], getattr(g, f"baseline__md2l_{i}"), rtol=1e-4)
    assert_close(sum(weights[name] * term for name, term in terms.items()), g.baseline__loss, rtol=1e-4)


def test_training_step(golden, network):
    g = golden(f"{FOLDER}/train_step.npz")
    model = network("resnet18").train()
    model.image_encoder.requires_grad_(False)
    clip = clip_of(g)
    outputs = objective.predict(model, clip, g.flip)
    assert_close(outputs.final[0], g.result, atol=1e-3)
    assert_close(outputs.mono[0], g.result_mono, atol=1e-3)
    triples = recorded_triples(g, truth_of(g))
    terms = objective.depth_terms(outputs, truth_of(g), model.config, lambda: next(triples))
    for name, term in terms.items():
        assert_close(term, getattr(g, f"loss__{name}"), rtol=5e-4)
    loss = total(terms, model.config)
    assert_close(loss, g.loss__loss, rtol=5e-4)
    loss.backward()
    gradients = {name: p.grad for name, p in model.named_parameters() if p.grad is not None}
    assert len(gradients) == len(g.grad_names)
    for name, norm in zip(g.grad_names, g.grad_norms, strict=True):
        if norm > 0.01:
            rtol = 0.15 if name == "fusion_module.gamma" else 0.05
            assert_close(gradients[convert.to_ours(str(name))].norm(), norm, rtol=rtol)
    state = model.state_dict()
    for key, expected in vars(g).items():
        if key.startswith("after__"):
            assert_close(state[convert.to_ours(key.removeprefix("after__"))], expected, atol=1e-4)


# ---------------------------------------------------------------------------------------------------------------
# Data
# ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("case", range(9))
def test_crop_and_intrinsics(golden, case):
    g = golden(f"{FOLDER}/intrinsics.npz")
    (tall, wide), (height, width) = g.image_size[case].tolist(), g.target_size[case].tolist()
    native = Camera(float(g.focal_x[case]), float(g.focal_y[case]), *g.center[case].tolist(), wide, tall)
    box, camera = centre_crop(native, width, height, "published")
    assert list(box) == g.crop_box[case].tolist()
    assert_close(camera.matrix(), g.intrinsics[case, :3, :3], atol=1e-3)


@pytest.fixture
def recording(golden, tmp_path):
    """The miniature data set on disk; ``recording(**options)`` opens it as the method reads it."""
    g = golden(f"{FOLDER}/dataset.npz")
    folder = tmp_path / "sequences" / "04"
    for name in ("image_0", "image_2", "image_depth_annotated", "mvobj_mask"):
        (folder / name).mkdir(parents=True)
    for i, (image, depth, mask) in enumerate(zip(g.images.numpy(), g.depth_png, g.mvobj_masks.numpy())):
        picture = Image.fromarray(image)
        picture.save(folder / "image_2" / f"{i:06d}.png")
        picture.convert("L").save(folder / "image_0" / f"{i:06d}.png")
        Image.fromarray(np.asarray(depth, np.uint16)).save(folder / "image_depth_annotated" / f"{i:06d}.png")
        np.save(folder / "mvobj_mask" / f"{i:06d}.npy", mask)
    (folder / "calib.txt").write_text(str(g.calib_text))
    (folder / "times.txt").write_text("".join(f"{0.1 * i}\n" for i in range(len(g.images))))
    for name, text in (("poses_dvso", g.poses_text), ("poses", g.poses_kitti_text)):
        (tmp_path / name).mkdir()
        (tmp_path / name / "04.txt").write_text(str(text))

    def load(**options):
        return open_sequence(tmp_path, "dynamic_multiframe", size=tuple(g.target_size.tolist()), **options)

    return load


def test_training_windows(golden, recording):
    g, sequence = golden(f"{FOLDER}/dataset.npz"), recording()
    windows = recipe.windows(sequence, published(margin=5))
    assert len(windows) == int(g.length)
    for j, window in enumerate(windows):
        clip = read_clip(sequence, window, 0, ("depth", "mask:dynamic"))
        assert (sequence.records[window[0]].name, sequence.name) == (
            f"{int(getattr(g, f'sample{j}_image_id')):06d}",
            "04",
        )
        assert int(getattr(g, f"sample{j}_sequence")) == 4
        assert_close(invert_depth(clip.depth[0, 0]), getattr(g, f"sample{j}_target"), rtol=1e-6)
        if not hasattr(g, f"sample{j}_keyframe"):
            continue
        assert_close(clip.images[0, 0] - 0.5, getattr(g, f"sample{j}_keyframe"), atol=1 / 255)
        assert_close(clip.images[0, 1:] - 0.5, getattr(g, f"sample{j}_frames"), atol=1 / 255)
        assert_close(clip.cam_to_world[0, 0], getattr(g, f"sample{j}_keyframe_pose"), rtol=1e-6)
        assert_close(clip.cam_to_world[0, 1:], getattr(g, f"sample{j}_poses"), rtol=1e-6)
        assert_close(clip.intrinsics[0], getattr(g, f"sample{j}_keyframe_intrinsics")[:3, :3], rtol=1e-6)
        assert_close(clip.masks["dynamic"][0, 0], getattr(g, f"sample{j}_mvobj_mask"))


def test_other_readings(golden, recording):
    g = golden(f"{FOLDER}/dataset.npz")
    sequence = recording()

    def first(**settings):
        window = recipe.windows(sequence, published(margin=5, **settings))[0]
        return window[0], read_clip(sequence, window, 0)

    number, clip = first(neighbours=4, dilation=2)
    assert number == int(g.dilated_image_id)
    assert_close(clip.cam_to_world[0, 1:], g.dilated_poses, rtol=1e-6)
    assert_close(clip.images[0, 1:].mean((1, 2, 3)) - 0.5, g.dilated_frame_means, atol=1 / 255)
    number, clip = first(neighbours=3)
    assert number == int(g.three_image_id)
    assert_close(clip.cam_to_world[0, 1:], g.three_poses, rtol=1e-6)
    official = recording(poses="official").records[int(g.sample0_image_id)]
    assert_close(official.cam_to_world, g.kitti_keyframe_pose, rtol=1e-6)
    gray = recording(gray=True).read(int(g.sample0_image_id), ())
    assert_close(gray.image - 0.5, g.gray_keyframe, atol=1 / 255)


# ---------------------------------------------------------------------------------------------------------------
# Metrics
# ---------------------------------------------------------------------------------------------------------------

PUBLISHED_ERRORS = dict(zip(("abs_rel", "sq_rel", "rmse", "rmse_log", "a1", "a2", "a3"), SEVEN))


def scored(inverse, target, mask=None, protocol=None):
    """The result of frames of inverse depth N x 1 x H x W under the method's protocol."""
    protocol = protocol or get("dynamic_multiframe")
    names = [str(i) for i in range(len(inverse))]
    records, found = [], {}
    for i, name in enumerate(names):
        load = {"depth": lambda i=i: invert_depth(target[i])}
        if mask is not None:
            load["mask:dynamic"] = lambda i=i: mask[i] > 0.5
        records.append(Record(name, {"image": lambda i=i: torch.zeros(3, *target.shape[-2:]), **load}))
        found[name] = Prediction(name, 1 / inverse[i].clamp(min=1e-3), "metric", "m")
    return evaluate(found, Sequence("run", records), protocol)


def published_row(result, names, pooled, region="all"):
    """Seven numbers as the released code averages them: the RMS over images, the others over the batch's pixels."""
    rows, pixels = result.rows(region=region), result.pixels[:, result.regions.index(region)]
    each = dict(zip(result.protocol.errors, mean_over_images(rows)))
    if pooled:
        together = dict(zip(result.protocol.errors, pooled_over_pixels(rows, pixels, result.protocol.errors)))
        each = {name: each[name] if "rmse" in name else together[name] for name in SEVEN}
    return [float(each[PUBLISHED_ERRORS[str(name)]]) for name in names]


def test_errors(golden):
    g = golden(f"{FOLDER}/metrics.npz")
    assert {str(name) for name in g.names} == set(PUBLISHED_ERRORS)
    protocol = get("dynamic_multiframe")
    result = scored(g.result, g.target, g.mvobj_mask)
    assert_close(published_row(result, g.names, True), g.sparse_80, rtol=1e-5)
    assert_close(published_row(result, g.names, True, "dynamic"), g.sparse_80_dynamic, rtol=1e-5)
    mono = scored(g.result_mono, g.target, g.mvobj_mask)
    assert_close(published_row(mono, g.names, True), g.sparse_80_mono, rtol=1e-5)
    assert_close(published_row(mono, g.names, True, "dynamic"), g.sparse_80_mono_dynamic, rtol=1e-5)
    r0, r1, c0, c1 = g.roi.tolist()
    window = replace(protocol, crop=Crop((r0, r1), (c0, c1), of=tuple(g.target.shape[-2:])))
    assert_close(published_row(scored(g.result, g.target, None, window), g.names, True), g.sparse_80_roi, rtol=1e-5)
    uncapped = replace(protocol, max_depth=np.inf, clamp=None)
    assert_close(published_row(scored(g.result, g.target, None, uncapped), g.names, True), g.sparse_uncapped, rtol=1e-5)
    holes = scored(g.result_with_holes, g.target)  # depth of holes is what the cap makes of it
    assert_close(published_row(holes, g.names, True), g.sparse_80_holes_all_valid, rtol=1e-5)
    known = torch.where(g.result_with_holes == 0, 0, g.target)
    assert_close(
        published_row(scored(g.result_with_holes, known), g.names, True), g.sparse_80_holes_only_valid, rtol=1e-5
    )


def test_evaluation_run(golden):
    g = golden(f"{FOLDER}/metrics.npz")
    result = scored(g.run_result, g.run_target, g.run_mvobj_mask)
    assert_close(published_row(result, g.names, False), g.run_metrics, rtol=1e-5)
    assert_close(published_row(result, g.names, False, "dynamic"), g.run_metrics_dynamic, rtol=1e-5)
    valid = [int((result.pixels[:, result.regions.index(region)] > 0).sum()) for region in ("all", "dynamic")]
    assert valid == g.run_valid.int().tolist()


def test_dense_errors(golden):
    g = golden(f"{FOLDER}/metrics.npz")
    result = scored(g.result, g.dense_target)
    assert_close(published_row(result, g.names, True), g.dense_80, rtol=1e-5)
    assert_close(result.average()["abs_rel"], g.dense_l1_rel, rtol=1e-5)
    protocol = replace(get("dynamic_multiframe"), max_depth=np.inf, clamp=None, errors=("abs_inverse_per_m",))
    found = scored(g.result, g.dense_target, None, protocol).average()["abs_inverse_per_m"]
    assert_close(found, g.dense_l1_inv, rtol=1e-5)
