"""One weights file for every method: safetensors whose metadata says which method and settings it belongs to."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from kinodepth._version import __version__
from kinodepth.data.files import atomic
from kinodepth.types import InputError


def save_weights(
    path: str | Path, model: nn.Module, method_name: str, extra: Mapping[str, Any] | None = None, half: bool = False
) -> None:
    """Write the state of ``model`` with its ``config`` (a dataclass) and ``extra`` (anything JSON can hold).

    ``half`` stores weights as float16; what has one number per channel stays as it is.
    """
    config: Any = model.config
    header = {"version": __version__, "method": method_name, "config": asdict(config), "extra": dict(extra or {})}
    state = {key: value.detach().cpu().contiguous().clone() for key, value in model.state_dict().items()}
    if half:
        state = {key: value.half() if value.dim() > 1 else value for key, value in state.items()}
    with atomic(Path(path)) as temporary:
        save_file(state, temporary, metadata={"kinodepth": json.dumps(header)})


def read_weights(path: str | Path) -> tuple[str, dict[str, Any], dict[str, Tensor], dict[str, Any]]:
    """Method name, config, state dict and extra of a weights file. Raises ``InputError`` if it is not one of ours."""
    try:
        with safe_open(path, framework="pt") as file:
            header = json.loads((file.metadata() or {}).get("kinodepth", "null"))
            state = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118  (not a mapping)
    except FileNotFoundError:
        raise InputError(f"there is no weights file {path}; expected a .safetensors file; check the path") from None
    except (SafetensorError, OSError) as error:
        raise InputError(
            f"{path} cannot be read as safetensors ({error}); expected a complete weights file; copy it again, or use "
            "`kinodepth convert` if it is a published checkpoint"
        ) from None
    if not isinstance(header, dict) or not {"method", "config"} <= set(header):
        raise InputError(
            f"{path} is a safetensors file without kinodepth's header; expected weights saved by kinodepth; convert it"
        )
    return header["method"], header["config"], state, header.get("extra", {})
