"""SC-Depth against recorded numbers. Every size, seed and value comes from the files; tolerances from their README."""

from __future__ import annotations

import pytest
import torch

from golden.closeness import assert_close
from kinodepth import methods
from kinodepth.data import transforms
from kinodepth.data.clips import triplets
from kinodepth.data.images import dynamic_from_colors
from kinodepth.data.selection import Selection, changed_share, grey_levels, kept_frames, select
from kinodepth.evaluation import PROTOCOLS, Result, evaluate
from kinodepth.geometry import normals, pose, warp
from kinodepth.losses import consistency, photometric, reduction, smoothness
from kinodepth.losses.normals import normal_matching_loss, relative_normal_loss
from kinodepth.methods.sc_depth import convert, pairs, prior_guidance, rectification
from kinodepth.methods.sc_depth.config import ScDepthConfig
from kinodepth.methods.sc_depth.model import MEAN, STD, RectifyNet, to_depth
from kinodepth.methods.sc_depth.objective import explain, pair_losses, pair_maps
from kinodepth.networks.fusion import fuse_batch_norm
from kinodepth.networks.pose_net import PoseNet
from kinodepth.networks.unet_depth import UNetDepthNet
from kinodepth.types import Camera, Clip, Prediction, Record, Sequence

# ---------------------------------------------------------------------------------------------------------------
# Geometry and loss functions
# ---------------------------------------------------------------------------------------------------------------


def test_pose_matrices(golden):
    g = golden("sc_depth/geometry.npz")
    vectors = g.vec
    assert_close(pose.euler_to_matrix(vectors[:, 3:]), g.rot_from_euler, atol=1e-6)
    assert_close(pose.pose_from_vector(vectors)[:, :3], g.mat_euler, atol=1e-6)
    quaternions = pose.pose_from_vector(vectors, "quaternion")[:, :3]
    assert_close(quaternions[..., :3], g.rot_from_quat, atol=1e-6)
    assert_close(quaternions, g.mat_quat, atol=1e-6)


@pytest.mark.parametrize(("case", "atol", "share"), [("", 2e-4, 1.0), ("_large", 1e-3, 0.999)])
def test_published_inverse_warp(golden, case, atol, share):
    g, scene = golden("sc_depth/geometry.npz"), golden("sc_depth/scene.npz")
    vector = getattr(g, "pose" + case) if case else scene.poses[0]
    out = warp.inverse_warp(
        scene.ref_imgs[0],
        scene.tgt_depth,
        pose.pose_from_vector(vector),
        scene.intrinsics,
        source_depth=scene.ref_depths[0],
        convention="published",
    )
    assert_close(out.image, getattr(g, "projected_img" + case), atol=atol, share=share)
    assert_close(out.depth, getattr(g, "projected_depth" + case), atol=atol, share=share)
    assert_close(out.z, getattr(g, "computed_depth" + case), atol=1e-5)
    not_grey = (out.image.abs().mean(1, keepdim=True) > 1e-3).to(torch.uint8)
    assert_close(not_grey, getattr(g, "valid_mask" + case), share=0.999)


def test_rotation_warp(golden):
    g, scene = golden("sc_depth/geometry.npz"), golden("sc_depth/scene.npz")
    turned = warp.rotation_warp(scene.ref_imgs[0], pose.euler_to_matrix(g.rot), scene.intrinsics)
    assert_close(turned, g.rotation_warped, atol=2e-4)


def test_normals(golden):
    g, scene = golden("sc_depth/geometry.npz"), golden("sc_depth/scene.npz")
    assert_close(normals.normals_from_depth(scene.tgt_depth, scene.intrinsics), g.normals, atol=5e-5)


def test_ssim_map(golden):
    g, scene = golden("sc_depth/losses_v1.npz"), golden("sc_depth/scene.npz")
    assert_close(photometric.ssim_error(scene.tgt_img, scene.ref_imgs[0]), g.ssim_map, atol=2e-4)


