"""The photometric plane sweep (spec dynamic_multiframe 3): how alike keyframe and neighbours look, plane by plane.

Shapes: B batch, V neighbours, N = B V, D planes, H W image. Everything runs without gradient, a few rows and planes at
a time: what one step touches stays in a processor's second cache, and nothing of size N x D x H x W is ever held.
"""

from __future__ import annotations

from typing import Literal, NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from kinodepth.geometry.camera import plane_rays, product
from kinodepth.geometry.sampling import sample
from kinodepth.geometry.warp import homography
from kinodepth.losses.photometric import running_sum
from kinodepth.types import Convention

Matching = Literal["ssim", "ssim_l1", "l1", "l1_pooled"]
C1, C2 = 0.01**2, 0.03**2
LUMA = (5 / 32, 16 / 32, 11 / 32)  # weights of the channels' errors
SHARPNESS = 10.0  # of the confidence in a neighbour
UNSEEN = 1e3  # added to the error where a neighbour does not see the pixel: no minimum, no weight in exponentials
FLOOR = 1e-3  # least weight of a neighbour that sees the pixel: without texture all weigh the same
ELEMENTS = 1 << 17  # of an image tensor that one step works on, on a processor
MANY = 1 << 24  # the same elsewhere
# Of one minus SSIM, halved, and of the absolute difference.
SHARES = {"ssim": (1.0, 0.0), "ssim_l1": (0.85, 0.15), "l1": (0.0, 1.0)}
LOOPS = tuple(SHARES)  # what the compiled loops know


class Matches(NamedTuple):
    """What the sweep of a strip of rows finds: errors N x D x h x W, and 1 where they count, else 0, of the same
    shape (published: N x 1 x h x W)."""

    errors: Tensor
    seen: Tensor


class Matcher(NamedTuple):
    """How errors are measured: ``border`` is the width of the frame in a neighbour that does not count."""

    matching: Matching = "ssim"
    patch: int = 3
    channels: tuple[float, float, float] = LUMA
    sharpness: float = SHARPNESS
    centered: bool = True
    convention: Convention = "exact"

    @property
    def border(self) -> int:
        return self.patch // 2 + 1


