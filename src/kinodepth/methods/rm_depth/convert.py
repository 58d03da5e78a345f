"""There is nothing to convert: RM-Depth was published without code and weights (spec rm_depth, head)."""

from __future__ import annotations

from pathlib import Path

from kinodepth.methods.base import Conversion
from kinodepth.types import InputError


def convert(path: Path) -> Conversion:
    """Raise ``InputError``: only weights that kinodepth trained (.safetensors) exist."""
    if not path.is_file():
        raise InputError(f"{path} does not exist; expected a weights file; check the path")
    raise InputError(
        f"{path} cannot be weights of rm_depth, which was published without code and weights; expected a .safetensors "
        "file that kinodepth train wrote; train one, see docs/rm_depth.md"
    )