def test_depth_inconsistency(golden):
    g, scene = golden("sc_depth/losses_v1.npz"), golden("sc_depth/scene.npz")
    out = warp.inverse_warp(
        scene.ref_imgs[0],
        scene.tgt_depth,
        pose.pose_from_vector(scene.poses[0]),
        scene.intrinsics,
        source_depth=scene.ref_depths[0],
        convention="published",
    )
    assert_close(consistency.depth_inconsistency(out.z, out.depth), g.pair_geometry, atol=2e-4)
    assert_close(photometric.l1_error(scene.tgt_img, out.image), g.pair_color, atol=2e-4)


def test_smoothness(golden):
    g, scene = golden("sc_depth/losses_v1.npz"), golden("sc_depth/scene.npz")
    assert_close(smoothness.edge_aware_smoothness_loss(scene.tgt_depth, scene.tgt_img), g.smooth, rtol=2e-5)
    exact = smoothness.edge_aware_smoothness_loss(scene.tgt_depth.double(), scene.tgt_img.double())
    assert_close(exact, g.smooth_f64, rtol=1e-9)


@pytest.mark.parametrize("count", [100, 101])
def test_masked_mean(golden, count):
    g = golden("sc_depth/losses_v1.npz")
    mean = reduction.masked_mean(g.mask_values, getattr(g, f"mask_{count}"), more_than=100)
    assert_close(mean, getattr(g, f"mean_{count}"), rtol=2e-5)


# ---------------------------------------------------------------------------------------------------------------
# Networks, losses and training steps
# ---------------------------------------------------------------------------------------------------------------


def published_state(seeded_weights, *nets):
    """Values of seeded published networks under our names."""
    return {
        convert.to_ours(f"{net}.{key}"): value
        for net, manifest in nets
        for key, value in seeded_weights(f"sc_depth/{manifest}.manifest.json").items()
    }


def fill(network, state, prefix=""):
    found = network.load_state_dict({k.removeprefix(prefix): v for k, v in state.items()}, strict=False)
    assert not found.missing_keys
    assert all(".fc." in key or ".heads." in key for key in found.unexpected_keys)
    return network


def windows_first(tensor):
    """Views first, as the files have them, to windows first, as kinodepth has them."""
    return tensor.transpose(0, 1)


@pytest.mark.parametrize("layers", [18, 50])
def test_depth_net(golden, seeded_weights, layers):
    g = golden(f"sc_depth/depth_net_r{layers}.npz")
    state = published_state(seeded_weights, ("depth_net", f"depth_net_r{layers}"))
    net = fill(UNetDepthNet(layers, scales=(0, 1, 2, 3)), state, "depth_net.").eval()
    with torch.no_grad():
        features, found = net.encoder(g.image), net.scales(g.image)
        for alone in (fill(UNetDepthNet(layers), state, "depth_net.").eval(), fuse_batch_norm(net)):
            assert_close(to_depth(alone(g.image), g.depth.shape[-2:]), g.depth, rtol=1e-4)
    assert [scale for scale, _ in found] == [3, 2, 1, 0]
    for scale, sigma in found:
        rtol = 3e-4 if scale else 1e-4
        assert_close(to_depth(sigma, sigma.shape[-2:]), getattr(g, f"depth_scale{scale}"), rtol=rtol)
    assert_close([f.mean() for f in features], g.feature_means, rtol=3e-4)
    assert_close([f.std() for f in features], g.feature_stds, rtol=3e-4)
    assert_close(features[-1][:, : g.feature4.shape[1]], g.feature4, rtol=3e-4, atol=3e-4 * g.feature4.abs().max())


