"""Published DeepVideoMVS weights (a folder of one file per module) in our names (spec deep_video_mvs 9)."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor

from kinodepth.methods.base import Conversion
from kinodepth.methods.deep_video_mvs.config import FusionConfig, PairConfig
from kinodepth.methods.published import read_pickle, rename
from kinodepth.types import InputError

# Published key, our key; {} is the same text in both.
NAMES = (
    *((f"layer{i}.{{}}", f"feature_extractor.layer{i}.{{}}") for i in range(1, 6)),
    ("fpn.inner_blocks.{}", "feature_pyramid.inner.{}"),
    *((f"fpn.layer_blocks.{i}.{{}}", f"feature_pyramid.outer.{i}.{{}}") for i in range(4)),
    *((f"aggregator{i}.{{}}", f"encoder.merge.{i}.{{}}") for i in range(4)),
    *(
        (f"encoder_block{i}.{theirs}.{{}}", f"encoder.down.{i}.{j}.{{}}")
        for i in range(4)
        for j, theirs in enumerate(
            ("down_convolution.down_conv", "standard_convolution.conv1", "standard_convolution.conv2")
        )
    ),
    ("lstm_cell.conv.{}", "lstm.conv.{}"),
    *((f"decoder_block{4 - i}.up_convolution.conv.{{}}", f"decoder.before.{i}.{{}}") for i in range(4)),
    *(
        (f"decoder_block{4 - i}.convolution{j + 1}.{{}}", f"decoder.after.{i}.{j}.{{}}")
        for i in range(4)
        for j in (0, 1)
    ),
    ("refine.{}", "decoder.refine.{}"),
    *(
        (f"depth_layer_{size}.0.{{}}", f"decoder.heads.{i}.{{}}")
        for i, size in enumerate(("full", "half", "quarter", "one_eight", "one_sixteen"))
    ),
)
SURPLUS = re.compile(r"^fpn\.layer_blocks\.4\.")  # of the coarsest pyramid map, which nothing uses
# Current torchvision keeps pyramid convolutions one level deeper than the published files.
DEEPER = re.compile(r"^(fpn\.(?:inner|layer)_blocks\.\d)\.0\.")


def to_ours(key: str) -> str | None:
    """Our name of a published state key, None if there is none."""
    return rename(DEEPER.sub(r"\1.", key), NAMES)


def to_published(key: str) -> str | None:
    """The published name of one of our state keys, None if there is none."""
    return rename(key, [(ours, theirs) for theirs, ours in NAMES])


def convert(path: Path, config_type: type[PairConfig] = FusionConfig) -> Conversion:
    """Read the published files of ``path``: a ``weights`` folder, the folder that holds it, or one of its files.

    The modules are known by their keys, not by the order of the files. Raises ``InputError`` for anything else, and for
    pickles with code in them.
    """
    published: dict[str, Tensor] = {}
    for file in _files(path):
        published |= _read(file)
    config = config_type(pretrained=False, convention="published")
    from kinodepth.methods.deep_video_mvs.model import build

    with torch.device("meta"):
        wanted = build(config).state_dict()
    ours: dict[str, Tensor] = {}
    unexpected, surplus = [], []
    for key, value in published.items():
        name = to_ours(key)
        if SURPLUS.search(DEEPER.sub(r"\1.", key)):
            surplus.append(key)
        elif name in wanted and value.shape == wanted[name].shape:
            ours[name] = value
        else:
            unexpected.append(key)
    if not ours:
        raise InputError(f"{path} has no tensor of DeepVideoMVS; expected the published folder `weights`; give that")
    return Conversion(config, ours, tuple(sorted(set(wanted) - set(ours))), tuple(unexpected), tuple(surplus))


def _files(path: Path) -> list[Path]:
    folder = path / "weights" if (path / "weights").is_dir() else path if path.is_dir() else path.parent
    if not folder.is_dir():
        raise InputError(f"there is no folder {folder}; expected the published folder `weights`; check the path")
    found = sorted(file for file in folder.iterdir() if file.is_file() and not file.name.startswith("."))
    # Training folders hold the optimiser's file beside the modules'.
    found = [file for file in found if "optimizer" not in file.name and file.suffix not in (".txt", ".md", ".json")]
    if not found:
        raise InputError(f"{folder} has no files; expected the published folder `weights`; check the path")
    return found


def _read(path: Path) -> Mapping[str, Tensor]:
    content = read_pickle(path, "the published weights of one module")
    if not all(isinstance(value, Tensor) for value in content.values()):
        raise InputError(f"{path} is no table of tensors; expected the published weights of one module; give those")
    return content
