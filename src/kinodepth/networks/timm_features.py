"""Feature maps of any timm encoder."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import timm

from kinodepth.networks.batch_norm import BatchNorm2d
from kinodepth.types import InputError

REDUCTIONS = (2, 4, 8, 16, 32)  # of a whole encoder


def timm_features(name: str, pretrained: bool | str | Path, reductions: tuple[int, ...], in_channels: int = 3) -> Any:
    """The encoder that timm calls ``name``: images N x ``in_channels`` x H x W to maps at 1 / ``reductions`` of H x W.

    The finest is first; ``feature_info.channels()`` lists their widths. ``pretrained`` starts from ImageNet weights:
    True downloads them, a path reads a file. Raises ``InputError`` for an encoder that is unknown, has other maps, or
    whose weights cannot be had.
    """
    is_resnet = name.startswith("resnet")
    options: dict[str, Any] = {"norm_layer": BatchNorm2d, "zero_init_last": False} if is_resnet else {}
    local = None if isinstance(pretrained, bool) else {"file": str(pretrained)}
    try:
        body: Any = timm.create_model(
            name,
            pretrained=bool(pretrained),
            pretrained_cfg_overlay=local,
            features_only=True,
            out_indices=tuple(range(len(reductions))),
            in_chans=in_channels,
            **options,
        )
    except (OSError, RuntimeError) as error:
        reason = (str(error).strip() or f"no such file: {pretrained}").splitlines()[0]
        what = f"ImageNet weights for {name}" if pretrained else f"backbone {name}"
        raise InputError(
            f"{what} could not be had ({reason}); expected an encoder that timm knows, and a network "
            "connection or a local file for its weights; give the path of these as `pretrained`, or set it to false"
        ) from error
    if tuple(body.feature_info.reduction()) != reductions:
        raise InputError(
            f"backbone {name} has maps at 1 / {body.feature_info.reduction()}; expected 1 / {list(reductions)}; choose "
            "a ResNet or an EfficientNet"
        )
    return body