def test_depth_net_in_training(golden, seeded_weights):
    g = golden("sc_depth/depth_net_r18.npz")
    state = published_state(seeded_weights, ("depth_net", "depth_net_r18"))
    net = fill(UNetDepthNet(), state, "depth_net.").train()
    assert_close(to_depth(net(g.image_train), g.depth_train.shape[-2:]), g.depth_train, rtol=1e-4)
    assert_close(net.encoder.body.bn1.running_mean, g.bn1_running_mean_after, rtol=1e-4, atol=1e-6)
    assert_close(net.encoder.body.bn1.running_var, g.bn1_running_var_after, rtol=1e-4)


def test_pose_net(golden, seeded_weights):
    g = golden("sc_depth/pose_net.npz")
    net = fill(PoseNet(), published_state(seeded_weights, ("pose_net", "pose_net")), "pose_net.").eval()
    with torch.no_grad():
        assert_close(net(g.img1, g.img2), g.pose, atol=1e-6)
        assert_close(net(g.img2, g.img1), g.pose_swapped, atol=1e-6)


def test_rectify_net(golden, seeded_weights):
    g = golden("sc_depth/rectify_net.npz")
    net = fill(RectifyNet(), published_state(seeded_weights, ("rectify_net", "rectify_net")), "rectify_net.").eval()
    with torch.no_grad():
        assert_close(net(g.img1, g.img2), g.rot, atol=1e-6)
        assert_close(net(g.img2, g.img1), g.rot_swapped, atol=1e-6)
        assert_close(net(g.img1_odd, g.img2_odd), g.rot_odd, atol=1e-6)


def scene_of(golden):
    s = golden("sc_depth/scene.npz")
    images = torch.cat([s.tgt_img[:, None], windows_first(s.ref_imgs)], 1)
    target_depth, reference_depths = s.tgt_depth.requires_grad_(), s.ref_depths.requires_grad_()
    depths = torch.cat([target_depth[:, None], windows_first(reference_depths)], 1)
    leaves = (target_depth, reference_depths, s.poses.requires_grad_(), s.poses_inv.requires_grad_())
    return s, (images, depths, windows_first(s.poses), windows_first(s.poses_inv), s.intrinsics), leaves


def options(no_ssim=False, no_auto_mask=False, no_dynamic_mask=False, no_min_optimize=False):
    return ScDepthConfig(
        convention="published",
        ssim=not no_ssim,
        auto_mask=not no_auto_mask,
        self_discovered_mask=not no_dynamic_mask,
        minimum=not no_min_optimize,
    )


def test_v1_losses_of_every_option(golden):
    g = golden("sc_depth/losses_v1.npz")
    _, inputs, _ = scene_of(golden)
    for flags, photo, geometry in zip(g.options.bool().tolist(), g.photo, g.geometry):
        config = options(*flags)
        terms = pair_losses(pair_maps(*inputs, config), config)
        assert_close(terms["photo"], photo, rtol=2e-5)
        assert_close(terms["geometry"], geometry, rtol=2e-5)


def test_v1_pair_maps(golden):
    g = golden("sc_depth/losses_v1.npz")
    _, inputs, _ = scene_of(golden)
    maps = pair_maps(*inputs, options())
    assert_close(maps.photo[:, :1], g.pair_photo, atol=2e-4)
    assert_close(maps.color[:, :1], g.pair_color, atol=2e-4)
    assert_close(maps.geometry[:, :1], g.pair_geometry, atol=2e-4)
    assert_close(maps.valid[:, :1], g.pair_valid, share=0.999)


def test_v1_gradients(golden):
    g = golden("sc_depth/losses_v1.npz")
    s, inputs, leaves = scene_of(golden)
    config = options()
    terms = pair_losses(pair_maps(*inputs, config), config)
    smooth = smoothness.edge_aware_smoothness_loss(leaves[0], s.tgt_img)
    total = terms["photo"] + 0.1 * terms["geometry"] + 0.1 * smooth
    assert_close(total, g.total, rtol=2e-5)
    total.backward()
    assert_close(leaves[0].grad, g.grad_tgt_depth, rtol=1e-3, atol=1e-7)
    assert_close(leaves[1].grad, g.grad_ref_depths, rtol=1e-3, atol=1e-7)
    assert_close(leaves[2].grad, g.grad_poses, rtol=2e-4)
    assert_close(leaves[3].grad, g.grad_poses_inv, rtol=2e-4)