@torch.no_grad()
def photometric_volume(
    keyframe: Tensor,
    frames: Tensor,
    frame_from_keyframe: Tensor,
    intrinsics: Tensor,
    depths: Tensor,
    matcher: Matcher | None = None,
    frame_intrinsics: Tensor | None = None,
) -> Tensor:
    """Return the agreement B x D x H x W in [-1, 1] (1 = alike) of the keyframe with its neighbours on each plane.

    ``keyframe`` B x 3 x H x W and ``frames`` B x V x 3 x H x W in [0, 1]; ``frame_from_keyframe`` B x V x 4 x 4 in the
    unit of ``depths`` (D, or B x D x H x W per pixel); ``intrinsics`` B x 3 x 3 of the keyframe, ``frame_intrinsics``
    B x V x 3 x 3 of the neighbours (default: the same). 0 where no neighbour sees the pixel.

    ``published``: neighbours are sampled up to half a pixel off towards the borders, one that misses a pixel on one
    plane does not count there on any, and points behind it are projected as if they were in front.
    """
    how = matcher or Matcher()
    batch, views = frames.shape[:2]
    height, width = keyframe.shape[-2:]
    rays, shift = _projection(frame_from_keyframe, intrinsics, frame_intrinsics, height, width, how.convention)
    # Sampling beyond the picture gives mid-grey, as in the released code, whose images have 0 there.
    framed = F.pad(frames.flatten(0, 1).float(), (1, 1, 1, 1), value=0.5)
    around = F.pad(keyframe.float(), (1, 1, 1, 1), mode="reflect")
    closeness = 1 / depths.float()
    if closeness.ndim == 4:
        closeness = F.pad(closeness, (1, 1, 1, 1), mode="reflect").repeat_interleave(views, 0)
    else:
        closeness = closeness[None, :, None, None]
    volume = keyframe.new_empty(batch, closeness.shape[1], height, width, dtype=torch.float32)
    budget = ELEMENTS if keyframe.device.type == "cpu" else MANY
    rows = max(8, min(height, budget // (3 * len(framed) * width)))
    for top in range(0, height, rows):
        bottom = min(top + rows, height)
        matches = _sweep(framed, around, rays, shift, closeness, (top, bottom), how)
        weights = _confidence(matches, how)
        _join(matches, weights, how, volume[:, :, top:bottom])
    return volume


def _projection(
    moves: Tensor, intrinsics: Tensor, frame_intrinsics: Tensor | None, height: int, width: int, convention: Convention
) -> tuple[Tensor, Tensor]:
    """Rays N x 3 x H+2 x W+2 (reflected at the border, like the windows of SSIM) and shift N x 3 x 1 x 1, of which
    rays + shift / depth are homogeneous pixels of the framed neighbour: its pixel 0 is 1 there."""
    rotation, translation = moves[..., :3, :3], moves[..., :3, 3:]
    own = intrinsics[:, None].expand_as(rotation)
    to = own if frame_intrinsics is None else frame_intrinsics
    sx, sy, offset = 1.0, 1.0, 1.0
    if convention == "published":  # the sampler's x W / (W - 1) - 0.5
        sx, sy, offset = width / (width - 1), height / (height - 1), 0.5
    framed = torch.tensor([[sx, 0, offset], [0, sy, offset], [0, 0, 1]], dtype=moves.dtype, device=moves.device)
    to = product(framed, to.to(moves))
    at_infinity = homography(rotation, own.to(moves), to).flatten(0, 1)
    rays = plane_rays(at_infinity.float(), height, width)
    shift = product(to, translation).flatten(0, 1)[..., None]
    return F.pad(rays, (1, 1, 1, 1), mode="reflect"), shift.float()


def _sweep(
    framed: Tensor, around: Tensor, rays: Tensor, shift: Tensor, closeness: Tensor, rows: tuple[int, int], how: Matcher
) -> Matches:
    """The matches of the rows ``rows`` (half-open) of the keyframe on all planes."""
    height, width = around.shape[-2] - 2, around.shape[-1] - 2
    half = how.patch // 2
    first, last = max(rows[0] - half, 0), min(rows[1] + half, height)
    above = rows[0] - first  # rows of the strip that only windows need
    window = slice(first, last + 2)
    strip, rays = around[:, :, window], rays[:, :, window]
    closeness = closeness if closeness.shape[-1] == 1 else closeness[:, :, window]
    errors = framed.new_empty(len(framed), closeness.shape[1], rows[1] - rows[0], width)
    seen = torch.empty_like(errors)
    if framed.device.type == "cpu" and how.matching in LOOPS:
        from kinodepth.methods.dynamic_multiframe.matching import swept_errors  # the compiler is slow to import

        sums = _sum(strip), _sum(strip.square())
        swept_errors(framed, strip, sums, rays, shift[..., 0, 0], closeness, how, above, errors, seen)
    else:
        key = strip.repeat_interleave(len(framed) // len(around), 0)
        edges = (half, half, half - above, half - (last - rows[1]))
        inner = slice(above, above + rows[1] - rows[0])
        for plane, near in enumerate(closeness.split(1, 1)):
            pixels, visible = _pixels(rays + shift * near, (height, width), how)
            error = F.pad(_errors(key, sample(framed, pixels, padding="border"), how), edges)
            error = running_sum(running_sum(error, how.patch, 1), how.patch, 2)
            torch.mul(error, 1 / how.patch**2, out=errors[:, plane])
            seen[:, plane] = visible[:, inner]
    if how.convention == "exact":
        return Matches(errors.add_(1 - seen, alpha=UNSEEN), seen)
    seen = seen.amin(1, keepdim=True)
    edge = how.border  # the frame of the keyframe itself counts as little
    seen[..., :edge] = seen[..., width - edge :] = 0
    seen[:, :, : max(edge - rows[0], 0)] = 0
    seen[:, :, max(height - edge - rows[0], 0) :] = 0
    return Matches(errors, seen)


def _pixels(points: Tensor, size: tuple[int, int], how: Matcher) -> tuple[Tensor, Tensor]:
    """Where homogeneous ``points`` N x 3 x h+2 x W+2 fall, N x 2 x .., and which of the inner ones can be seen."""
    z = points[:, 2:]
    pixels = points[:, :2] / (z + 1e-7 if how.convention == "published" else z.clamp(min=1e-6))
    # The released code samples a map of ones in a frame of zeros: what touches a one counts.
    last = pixels.new_tensor([size[1], size[0]])[:, None, None] + 1 - how.border
    return pixels, ((pixels > how.border) & (pixels < last)).all(1)[:, 1:-1, 1:-1]


def _errors(key: Tensor, warped: Tensor, how: Matcher) -> Tensor:
    """The error N x h x W, channels weighted, of ``warped`` against ``key``, N x 3 x h+2 x W+2."""
    difference = (warped - key)[..., 1:-1, 1:-1].abs()
    if how.matching == "l1_pooled":
        error = F.avg_pool2d(difference, 3, 1, 1)
    else:
        unlike, apart = SHARES[how.matching]
        a, b = _sum(key) / 9, _sum(warped) / 9
        covariance = _sum(key * warped) / 9 - a * b
        variances = _sum(key.square() + warped.square()) / 9 - a.square() - b.square()
        alike = (2 * a * b + C1) * (2 * covariance + C2) / ((a.square() + b.square() + C1) * (variances + C2))
        error = unlike * (1 - alike) / 2 + apart * difference
    return torch.einsum("nchw,c->nhw", error, error.new_tensor(how.channels))


def _sum(x: Tensor) -> Tensor:
    """The sum over 3 x 3 pixels, two rows and columns fewer."""
    rows = (x[..., :-2, :] + x[..., 1:-1, :]).add_(x[..., 2:, :])
    return (rows[..., :-2] + rows[..., 1:-1]).add_(rows[..., 2:])


def _confidence(matches: Matches, how: Matcher) -> Tensor:
    """How clearly one plane fits best, N x h x W in [0, 1]; 0 where the neighbour does not see the pixel.

    Plane by plane, here and below: one plane stays in the cache, reductions over all of them are several times slower.
    """
    planes = matches.errors.unbind(1)
    best = planes[0].clone()
    for errors in planes[1:]:
        torch.minimum(best, errors, out=best)
    alike = torch.zeros_like(best)
    for errors in planes:
        alike.add_((errors - best).square_().mul_(-how.sharpness).exp_())  # planes that are not seen add 0
    if how.convention == "published":
        return (1 - (alike - 1) / (len(planes) - 1)) * matches.seen[:, 0]
    count = torch.zeros_like(best)
    for seen in matches.seen.unbind(1):
        count.add_(seen)
    clear = 1 - (alike - 1) / (count - 1).clamp(min=1)
    return clear.clamp_(FLOOR, 1).mul_(count.clamp_(max=1))


def _join(matches: Matches, weights: Tensor, how: Matcher, volume: Tensor) -> None:
    """Write the mean of the errors over the neighbours, weighted, into ``volume`` B x D x h x W, as agreement."""
    views = len(weights) // len(volume)
    for plane in range(volume.shape[1]):
        each = weights if how.convention == "published" else weights * matches.seen[:, plane]
        total = each.unflatten(0, (-1, views)).sum(1)
        cost = (matches.errors[:, plane] * each).unflatten(0, (-1, views)).sum(1)
        known = total.sign().square_()  # 0 where no neighbour sees the pixel
        cost.div_(total.add_(1 - known))
        volume[:, plane] = (cost.mul_(-2).add_(1) if how.centered else cost).mul_(known)
