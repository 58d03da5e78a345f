"""Published SC-Depth checkpoints (PyTorch-Lightning files) in our names (spec sc_depth 3.5, 10)."""

from __future__ import annotations

import argparse
import pickle
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from kinodepth.methods.base import Conversion
from kinodepth.methods.sc_depth.config import ScDepthConfig
from kinodepth.types import InputError

# Published name, our name; {} is the same text in both.
NAMES = (
    ("depth_net.encoder.encoder.{}", "depth_net.encoder.body.{}"),
    ("pose_net.encoder.encoder.{}", "pose_net.encoder.body.{}"),
    ("pose_net.decoder.conv_squeeze.{}", "pose_net.squeeze.{}"),
    ("pose_net.decoder.convs_pose.0.{}", "pose_net.convs.0.{}"),
    ("pose_net.decoder.convs_pose.1.{}", "pose_net.convs.1.{}"),
    ("pose_net.decoder.convs_pose.2.{}", "pose_net.head.{}"),
    *((f"depth_net.decoder.upconvs0.{4 - i}.conv.conv.{{}}", f"depth_net.decoder.before.{i}.{{}}") for i in range(5)),
    *((f"depth_net.decoder.upconvs1.{4 - i}.conv.conv.{{}}", f"depth_net.decoder.after.{i}.{{}}") for i in range(5)),
    *((f"depth_net.decoder.dispconvs.{s}.conv.{{}}", f"depth_net.decoder.heads.{s}.{{}}") for s in range(4)),
)
SURPLUS = re.compile(r"encoder\.encoder\.fc\.|decoder\.dispconvs\.[123]\.|^rectify_net\.")  # stored, never used here
RESNET_KEYS = {120: 18, 216: 34, 318: 50, 624: 101, 930: 152}  # entries of an encoder without classifier


def to_ours(key: str) -> str | None:
    """Our name of a published state key, None if there is none."""
    return _rename(key, NAMES)


def to_published(key: str) -> str | None:
    """The published name of one of our state keys, None if there is none."""
    return _rename(key, [(ours, theirs) for theirs, ours in NAMES])


def _rename(key: str, names: Iterable[tuple[str, str]]) -> str | None:
    for old, new in names:
        prefix = old.removesuffix("{}")
        if key.startswith(prefix):
            return new.format(key.removeprefix(prefix))
    return None


def convert(path: Path) -> Conversion:
    """Read a published V1 checkpoint. Raises ``InputError`` for anything else, and for pickles with code in them."""
    content = _read(path)
    state = content.get("state_dict")
    if not isinstance(state, Mapping) or not any(key.startswith("depth_net.") for key in state):
        raise InputError(f"{path} has no `state_dict` with a depth_net; expected a published SC-Depth checkpoint")
    config = ScDepthConfig(pretrained=False, convention="published", **_settings(content, state))
    ours: dict[str, Tensor] = {}
    unexpected = []
    for key, value in state.items():
        name = None if SURPLUS.search(key) else to_ours(key)
        if name is not None:
            ours[name] = value
        elif not SURPLUS.search(key):
            unexpected.append(key)
    from kinodepth.methods.sc_depth.model import ScDepth

    with torch.device("meta"):
        wanted = ScDepth(config).state_dict()
    unexpected += [to_published(key) or key for key in ours if key not in wanted]
    return Conversion(
        config,
        {key: value for key, value in ours.items() if key in wanted},
        missing=tuple(sorted(set(wanted) - set(ours))),
        unexpected=tuple(unexpected),
        surplus=tuple(key for key in state if SURPLUS.search(key)),
    )


def _read(path: Path) -> dict[str, Any]:
    try:
        with torch.serialization.safe_globals([argparse.Namespace]):
            content = torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError:
        raise InputError(f"there is no checkpoint {path}; expected a published .ckpt file; check the path") from None
    except pickle.UnpicklingError as error:
        found = re.search(r"GLOBAL (\S+)", str(error))
        reason = f"it wants to run {found[1]}" if found else "it is damaged or no pickle of tensors"
        raise InputError(
            f"{path} was not opened because {reason}; expected plain tensors and options; get it from its publisher"
        ) from None
    except (RuntimeError, EOFError, OSError, LookupError, ValueError, TypeError) as error:  # whatever garbage causes
        lines = str(error).strip().splitlines() or ["it ends too early"]
        raise InputError(
            f"{path} cannot be read as a checkpoint ({lines[0]}); expected a complete .ckpt file; copy it again"
        ) from None
    if not isinstance(content, dict):
        raise InputError(f"{path} holds a {type(content).__name__}; expected a published SC-Depth checkpoint")
    return content


def _settings(content: Mapping[str, Any], state: Mapping[str, Tensor]) -> dict[str, Any]:
    """Our settings of the options stored in the file; the ResNet depth comes from the tensors themselves."""
    from kinodepth.methods.sc_depth.recipe import PRESETS

    options = content.get("hyper_parameters", {}).get("hparams", {})
    options = dict(vars(options)) if isinstance(options, argparse.Namespace) else dict(options)
    prefix = "depth_net.encoder.encoder."
    entries = sum(key.startswith(prefix) and not key.startswith(prefix + "fc.") for key in state)
    settings: dict[str, Any] = dict(PRESETS.get(str(options.get("dataset_name")), {}))
    settings["resnet_layers"] = RESNET_KEYS.get(entries, int(options.get("resnet_layers", 18)))
    same = ("sequence_length", "batch_size", "photo_weight", "geometry_weight", "smooth_weight")
    settings |= {key: options[key] for key in same if key in options}
    renamed = {"skip_frames": "stride", "lr": "learning_rate"}
    settings |= {ours: options[theirs] for theirs, ours in renamed.items() if theirs in options}
    switches = {
        "no_ssim": "ssim",
        "no_auto_mask": "auto_mask",
        "no_dynamic_mask": "self_discovered_mask",
        "no_min_optimize": "minimum",
    }
    settings |= {ours: not options[theirs] for theirs, ours in switches.items() if theirs in options}
    return settings