@pytest.mark.parametrize("case", ["mid", "small", "large"])
def test_v2_rotation_losses(golden, case):
    g, s = golden("sc_depth/losses_v2.npz"), golden("sc_depth/scene.npz")
    before, after, recognised = map(windows_first, getattr(g, f"{case}_net_outputs").unbind(1))
    images = torch.stack([s.tgt_img, *s.ref_imgs], 1)
    asked = []

    def rotations(first, second):
        asked.append((first, second))
        return before if len(asked) == 1 else torch.cat([after, recognised], 1)

    size = before.abs().mean((0, 2))
    draws = iter(getattr(g, f"{case}_uniform_draws"))
    uniform = torch.stack([next(draws) if m <= 0.02 or m >= 0.1 else torch.full_like(before[:, 0], -1e9) for m in size])
    assert next(draws, None) is None
    found = rectification.rectify(rotations, images, s.intrinsics)
    terms, scalars = rectification.rotation_terms(rotations, images, found, s.intrinsics, windows_first(uniform))
    assert_close(windows_first(found.images[:, 1:, :, ::4, ::4]), getattr(g, f"{case}_warped"), atol=2e-4)
    (first, second), references = asked[1], images.shape[1] - 1
    turned = first[:, references:, :, ::4, ::4]
    assert_close(windows_first(turned), getattr(g, f"{case}_third_call_first_arg"), atol=2e-4)
    assert torch.equal(second[:, references:], images[:, 1:])
    assert_close(terms["rotation_consistency"], getattr(g, f"{case}_consistency"), rtol=1e-5)
    assert_close(terms["rotation_triplet"], getattr(g, f"{case}_triplet"), rtol=1e-5)
    assert_close(scalars["rotation_before"], getattr(g, f"{case}_rot_before"), rtol=1e-5)
    assert_close(scalars["rotation_after"], getattr(g, f"{case}_rot_after"), rtol=1e-5)


def recorded_pairs(g, images, pixels):
    """The explicit pairs of the fixture: confident 2 x B x n, global 2 x n, across edges 2 x P (flat over images)."""
    confident = [torch.stack([getattr(g, f"mask_pairs_{end}_{i}") for i in range(images)]) for end in "ab"]
    across = [torch.cat([getattr(g, f"normal_pairs_{end}_{i}") + i * pixels for i in range(images)]) for end in "ab"]
    everywhere = [g.global_pairs_a, g.global_pairs_b]
    return tuple(torch.stack(ends).long() for ends in (confident, everywhere, across))


def v3_losses(golden):
    """All terms from explicit pairs, the pair maps they follow from, and the leaves of the gradient."""
    g = golden("sc_depth/losses_v3.npz")
    s, inputs, leaves = scene_of(golden)
    maps = pair_maps(*inputs, options())
    depth, prior = leaves[0], s.pseudo
    confident, everywhere, across = recorded_pairs(g, len(prior), prior[0].numel())
    normals_z, normals_q = (normals.normals_from_depth(d, s.intrinsics) for d in (depth, prior))
    known = torch.ones_like(prior, dtype=torch.bool)
    terms = pair_losses(maps, options()) | {
        "normal_l1": normal_matching_loss(normals_z, normals_q, known),
        "mask_rank": prior_guidance.mask_ranking_loss(depth, prior, confident, everywhere),
        "normal_rank": relative_normal_loss(normals_z, normals_q, across, known),
    }
    return g, s, maps, terms, leaves


