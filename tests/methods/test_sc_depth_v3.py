"""SC-Depth V3 beyond its recorded numbers: which pixels it compares, and that no prior, however bad, breaks it."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from kinodepth import methods
from kinodepth.data.synthetic import sequence
from kinodepth.methods.sc_depth import pairs
from kinodepth.methods.sc_depth.config import ScDepthV3Config
from kinodepth.methods.sc_depth.model import normalize
from kinodepth.methods.sc_depth.objective import PairMaps
from kinodepth.methods.sc_depth.prior_guidance import dynamic_weight, mask_ranking_loss, prior_terms
from kinodepth.types import Camera, Clip, InputError

V3 = methods.load("sc_depth_v3")
SMALL = ScDepthV3Config(height=64, width=96, pretrained=False)
PUBLISHED = replace(SMALL, convention="published")


def draws(seed=0):
    return torch.Generator().manual_seed(seed)


@pytest.fixture(scope="module")
def scene():
    """Depth, image, intrinsics and a weight that marks the movers of two frames of a synthetic room."""
    frames = [sequence(seed=5, frames=4, width=96, height=64).read(i) for i in (0, 3)]
    moving = torch.stack([f.masks["dynamic"] for f in frames])
    noise = torch.rand(moving.shape, generator=draws())
    return (
        torch.stack([f.depth for f in frames]),
        normalize(torch.stack([f.image for f in frames])),
        torch.stack([f.camera.matrix() for f in frames]),
        torch.where(moving, 0.5 * noise, 0.5 + 0.5 * noise),
    )


def terms_of(scene, prior, depth=None, config=SMALL, seed=0):
    true, image, intrinsics, weight = scene
    return prior_terms(true if depth is None else depth, image, prior, intrinsics, weight, config, draws(seed))


# -- what the terms mean ----------------------------------------------------------------------------------------


def test_the_dynamic_weight_is_low_where_views_disagree_and_one_where_nothing_is_known():
    geometry = torch.tensor([0.1, 9.0, 0.5, 9.0]).view(1, 4, 1, 1)  # there, back, there, back
    valid = torch.tensor([True, True, True, True]).view(1, 4, 1, 1)
    unknown = torch.tensor([True, True, False, True]).view(1, 4, 1, 1)
    maps = PairMaps(geometry, geometry, geometry.requires_grad_(), valid)
    assert dynamic_weight(maps).item() == pytest.approx(0.7)
    assert dynamic_weight(maps._replace(valid=unknown)).item() == pytest.approx(0.95)
    assert not dynamic_weight(maps).requires_grad


@pytest.mark.parametrize("config", [SMALL, PUBLISHED])
def test_a_right_prior_agrees_with_right_depth_in_any_unit(scene, config):
    true = scene[0]
    for factor in (1.0, 30.0):
        right = terms_of(scene, factor * true, config=config)
        assert right["normal_matching"] < 1e-4
        assert right["normal_ranking"] < 1e-4
        for wrong_depth in (true.flip(-1), 1 / true):
            wrong = terms_of(scene, factor * true, wrong_depth, config)
            assert all(wrong[name] > right[name] for name in right)


def test_ranking_gives_moving_things_the_order_of_the_prior(scene):
    """From flat depth, the ranking alone finds the order of the prior."""
    true, _, _, weight = scene
    log_depth = torch.zeros_like(true, requires_grad=True)
    optimizer = torch.optim.Adam([log_depth], lr=0.05)
    generator = draws()
    for _ in range(60):
        confident = pairs.confident_pairs(pairs.unreliable_mask(weight), generator)
        everywhere = pairs.global_pairs(true[0].numel(), generator, "random")
        loss = mask_ranking_loss(log_depth.exp(), true, confident, everywhere)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    for found, expected in zip(log_depth.detach().flatten(1), true.flatten(1)):
        ranks = torch.stack([found.argsort().argsort(), expected.argsort().argsort()]).double()
        assert torch.corrcoef(ranks)[0, 1] > 0.8


# -- which pixels are compared ----------------------------------------------------------------------------------


def test_doubtful_pixels_are_compared_with_sound_ones_of_the_same_picture(scene):
    weight = scene[3]
    mask = pairs.unreliable_mask(weight)
    count = int(0.2 * 64 * 96)
    assert mask.flatten(1).sum(1).tolist() == [count, count]
    for w, m in zip(weight, mask):
        assert w[m].max() <= w[~m].min()
    doubtful, sound = pairs.confident_pairs(mask, draws())
    for i in range(2):
        flat = mask[i].flatten()
        assert torch.equal(doubtful[i], flat.nonzero()[:, 0])
        assert not flat[sound[i]].any()
        assert len(sound[i].unique()) > 0.8 * count * (1 - 1 / torch.e)
    assert not torch.equal(sound[0], sound[1])
    assert torch.equal(pairs.confident_pairs(mask, draws()), torch.stack([doubtful, sound]))
    ties = pairs.unreliable_mask(torch.ones(1, 1, 10, 10))
    assert ties.sum() == 20


def test_global_pairs_lie_in_one_row_unless_they_are_asked_to_be_random():
    height, width = 256, 320
    row, random = (pairs.global_pairs(height * width, draws(), kind) for kind in ("row", "random"))
    for found in (row, random):
        assert 0.09 < found.shape[1] / (height * width) < 0.11
        assert found.min() >= 0
        assert found.max() < height * width
    apart = [((p[0] // width) - (p[1] // width)).abs().float().mean() for p in (row, random)]
    assert apart[0] < 2
    assert 75 < apart[1] < 95
    again = pairs.global_pairs(height * width, draws(), "random")
    assert torch.equal(again, random)
    assert not torch.equal(pairs.global_pairs(height * width, draws(1), "random")[1, :100], random[1, :100])


def test_anchors_are_drawn_in_each_picture_as_many_as_it_has_edges():
    mask = torch.rand(3, 1, 40, 50, generator=draws()) < torch.tensor([0.5, 0.01, 0.1])[:, None, None, None]
    mask[1] = False
    mask[1, 0, 3, 4] = True
    anchors = pairs.draw_anchors(mask, draws(1))
    assert mask.flatten()[anchors].all()
    assert torch.equal((anchors // 2000).bincount(minlength=3), mask.flatten(1).sum(1))
    assert 0.5 < len(anchors.unique()) / len(anchors) < 0.75  # with replacement: 1 - 1/e of them
    assert len(pairs.draw_anchors(torch.zeros_like(mask), draws())) == 0


def test_points_lie_on_a_line_across_the_edge():
    image = torch.zeros(1, 3, 40, 60)
    image[..., 30:] = 1  # a vertical edge
    found = pairs.image_edges(image)
    mask = pairs.is_edge(found, torch.zeros(1, 1, 40, 60, dtype=torch.bool))
    assert sorted((mask.nonzero()[:, 3]).unique().tolist()) == [29, 30]
    anchors = pairs.draw_anchors(mask, draws())
    distances = pairs.draw_distances(len(anchors), draws())
    assert sorted(distances[:2].unique().tolist()) == list(range(-19, -2))
    assert sorted(distances[2:].unique().tolist()) == list(range(3, 20))
    a, b = pairs.pairs_across(found, anchors, distances)
    assert a.shape == (3 * len(anchors),)
    assert torch.equal(a // 60, b // 60)  # the gradient is horizontal
    sides = [(p[len(anchors) : 2 * len(anchors)] % 60 >= 30) for p in (a, b)]  # second with third point
    assert not sides[0].any()
    assert sides[1].all()
    far = pairs.pairs_across(found, anchors, 10 * distances)
    assert far.min() >= 0
    assert far.max() < 2400


# -- priors that are not sound (spec 14: 2, 3, 4) ---------------------------------------------------------------


def test_a_large_contrast_of_depths_does_not_overflow(scene):
    depth = torch.where(scene[3] < 0.5, 99.99, 0.1).requires_grad_()
    terms = terms_of(scene, 1 / depth.detach(), depth)
    gradient = torch.autograd.grad(terms["mask_ranking"], depth)[0]
    assert 5 < terms["mask_ranking"] < 100
    assert gradient.isfinite().all()
    assert gradient.abs().max() > 0


@pytest.mark.parametrize("config", [SMALL, PUBLISHED])
@pytest.mark.parametrize("value", [0.0, 3.0, torch.nan, torch.inf, -1.0])
def test_a_prior_without_order_costs_nothing(scene, config, value):
    depth = scene[0].clone().requires_grad_()
    terms = terms_of(scene, torch.full_like(depth, value), depth, config)
    (gradient,) = torch.autograd.grad(terms["mask_ranking"], depth, retain_graph=True)
    assert terms["mask_ranking"] == 0
    assert (gradient == 0).all()
    (gradient,) = torch.autograd.grad(sum(terms.values()), depth)
    assert all(term.isfinite() for term in terms.values())
    assert gradient.isfinite().all()
    if value != 3.0 and (config is SMALL or value != 0):  # unknown altogether
        assert all(term == 0 for term in terms.values())
        assert (gradient == 0).all()


@pytest.mark.parametrize("value", [torch.nan, torch.inf, -torch.inf, 0.0])
def test_what_is_not_known_changes_nothing_else(scene, value):
    prior = scene[0]
    depth = (prior + 0.3).flip(-1).requires_grad_()
    holed = prior.clone()
    holed[0, :, 20:24, 30:34] = value
    sound, spoilt = terms_of(scene, prior, depth), terms_of(scene, holed, depth)
    for name, term in sound.items():
        assert spoilt[name].isfinite()
        torch.testing.assert_close(spoilt[name], term, rtol=0.1, atol=0, msg=name)  # other draws, fewer pixels
    (gradient,) = torch.autograd.grad(spoilt["normal_matching"], depth, retain_graph=True)
    assert (gradient[0, :, 21:23, 31:33] == 0).all()  # normals reach one pixel beyond the hole
    everything = torch.arange(64 * 96).expand(2, 1, -1)  # a pair of every pixel with its right neighbour
    neighbours = torch.stack([everything[:, 0], (everything[:, 0] + 1) % (64 * 96)])
    unknown = torch.where(holed.isfinite() & (holed > 0), holed, torch.nan)
    none = torch.empty(2, 0, dtype=torch.long)
    (gradient,) = torch.autograd.grad(mask_ranking_loss(depth, unknown, neighbours, none), depth)
    assert (gradient[0, :, 20:24, 30:34] == 0).all()
    assert gradient.isfinite().all()


def test_edges_away_from_a_hole_stay():
    maps = torch.rand(2, 3, 40, 60, generator=draws())
    maps[..., 30:] += 3  # the strongest edges, far from the hole
    holed = maps.clone()
    holed[0, :, 10:13, 10:13] = torch.nan
    nowhere = torch.zeros(2, 1, 40, 60, dtype=torch.bool)
    far = torch.ones_like(nowhere)
    far[0, :, 9:14, 9:14] = False
    sound, spoilt = (pairs.is_edge(pairs.normal_edges(each), nowhere, pairs.BORDER) for each in (maps, holed))
    assert torch.equal(sound & far, spoilt & far)
    assert not spoilt[~far].any()
    steps = [pairs.depth_steps(each[:, :1], per_batch=True) for each in (maps, holed)]
    assert torch.equal(steps[0][1], steps[1][1])
    assert steps[1][0].any()


def test_a_picture_does_not_depend_on_the_unit_of_another_one(scene):
    """Published: the strongest depth edge of the batch decides about all pictures (spec 14: 18)."""
    prior = scene[0] * torch.tensor([1.0, 100.0])[:, None, None, None]
    for config, is_same in ((SMALL, True), (PUBLISHED, False)):
        alone, beside = terms_of(scene, scene[0], 1 / scene[0], config), terms_of(scene, prior, 1 / scene[0], config)
        assert torch.isclose(alone["normal_ranking"], beside["normal_ranking"], rtol=1e-6) == is_same


def test_sound_priors_have_the_published_values(scene):
    depth = scene[0].flip(-1)
    one = [slice(0, 1), slice(0, 1)]
    single = tuple(part[one[0]] for part in scene)  # of one picture, whose strongest edge is the batch's
    exact, published = (terms_of(single, single[0], depth[:1], c) for c in (SMALL, PUBLISHED))
    assert exact == published


# -- the whole --------------------------------------------------------------------------------------------------


def clip(batch=2):
    image = torch.rand(batch, 3, 3, 64, 96, generator=draws())
    prior = 1 + torch.rand(batch, 3, 1, 64, 96, generator=draws(1))
    return Clip(image, (Camera(80.0, 82.0, 47.0, 31.0, 96, 64),) * batch, prior_depth=prior)


def objective(config=SMALL, window=None, seed=0):
    torch.manual_seed(0)
    model = V3.build(config).train()
    return V3.objective(model, window or clip(), V3.stages(config)[0], draws(seed))


def test_the_total_is_the_published_sum():
    result = objective()
    weights = {"photo": 1.0, "geometry": 0.1}
    weights |= dict.fromkeys(("normal_matching", "mask_ranking", "normal_ranking"), 0.1)
    assert result.weights == weights
    assert "smooth" in objective(replace(SMALL, smooth_weight=0.1)).terms
    assert result.total.dtype == torch.float32


def test_only_the_prior_of_the_target_counts():
    first = clip()
    changed = first.prior_depth.clone()
    changed[:, 1:] = torch.nan
    second = replace(first, prior_depth=changed)
    assert torch.equal(objective(window=first).total, objective(window=second).total)


def test_a_missing_prior_is_one_sentence():
    with pytest.raises(InputError, match="no prior depth"):
        objective(window=replace(clip(), prior_depth=None))


@pytest.mark.parametrize("convention", ["exact", "published"])
def test_image_and_prior_go_through_augmentation_together(convention):
    config = replace(SMALL, convention=convention)
    (stage,) = V3.stages(config)
    assert stage.fields == {"prior_depth"}
    x = torch.linspace(0, 1, 192).expand(1, 3, 1, 128, 192)
    window = Clip(x.expand(-1, -1, 3, -1, -1), (Camera(150.0, 160.0, 95.5, 64.5, 192, 128),), prior_depth=x + 1)
    for seed in range(6):
        result = stage.augment(window, draws(seed))
        assert result.prior_depth.shape == (1, 3, 1, 64, 96)
        apart = result.images[:, :, :1] + 1 - result.prior_depth
        assert apart.abs().max() < 1.5 / 96  # nearest against smooth: a pixel at most
        assert result.prior_depth.unique().numel() <= 192  # no value that was not in the prior


def test_recordings_without_prior_can_validate():
    from kinodepth.engine.validation import validate

    recording = sequence(seed=2, frames=5, width=96, height=64)
    assert "prior_depth" not in recording.provides
    torch.manual_seed(0)
    found = validate(V3, V3.build(SMALL), V3.stages(SMALL)[0], [recording], torch.device("cpu"), 2)
    assert all(torch.tensor(score).isfinite() for score in found.scores.values())
    assert "loss" in found.scores
