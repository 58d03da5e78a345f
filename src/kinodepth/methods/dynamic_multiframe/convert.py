"""Published Dynamic-multiframe-depth checkpoints in our names (spec dynamic_multiframe 17)."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from kinodepth.methods.base import Conversion
from kinodepth.methods.dynamic_multiframe.config import DynamicMultiframeConfig
from kinodepth.methods.dynamic_multiframe.recipe import B5, RESNET
from kinodepth.methods.published import read_pickle
from kinodepth.types import InputError

# Applied one after the other to a published key.
RENAMES = (
    (r"^(mono|depth)_module\.enc\.", r"\1_net.encoder."),
    (r"^(mono|depth)_module\.dec\.4\.2\.", r"\1_net.decoder.4.1."),
    (r"^(mono|depth)_module\.dec\.", r"\1_net.decoder."),
    (r"^(mono|depth)_module\.predictors\.(\d)\.1\.", r"\1_net.predictors.\2."),
    (r"\.conv_y\.", r".vertical."),
    (r"\.conv_x\.", r".horizontal."),
    (r"\.conv2d_t\.", r".conv."),
    (r"^fusion_module\.gamma$", r"fusion.gain"),
    (r"^fusion_module\.(mono|multi)_expand\.", r"fusion.\1.expand."),
    (r"^fusion_module\.(mono|multi)_reg\.", r"fusion.\1.residual."),
    (r"^fusion_module\.lin_(mono|multi)_q\.", r"fusion.\1.query."),
    (r"^fusion_module\.lin_(mono|multi)_k\.", r"fusion.\1.key."),
    (r"^fusion_module\.lin_(mono|multi)_v\.", r"fusion.\1.value."),
    (r"^_feature_extractor\.(encoder|original_model)\.", r"image_encoder.body."),
)
# Stages of the image encoders at 1/16 and 1/32 and their classifiers, which nothing uses.
SURPLUS = re.compile(
    r"^_feature_extractor\.(encoder\.(layer[34]|fc)|original_model\.(blocks\.[3-6]|conv_head|bn2|classifier))\."
)


def to_ours(key: str) -> str:
    """Our name of a published state key; one that we do not know stays."""
    for theirs, ours in RENAMES:
        key = re.sub(theirs, ours, key)
    return key


def convert(path: Path) -> Conversion:
    """Read a published checkpoint; its configuration is known by its tensors.

    Raises ``InputError`` for a file that cannot be read or holds something else. Nothing in it is ever run.
    """
    published = _cleaned(read_pickle(path, "a published checkpoint", inert=True), path)
    config = _configuration(published)
    from kinodepth.methods.dynamic_multiframe.model import build

    with torch.device("meta"):
        wanted = build(config).state_dict()
    ours: dict[str, Tensor] = {}
    unexpected, surplus = [], []
    for key, value in published.items():
        name = to_ours(key)
        if SURPLUS.match(key):
            surplus.append(key)
        elif name in wanted and value.shape == wanted[name].shape:
            ours[name] = value
        else:
            unexpected.append(key)
    if not any(key.startswith("fusion.") for key in ours):
        raise InputError(
            f"{path} has no tensor of Dynamic-multiframe-depth's fusion; expected its checkpoint; give that"
        )
    return Conversion(config, ours, tuple(sorted(set(wanted) - set(ours))), tuple(unexpected), tuple(surplus))


def _configuration(published: Mapping[str, Tensor]) -> DynamicMultiframeConfig:
    settings: dict[str, Any] = {"pretrained": False, "convention": "published"}
    settings["backbone"] = B5 if any(".original_model." in key for key in published) else RESNET
    settings["freeze_encoder"] = settings["backbone"] == RESNET
    sides = [side for side in ("mono", "multi") if f"fusion_module.lin_{side}_v.weight" in published]
    if len(sides) == 1:
        settings["fusion"] = "multi_guide_mono" if sides == ["mono"] else "mono_guide_multi"
    if "fusion_module.mono_expand.6.weight" in published:
        settings["fusion_halvings"] = 3
    stem = published.get("depth_module.enc.0.0.conv_y.weight")
    if stem is not None:
        settings["image_in_depth_net"] = stem.shape[1] % 32 == 3
    deep = published.get("mono_module.enc.4.0.conv_y.weight")
    settings["large"] = deep is not None and deep.shape[0] == 512
    return DynamicMultiframeConfig(**settings)


def _cleaned(content: Mapping[str, Any], path: Path) -> dict[str, Tensor]:
    """The published state dict without what wrapping left in its keys."""
    state = content.get("state_dict", content)
    if not isinstance(state, Mapping) or not all(isinstance(value, Tensor) for value in state.values()):
        raise InputError(f"{path} holds no state_dict of tensors; expected a published checkpoint; give that")
    keys = {key: re.sub(r"^(module\.)?(0\.)?", "", key) for key in state}
    return {new: state[key] for key, new in keys.items() if not re.match(r"[1-9]", new)}
