"""Order of depths and angles of normals of pixel pairs, against plain float64 arithmetic."""

from __future__ import annotations

import math

import pytest
import torch
from torch.autograd import gradcheck

from kinodepth.losses.normals import normal_matching_loss, relative_normal_loss
from kinodepth.losses.ranking import order_labels, ranking_loss


def test_labels_tell_a_clear_order():
    first = torch.tensor([2.0, 1.0, 1.1, 23.0, 20.0, 5.0, 0.0, 0.0, torch.nan, torch.inf])
    second = torch.tensor([1.0, 2.0, 1.0, 20.0, 23.0, 0.0, 5.0, 0.0, 1.0, 1.0])
    assert order_labels(first, second).tolist() == [1, -1, 0, 0, 0, 1, -1, 0, 0, 1]
    assert order_labels(first, second, is_inclusive=True).tolist() == [1, -1, 0, 1, 0, 1, -1, 0, 0, 1]
    assert order_labels(first, second, ratio=1.05).tolist()[:5] == [1, -1, 1, 1, -1]


def test_ranking_loss_is_the_mean_of_the_labelled_pairs():
    generator = torch.Generator().manual_seed(0)
    first, second = 100 * torch.rand(2, 50, generator=generator), 100 * torch.rand(2, 50, generator=generator)
    labels = torch.randint(-1, 2, (2, 50), generator=generator)
    expected = [
        math.log1p(math.exp(-label * (a - b)))
        for a, b, label in zip(first.flatten().tolist(), second.flatten().tolist(), labels.flatten().tolist())
        if label
    ]
    assert ranking_loss(first, second, labels).item() == pytest.approx(sum(expected) / len(expected), rel=1e-6)


@pytest.mark.parametrize("contrast", [88.0, 89.0, 99.9, 1e4])
def test_no_contrast_overflows(contrast):
    first = torch.tensor([0.1], requires_grad=True)
    loss = ranking_loss(first, torch.tensor([0.1 + contrast]), torch.ones(1))
    loss.backward()
    assert loss.item() == pytest.approx(contrast, rel=1e-6)
    assert first.grad.item() == pytest.approx(-1)


def test_without_labels_there_is_no_loss():
    first = torch.rand(2, 5, requires_grad=True)
    loss = ranking_loss(first, torch.rand(2, 5), torch.zeros(2, 5))
    loss.backward()
    assert loss == 0
    assert (first.grad == 0).all()
    assert ranking_loss(torch.empty(0), torch.empty(0), torch.empty(0)) == 0


def unit(*shape, seed):
    values = torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))
    return torch.nn.functional.normalize(values, dim=1)


def test_normal_losses_are_the_means_over_what_is_known():
    ours, prior = unit(2, 3, 4, 5, seed=0), unit(2, 3, 4, 5, seed=1)
    known = torch.rand(2, 1, 4, 5, generator=torch.Generator().manual_seed(2)) < 0.7
    differences = [
        (ours[b, :, y, x] - prior[b, :, y, x]).abs().mean() for b, _, y, x in known.nonzero().tolist()
    ]  # fmt: skip
    torch.testing.assert_close(normal_matching_loss(ours, prior, known), torch.stack(differences).mean())
    pairs = torch.randint(40, (2, 60), generator=torch.Generator().manual_seed(3))
    changes = []
    for a, b in pairs.T.tolist():
        (i, p), (j, q) = divmod(a, 20), divmod(b, 20)
        if known[i].flatten()[p] and known[j].flatten()[q]:
            cosines = [abs(n[i].flatten(1)[:, p] @ n[j].flatten(1)[:, q]) for n in (ours, prior)]
            changes.append(abs(cosines[0] - cosines[1]))
    assert 10 < len(changes) < 60
    torch.testing.assert_close(relative_normal_loss(ours, prior, pairs, known), torch.stack(changes).mean())


def test_gradients():
    ours, prior, known = unit(1, 3, 3, 4, seed=0).requires_grad_(), unit(1, 3, 3, 4, seed=1), torch.ones(1, 1, 3, 4)
    pairs = torch.randint(12, (2, 20), generator=torch.Generator().manual_seed(3))
    assert gradcheck(lambda n: normal_matching_loss(n, prior, known), ours)
    assert gradcheck(lambda n: relative_normal_loss(n, prior, pairs, known.bool()), ours)
    first = torch.rand(20, dtype=torch.float64, requires_grad=True)
    assert gradcheck(lambda z: ranking_loss(z, z.flip(0), torch.ones(20)), first)
