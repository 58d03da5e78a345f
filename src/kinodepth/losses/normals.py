"""Surface normals against those of another network's depth."""

from __future__ import annotations

from torch import Tensor

from kinodepth.losses.reduction import masked_mean


def normal_matching_loss(normals: Tensor, prior_normals: Tensor, known: Tensor) -> Tensor:
    """Return the mean absolute difference of normals B x 3 x H x W where ``known`` (spec sc_depth 8.1)."""
    return masked_mean((normals - prior_normals).abs(), known)


def relative_normal_loss(normals: Tensor, prior_normals: Tensor, pairs: Tensor, known: Tensor) -> Tensor:
    """Return the mean difference of |cos angle| between the two normals of each pair; a scalar (spec sc_depth 8.3).

    Normals B x 3 x H x W; ``pairs`` 2 x P are pixels as flat indices into B x H x W. A pair counts if both ends are
    ``known`` (B x 1 x H x W bool).
    """
    ours, theirs = (_abs_cosine(n.movedim(1, -1).reshape(-1, 3), pairs) for n in (normals, prior_normals))
    known_pixels = known.reshape(-1)
    return masked_mean((theirs - ours).abs(), known_pixels[pairs[0]] & known_pixels[pairs[1]])


def _abs_cosine(normals: Tensor, pairs: Tensor) -> Tensor:
    """|cos| of the angle between the unit rows of N x 3 that ``pairs`` 2 x P names."""
    return (normals.index_select(0, pairs[0]) * normals.index_select(0, pairs[1])).sum(-1).abs()
