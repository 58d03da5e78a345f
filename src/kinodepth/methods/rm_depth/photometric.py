"""How well a warped image explains the target (spec rm_depth 5.1; all of it [prior work: Monodepth2])."""

from __future__ import annotations

from torch import Tensor

from kinodepth.losses.photometric import WindowStatistics, l1_error, ssim_error, window_statistics


def photometric_error(target: Tensor, image: Tensor, statistics: WindowStatistics | None = None) -> Tensor:
    """0.85 (1 - SSIM) / 2 + 0.15 L1, averaged over channels: B x 1 x H x W of two B x 3 x H x W images in [0, 1].

    ``statistics`` are ``target_statistics(target)``, computed once for all images it is compared with.
    """
    dissimilar = ssim_error(target, image, window=3, a_statistics=statistics).mean(1, keepdim=True)
    return 0.85 * dissimilar + 0.15 * l1_error(target, image)


def target_statistics(target: Tensor) -> WindowStatistics:
    """What ``photometric_error`` needs of a target B x 3 x H x W."""
    return window_statistics(target, 3)
