"""Published SC-Depth checkpoints (PyTorch-Lightning files) in our names (spec sc_depth 3.5, 10)."""

from __future__ import annotations

import argparse
import re
from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from kinodepth.methods.base import Conversion
from kinodepth.methods.published import read_pickle, rename
from kinodepth.methods.sc_depth.config import ScDepthConfig, ScDepthV2Config, ScDepthV3Config
from kinodepth.types import InputError

# Published name, our name; {} is the same text in both.
NAMES = (
    ("depth_net.encoder.encoder.{}", "depth_net.encoder.body.{}"),
    *(
        (f"{net}.{theirs}.{{}}", f"{net}.{ours}.{{}}")
        for net in ("pose_net", "rectify_net")
        for theirs, ours in (
            ("encoder.encoder", "encoder.body"),
            ("decoder.conv_squeeze", "squeeze"),
            ("decoder.convs_pose.0", "convs.0"),
            ("decoder.convs_pose.1", "convs.1"),
            ("decoder.convs_pose.2", "head"),
        )
    ),
    *((f"depth_net.decoder.upconvs0.{4 - i}.conv.conv.{{}}", f"depth_net.decoder.before.{i}.{{}}") for i in range(5)),
    *((f"depth_net.decoder.upconvs1.{4 - i}.conv.conv.{{}}", f"depth_net.decoder.after.{i}.{{}}") for i in range(5)),
    *((f"depth_net.decoder.dispconvs.{s}.conv.{{}}", f"depth_net.decoder.heads.{s}.{{}}") for s in range(4)),
)
SURPLUS = re.compile(r"encoder\.encoder\.fc\.|decoder\.dispconvs\.[123]\.")  # stored, never used
SURPLUS_WITHOUT_RECTIFYING = re.compile(SURPLUS.pattern + r"|^rectify_net\.")  # the rest of a V2 file read as V1 or V3
RESNET_KEYS = {120: 18, 216: 34, 318: 50, 624: 101, 930: 152}  # entries of an encoder without classifier

# Published options: of the same name, of another one, and the opposite of ours.
SAME = ("sequence_length", "batch_size", "photo_weight", "geometry_weight", "smooth_weight", "normal_matching_weight")
RENAMED = {
    "skip_frames": "stride",
    "lr": "learning_rate",
    "rot_c_weight": "rotation_consistency_weight",
    "rot_t_weight": "rotation_triplet_weight",
    "mask_rank_weight": "mask_ranking_weight",
    "normal_rank_weight": "normal_ranking_weight",
}
SWITCHES = {
    "no_ssim": "ssim",
    "no_auto_mask": "auto_mask",
    "no_dynamic_mask": "self_discovered_mask",
    "no_min_optimize": "minimum",
}


def to_ours(key: str) -> str | None:
    """Our name of a published state key, None if there is none."""
    return rename(key, NAMES)


def to_published(key: str) -> str | None:
    """The published name of one of our state keys, None if there is none."""
    return rename(key, [(ours, theirs) for theirs, ours in NAMES])


def convert(path: Path, config_type: type[ScDepthConfig] = ScDepthConfig) -> Conversion:
    """Read a published checkpoint for the version that ``config_type`` belongs to.

    All versions share depth and pose net, so any file will do for prediction; a file without rectify net leaves its
    weights ``missing`` in V2. Raises ``InputError`` for anything else, and for pickles with code in them.
    """
    content = read_pickle(path, "a published SC-Depth .ckpt file", [argparse.Namespace])
    state = content.get("state_dict")
    if not isinstance(state, Mapping) or not any(key.startswith("depth_net.") for key in state):
        raise InputError(f"{path} has no `state_dict` with a depth_net; expected a published SC-Depth checkpoint")
    known = {field.name for field in fields(config_type)}
    if config_type is ScDepthV3Config:
        known.discard("smooth_weight")  # stored with its default, never used by the published V3
    settings = _settings(content, state, known)
    config = config_type(pretrained=False, convention="published", **settings)
    surplus = SURPLUS if config_type is ScDepthV2Config else SURPLUS_WITHOUT_RECTIFYING
    ours: dict[str, Tensor] = {}
    unexpected = []
    for key, value in state.items():
        name = None if surplus.search(key) else to_ours(key)
        if name is not None:
            ours[name] = value
        elif not surplus.search(key):
            unexpected.append(key)
    from kinodepth.methods.sc_depth.model import build

    with torch.device("meta"):
        wanted = build(config).state_dict()
    unexpected += [to_published(key) or key for key in ours if key not in wanted]
    return Conversion(
        config,
        {key: value for key, value in ours.items() if key in wanted},
        missing=tuple(sorted(set(wanted) - set(ours))),
        unexpected=tuple(unexpected),
        surplus=tuple(key for key in state if surplus.search(key)),
    )


def _settings(content: Mapping[str, Any], state: Mapping[str, Tensor], known: set[str]) -> dict[str, Any]:
    """Those of our ``known`` settings that the file's options tell; the ResNet depth comes from the tensors."""
    from kinodepth.methods.sc_depth.recipe import PRESETS

    options = content.get("hyper_parameters", {}).get("hparams", {})
    options = dict(vars(options)) if isinstance(options, argparse.Namespace) else dict(options)
    prefix = "depth_net.encoder.encoder."
    entries = sum(key.startswith(prefix) and not key.startswith(prefix + "fc.") for key in state)
    settings = dict(PRESETS.get(str(options.get("dataset_name")), {}))
    settings["resnet_layers"] = RESNET_KEYS.get(entries, int(options.get("resnet_layers", 18)))
    settings |= {key: options[key] for key in SAME if key in options}
    settings |= {ours: options[theirs] for theirs, ours in RENAMED.items() if theirs in options}
    settings |= {ours: not options[theirs] for theirs, ours in SWITCHES.items() if theirs in options}
    return {key: value for key, value in settings.items() if key in known}