def test_v3_losses_of_explicit_pairs(golden):
    g, s, _, terms, _ = v3_losses(golden)
    assert_close(normals.normals_from_depth(s.pseudo, s.intrinsics), g.pseudo_normal, atol=5e-5)
    for name, term in terms.items():
        assert_close(term, getattr(g, name), rtol=2e-5 if name in ("photo", "geometry") else 1e-5)
    assert_close(terms["mask_rank"], g.mask_rank_sums.sum() / g.mask_rank_counts.sum(), rtol=1e-5)


def test_v3_ranking_of_each_set(golden):
    g, s = golden("sc_depth/losses_v3.npz"), golden("sc_depth/scene.npz")
    confident, everywhere, _ = recorded_pairs(g, len(s.pseudo), s.pseudo[0].numel())
    none = confident[:, :, :0], everywhere[:, :0]
    for sets, total, count in zip(
        [(confident, none[1]), (none[0], everywhere)], g.mask_rank_sums, g.mask_rank_counts, strict=True
    ):
        assert_close(prior_guidance.mask_ranking_loss(s.tgt_depth, s.pseudo, *sets), total / count, rtol=1e-5)


def test_v3_gradients(golden):
    g, _, _, terms, leaves = v3_losses(golden)
    weights = {"photo": 1, "geometry": 0.1, "normal_l1": 0.1, "mask_rank": 0.1, "normal_rank": 0.1}
    total = sum(weights[name] * term for name, term in terms.items())
    assert_close(total, g.total, rtol=1e-5)
    total.backward()
    assert_close(leaves[0].grad, g.grad_tgt_depth, atol=5e-6, share=0.999)
    assert_close(leaves[2].grad, g.grad_poses, rtol=2e-4)


def test_v3_dynamic_weight(golden):
    g, _, maps, _, _ = v3_losses(golden)
    assert_close(prior_guidance.dynamic_weight(maps), g.dynamic_weight, atol=2e-4, share=0.999)
    for weight in (prior_guidance.dynamic_weight(maps), g.dynamic_weight):
        assert_close(pairs.unreliable_mask(weight), g.unreliable, share=0.999)


def test_v3_edges(golden):
    g, s = golden("sc_depth/losses_v3.npz"), golden("sc_depth/scene.npz")
    found = {
        "image": (pairs.image_edges(s.tgt_img), g.edge_image, g.theta_image),
        "normal": (pairs.normal_edges(g.pseudo_normal), g.edge_normal, g.theta_normal),
    }
    for edges, magnitude, theta in found.values():
        assert_close(edges.magnitude, magnitude, atol=1e-4 * float(magnitude.max()))
        tolerance = 1e-4 * float(magnitude.max())
        assert_close(edges.x, magnitude * theta.cos(), atol=tolerance)
        assert_close(edges.y, magnitude * theta.sin(), atol=tolerance)
    assert_close(torch.hypot(*pairs.sobel(s.pseudo)), g.edge_depth, atol=1e-4 * float(g.edge_depth.max()))
    assert_close(pairs.depth_steps(s.pseudo, per_batch=True), g.edge_depth_dilated)


def test_v3_samplers_make_the_recorded_pairs_of_the_recorded_draws(golden):
    g, s = golden("sc_depth/losses_v3.npz"), golden("sc_depth/scene.npz")
    steps = g.edge_depth_dilated.bool()
    for i in range(len(s.pseudo)):
        made = []
        for kind, found, border in (
            ("image", pairs.image_edges(s.tgt_img), 0),
            ("normal", pairs.normal_edges(g.pseudo_normal), pairs.BORDER),
        ):
            mask = pairs.is_edge(found, steps, border)[i]
            anchors = mask.flatten().nonzero()[:, 0][getattr(g, f"anchors_{kind}_{i}").long()]
            assert len(anchors) == int(mask.sum())
            distances = getattr(g, f"distances_{kind}_{i}").long()
            signed = torch.cat([-distances[:2], distances[2:]])
            one = pairs.Edges(*(part[i : i + 1] for part in found))
            made.append(pairs.pairs_across(one, anchors, signed))
        a, b = torch.cat(made, 1)
        assert_close(a, getattr(g, f"normal_pairs_a_{i}"), share=0.999)
        assert_close(b, getattr(g, f"normal_pairs_b_{i}"), share=0.999)


