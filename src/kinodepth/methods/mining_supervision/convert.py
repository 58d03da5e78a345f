"""Published Mining Supervision checkpoints, one file per network, in our names (spec mining_supervision 4)."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor

from kinodepth.methods.base import Conversion
from kinodepth.methods.mining_supervision.config import MiningSupervisionConfig
from kinodepth.methods.published import read_pickle, rename
from kinodepth.types import InputError

# By network: published name, our name; {} is the same text in both.
NAMES: dict[str, tuple[tuple[str, str], ...]] = {
    "depth_net": (
        ("depth_encoder.{}", "encoder.{}"),
        *(
            (f"depth_decoder.convs.{name}.{theirs}.{{}}", f"blocks.{name}.{ours}.{{}}")
            for name in ("72", "36", "18", "9")
            for theirs, ours in (("ca.fc.0", "squeeze"), ("ca.fc.2", "excite"), ("conv_se", "conv"))
        ),
        ("depth_decoder.convs.up_x9_0.conv.conv.{}", "before.{}"),
        ("depth_decoder.convs.up_x9_1.conv.conv.{}", "after.{}"),
        *((f"depth_decoder.convs.dispConvScale{s}.conv.{{}}", f"heads.{s}.{{}}") for s in range(4)),
    ),
    "pose_net": (
        ("pose_encoder.encoder.{}", "encoder.body.{}"),
        *(
            (f"pose_decoder.net.{i}.{{}}", ours)
            for i, ours in enumerate(("squeeze.{}", "convs.0.{}", "convs.1.{}", "head.{}"))
        ),
    ),
    "flow_net": (
        *(
            (f"{theirs}.{layer}{{}}", f"raft.{ours}.{new}{{}}")
            for theirs, ours in (("fnet", "feature_encoder"), ("cnet", "context_encoder"))
            for layer, new in (
                ("conv1.", "convnormrelu.0."),
                ("norm1.", "convnormrelu.1."),
                ("conv2.", "conv."),
                *(
                    (f"layer{i}.{j}.{part}.", f"layer{i}.{j}.{name}.")
                    for i in (1, 2, 3)
                    for j in (0, 1)
                    for part, name in (
                        ("conv1", "convnormrelu1.0"),
                        ("norm1", "convnormrelu1.1"),
                        ("conv2", "convnormrelu2.0"),
                        ("norm2", "convnormrelu2.1"),
                        ("downsample", "downsample"),
                    )
                ),
            )
        ),
        *(
            (f"update_block.encoder.conv{x}.{{}}", f"raft.update_block.motion_encoder.conv{y}.0.{{}}")
            for x, y in (("c1", "corr1"), ("c2", "corr2"), ("f1", "flow1"), ("f2", "flow2"), ("", ""))
        ),
        *(
            (f"update_block.gru.conv{gate}{i}.{{}}", f"raft.update_block.recurrent_block.convgru{i}.conv{gate}.{{}}")
            for gate in "zrq"
            for i in (1, 2)
        ),
        ("update_block.flow_head.{}", "raft.update_block.flow_head.{}"),
        ("update_block.mask.0.{}", "raft.mask_predictor.convrelu.0.{}"),
        ("update_block.mask.2.{}", "raft.mask_predictor.conv.{}"),
    ),
    "scale_net": (
        ("all_feature_extractor.0.{}", "encoder.body.conv1.{}"),
        ("all_feature_extractor.1.{}", "encoder.body.bn1.{}"),
        *((f"all_feature_extractor.{i + 3}.{{}}", f"encoder.body.layer{i}.{{}}") for i in (1, 2, 3, 4)),
        ("fc.{}", "head.{}"),
    ),
    "ground_net": (
        *(
            (f"{theirs}.{{}}", f"layers.{i}.{{}}")
            for theirs, i in (
                ("input_layer", 0),
                ("conv1.0", 2),
                ("conv1.1", 3),
                ("conv2.0", 5),
                ("conv2.1", 6),
                ("final_layer", 8),
            )
        ),
    ),
    "slot_net": (
        *((f"encoder.{i}.0.{{}}", f"encoder.{2 * i}.{{}}") for i in range(4)),
        *((f"decoder.{i}.0.{{}}", f"decoder.{2 * i}.{{}}") for i in range(5)),
        ("decoder.4.2.{}", "decoder.10.{}"),
        ("encoder_pos_embedding.dense.{}", "encoder_position.dense.{}"),
        ("decoder_pos_embedding.dense.{}", "decoder_position.dense.{}"),
        ("encoder_out_layer.{}", "tokens.{}"),
        ("z_residual.{}", "context.{}"),
        ("z_predictor.{}", "present.{}"),
        ("slot_attention.slots_bg_mu", "attention.background_mean"),
        ("slot_attention.slots_bg_log_sigma", "attention.background_log_sigma"),
        ("slot_attention.slots_mu", "attention.foreground_mean"),
        ("slot_attention.slots_log_sigma", "attention.foreground_log_sigma"),
        ("slot_attention.project_q.{}", "attention.query.{}"),
        ("slot_attention.project_k.{}", "attention.key.{}"),
        ("slot_attention.project_v.{}", "attention.value.{}"),
        ("slot_attention.{}", "attention.{}"),
    ),
}
TELLS = {  # what a key of each network's file begins with
    "depth_net": "depth_encoder.",
    "pose_net": "pose_encoder.",
    "flow_net": "fnet.",
    "scale_net": "all_feature_extractor.",
    "ground_net": "input_layer.",
    "slot_net": "slot_attention.",
}
# Stored, never used: second copies, the ImageNet classifier, grids that follow from the size.
SURPLUS = re.compile(r"^depth_decoder\.decoder\.|\.fc\.(weight|bias)$|\.norm3\.|_pos_embedding\.grid$")
FILES = ("depth_net", "pose_net", "raft", "depth_scale_alignment", "ground_segmentation", "slot_attention")


def to_ours(network: str, key: str) -> str | None:
    """Our name of a published state ``key`` of ``network``, without that prefix; None if there is none."""
    return rename(key, NAMES[network])


def convert(path: Path) -> Conversion:
    """Read one published file (.pth); if it has its published name, also those of the other networks beside it.

    Networks without file are ``missing`` and keep the weights they start with. Raises ``InputError`` for anything else.
    """
    beside = [path.with_name(f"{name}.pth") for name in FILES if path.stem in FILES and path.stem != name]
    ours: dict[str, Tensor] = {}
    unexpected, surplus = [], []
    for file in (path, *(other for other in beside if other.is_file())):
        network, state = _read(file)
        for key, value in state.items():
            if SURPLUS.search(key):
                surplus.append(key)
            elif (name := to_ours(network, key)) is None:
                unexpected.append(key)
            else:
                ours[f"{network}.{name}"] = value
    return _fitted(ours, unexpected, surplus)


def _fitted(ours: Mapping[str, Tensor], unexpected: list[str], surplus: list[str]) -> Conversion:
    """All networks with the weights ``ours`` in place; those of objects start as those of the scene."""
    from kinodepth.methods.mining_supervision.model import build, start_objects

    size = ours.get("ground_net.layers.3.weight")
    height, width = (192, 512) if size is None else size.shape[1:]
    masks = any(key.startswith(("slot_net.", "ground_net.")) for key in ours)
    config = MiningSupervisionConfig(
        pretrained=False, convention="published", height=height, width=width, masks="found" if masks else "given"
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = build(config)
    known = model.state_dict()
    fits = {key: value for key, value in ours.items() if key in known}
    model.load_state_dict(fits, strict=False)
    start_objects(model)
    return Conversion(
        config,
        model.state_dict(),
        missing=tuple(sorted(set(known) - set(fits))),
        unexpected=(*unexpected, *(key for key in ours if key not in known)),
        surplus=tuple(surplus),
    )


def _read(file: Path) -> tuple[str, dict[str, Tensor]]:
    """Which network a file is for, and its state without the prefix that DataParallel leaves."""
    expected = "a published Mining Supervision .pth file"
    state = {key.removeprefix("module."): value for key, value in read_pickle(file, expected).items()}
    for network, tell in TELLS.items():
        if any(key.startswith(tell) for key in state):
            return network, state
    raise InputError(f"{file} belongs to no network of Mining Supervision; expected {expected}; check the file")