NETS = {"depth_net": "depth_net_r18", "pose_net": "pose_net", "rectify_net": "rectify_net"}


@pytest.mark.parametrize(
    ("version", "nets", "terms"),
    [
        ("v1", ("depth_net", "pose_net"), {}),
        ("v2", tuple(NETS), {"rotation_consistency": "consistency", "rotation_triplet": "triplet"}),
    ],
)
def test_optimiser_step(golden, seeded_weights, version, nets, terms):
    def recorded(name):
        return getattr(g, f"{version}_{name}")

    g, s = golden("sc_depth/train_steps.npz"), golden("sc_depth/scene.npz")
    state = published_state(seeded_weights, *((net, NETS[net]) for net in nets))
    height, width = s.tgt_img.shape[-2:]
    method = methods.load(f"sc_depth_{version}")
    config = method.config(pretrained=False, convention="published", height=height, width=width)
    model = fill(method.build(config), state).train()
    cameras = tuple(Camera.from_matrix(k, width, height) for k in s.intrinsics)
    clip = Clip(torch.stack([s.tgt_img, *s.ref_imgs], 1) * STD + MEAN, cameras)
    stage = method.stages(config)[0]
    assert stage.parts == nets
    optimizer = stage.optimizer(model.parameters())
    with torch.no_grad():
        images = torch.stack([s.tgt_img, *s.ref_imgs], 1)
        if version == "v2":
            images = rectification.rectify(model.rotations, images, s.intrinsics).images
            turned = images[:, 1:, :, ::4, ::4].transpose(0, 1)
            assert_close(turned, recorded("ref_imgs_warped"), atol=2e-4)
        found = explain(model, images, s.intrinsics)
    assert_close(windows_first(found.poses), recorded("poses"), atol=1e-5)
    assert_close(windows_first(found.poses_back), recorded("poses_inv"), atol=1e-5)
    assert_close(found.depths[:, 0], recorded("tgt_depth"), rtol=1e-4)
    fill(model, state)  # the forward above has moved the running statistics
    result = method.objective(model, clip, stage, torch.Generator())
    for name, theirs in {"photo": "photo", "geometry": "geometry", "smooth": "smooth", **terms}.items():
        assert_close(result.terms[name], recorded(theirs), rtol=2e-4)
    for name in ("before", "after") if version == "v2" else ():
        assert_close(result.scalars[f"rotation_{name}"], recorded(f"rot_{name}"), rtol=2e-4)
    assert_close(result.total, recorded("total"), rtol=2e-4)
    optimizer.zero_grad()
    result.total.backward()
    parameters = dict(model.named_parameters())
    for net in nets:
        names, norms = recorded(f"{net}_param_names"), recorded(f"{net}_grad_norms")
        assert (norms >= 0).any()
        for name, norm in zip(names, norms):
            key = convert.to_ours(f"{net}.{name}")
            assert (key in parameters) == bool(norm >= 0), "exactly the parameters without gradient have no place here"
            if norm >= 0:
                assert_close(parameters[key].grad.norm(), norm, rtol=5e-3)
    optimizer.step()
    bn1 = model.depth_net.encoder.body.bn1
    first = recorded("after_depth_conv1")
    assert_close(model.depth_net.encoder.body.conv1.weight[: len(first)], first, atol=2e-4)
    last = recorded("after_pose_last")
    assert_close(model.pose_net.head.weight.flatten(1)[:, : last.shape[1]], last, atol=2e-4)
    assert_close(bn1.running_mean, recorded("after_depth_bn1_mean"), atol=2e-4)
    assert int(bn1.num_batches_tracked) == int(recorded("after_depth_bn1_batches"))


@pytest.mark.parametrize("net", ["depth_net_r18", "depth_net_r50", "pose_net", "rectify_net"])
def test_published_keys_survive_the_round_trip(golden, net):
    prefix = net.removesuffix("_r18").removesuffix("_r50")
    for key in golden(f"sc_depth/{net}.manifest.json")["keys"]:
        assert convert.to_published(convert.to_ours(f"{prefix}.{key}")) == f"{prefix}.{key}"


# ---------------------------------------------------------------------------------------------------------------
# Evaluation
# ---------------------------------------------------------------------------------------------------------------
PER_METRE = {"bonn": 1000, "tum": 1000, "nyu": 5000}


def score(metrics, dataset: str, protocol: str, with_masks: bool = True) -> Result:
    """The recorded predictions of ``dataset`` under ``sc_depth_<dataset><protocol>``."""
    truth = getattr(metrics, f"{dataset}_gt").to(torch.float32) / PER_METRE.get(dataset, 1)
    predictions = getattr(metrics, f"{dataset}_pred")
    records = []
    for i, segmentation in enumerate(getattr(metrics, f"{dataset}_seg").permute(0, 3, 1, 2)):
        load = {"image": lambda s=segmentation: s / 255, "depth": lambda i=i: truth[i : i + 1]}
        if with_masks:
            load["mask:dynamic"] = lambda s=segmentation: dynamic_from_colors(s, metrics.dynamic_colors)
        records.append(Record(f"{i:04d}", load))
    named = {r.name: Prediction(r.name, predictions[i][None], "up_to_scale", "m") for i, r in enumerate(records)}
    return evaluate(named, Sequence(dataset, records), PROTOCOLS[f"sc_depth_{dataset}{protocol}"])


def assert_errors(actual, expected, pixels: int) -> None:
    """Relative 2e-5; the three shares of pixels within one pixel."""
    actual = torch.as_tensor(actual if isinstance(actual, torch.Tensor) else list(actual.values()))
    assert_close(actual[..., :-3], expected[..., :-3], rtol=2e-5)
    assert_close(actual[..., -3:], expected[..., -3:], atol=1 / pixels)


@pytest.mark.parametrize("dataset", ["bonn", "tum", "ddad", "kitti", "nyu"])
def test_evaluation_script(golden, dataset):
    g = golden("sc_depth/metrics.npz")
    result = score(g, dataset, "")
    assert_close(result.scales, getattr(g, f"{dataset}_ratios"), rtol=2e-5)
    for column, (region, key) in enumerate((("all", "full"), ("static", "static"), ("dynamic", "dynamic"))):
        here = result.pixels[:, column] > 0
        pixels = int(result.pixels[here, column].min())
        assert_errors(result.rows(region=region)[here], getattr(g, f"{dataset}_{key}_per_image"), pixels)
        assert_errors(result.average(region=region), getattr(g, f"{dataset}_{key}"), pixels)
    without_masks = score(g, dataset, "", with_masks=False)
    assert without_masks.regions == ("all",)
    assert without_masks.average() == result.average()


@pytest.mark.parametrize("dataset", ["bonn", "tum", "ddad", "kitti", "nyu"])
def test_published_double_counting(golden, dataset):
    g = golden("sc_depth/metrics.npz")
    result = score(g, dataset, "_double_count")
    assert len(result.names) + int((result.pixels[:, 2] > 0).sum()) == int(getattr(g, f"{dataset}_full_rows"))
    expected = getattr(g, f"{dataset}_printed_full_with_seg")
    assert_errors(result.average(), expected, int(result.pixels[:, 0].min()))


@pytest.mark.parametrize("dataset", ["bonn", "tum", "ddad", "kitti", "nyu"])
def test_validation_errors(golden, dataset):
    g = golden("sc_depth/metrics.npz")
    result = score(g, dataset, "_validation")
    assert_errors(result.average(), getattr(g, f"{dataset}_validation_errors"), int(result.pixels[:, 0].min()))


# ---------------------------------------------------------------------------------------------------------------
# Data: training windows, transforms, frame filter
# ---------------------------------------------------------------------------------------------------------------


def test_sample_index(golden):
    for case in golden("sc_depth/sample_index.json"):
        windows = triplets(case["num_frames"], case["skip_frames"], case["sequence_length"])
        assert [[target, references] for target, *references in windows] == case["samples"]


def recorded_clip(images, depth, intrinsics) -> Clip:
    """N x H x W x 3 images (0..255) as one window; the map belongs to the first image, zeros to the others."""
    stacked = images.float().permute(0, 3, 1, 2) / 255
    maps = torch.stack([depth, *[torch.zeros_like(depth)] * (len(images) - 1)])[None, :, None]
    height, width = images.shape[1:3]
    return Clip(stacked[None], (Camera.from_matrix(intrinsics, width, height),), prior_depth=maps)


def assert_same_clip(clip: Clip, images, depth, intrinsics) -> None:
    assert_close(clip.images[0, : len(images)].permute(0, 2, 3, 1) * 255, images, atol=1e-3)
    assert_close(clip.prior_depth[0, 0, 0], depth)
    assert_close(clip.intrinsics[0], intrinsics, atol=1e-4)


def test_flip(golden):
    g = golden("sc_depth/data.npz")
    flipped = transforms.flip(recorded_clip(g.images, g.pseudo, g.intrinsics), "published")
    assert_same_clip(flipped, g.flip_image0[None], g.flip_pseudo, g.flip_intrinsics)


def test_scale_and_crop(golden):
    g = golden("sc_depth/data.npz")
    (tall, wide), (top, left), (sx, sy) = g.crop_size_hw.tolist(), g.crop_offset_yx.tolist(), g.crop_scale_xy.tolist()
    clip = recorded_clip(g.images, g.pseudo, g.intrinsics)
    scaled = transforms.resize(transforms.flip(clip, "published"), tall, wide, "published", factors=(sx, sy))
    cropped = transforms.crop(scaled, top, left, *g.images.shape[1:3])
    assert_same_clip(cropped, g.crop_images, g.crop_pseudo, g.crop_intrinsics)


def test_resize_and_tensor(golden):
    g = golden("sc_depth/data.npz")
    clip = recorded_clip(g.crop_images, g.crop_pseudo, g.crop_intrinsics)
    resized = transforms.resize(clip, *g.resize_images.shape[1:3], "published")
    assert_same_clip(resized, g.resize_images, g.resize_pseudo, g.resize_intrinsics)
    assert_close((resized.images[0] - MEAN) / STD, g.tensor_images, atol=1e-5)
    assert_close(resized.prior_depth[0, 0], g.tensor_pseudo)


def test_frame_filter(golden):
    g = golden("sc_depth/data.npz")
    assert kept_frames(g.frames_gray, wrap=True) == g.frame_index.tolist()
    assert kept_frames(g.frames_gray) == g.frame_index_signed.tolist()
    shares = [changed_share(g.frames_gray[0], frame, wrap=True) for frame in g.frames_gray]
    assert_close(shares, g.ratio_to_first, atol=1e-6)
    images = g.frames_bgr.flip(-1).permute(0, 3, 1, 2).float() / 255
    assert all(torch.equal(grey_levels(image), grey) for image, grey in zip(images, g.frames_gray, strict=True))
    recording = Sequence("", [Record(str(i), {"image": lambda image=image: image}) for i, image in enumerate(images)])
    assert select(recording, Selection("published")) == g.frame_index.tolist()
    assert select(recording, Selection("signed")) == g.frame_index_signed.tolist()
