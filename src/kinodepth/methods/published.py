"""Reading what others published: pickles without running code, and names of theirs in ours."""

from __future__ import annotations

import pickle
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import torch

from kinodepth.types import InputError


def rename(key: str, names: Iterable[tuple[str, str]]) -> str | None:
    """The new name of ``key`` by the first rule (old, new) whose text before its {} it begins with; None if none."""
    for old, new in names:
        prefix = old.removesuffix("{}")
        if key.startswith(prefix):
            return new.format(key.removeprefix(prefix))
    return None


class Inert:
    """What stands in for classes of others: it takes anything and does nothing."""

    def __init__(self, *args: Any, **options: Any) -> None:
        pass

    def __setstate__(self, state: Any) -> None:
        pass


def read_pickle(path: Path, expected: str, allowed: Iterable[type] = (), inert: bool = False) -> Mapping[str, Any]:
    """The table that torch.save wrote to ``path``: tensors, plain values and ``allowed`` types, nothing that runs.

    With ``inert`` other types become ``Inert``, without it they are refused. Raises ``InputError`` for anything else;
    ``expected`` names what the file should be.
    """
    known: list[Any] = list(allowed)
    strangers = set[str]()
    while True:
        try:
            with torch.serialization.safe_globals(known):
                content = torch.load(path, map_location="cpu", weights_only=True)
            break
        except FileNotFoundError:
            raise InputError(f"there is no file {path}; expected {expected}; check the path") from None
        except pickle.UnpicklingError as error:
            found = re.search(r"GLOBAL (\S+)", str(error))
            if inert and found and found[1] not in strangers:
                strangers.add(found[1])
                known.append((Inert, found[1]))
                continue
            reason = f"it wants to run {found[1]}" if found else "it is damaged or no pickle of tensors"
            raise InputError(
                f"{path} was not opened because {reason}; expected {expected}: plain tensors and options; get it from "
                "its publisher"
            ) from None
        except (
            RuntimeError,
            EOFError,
            OSError,
            LookupError,
            ValueError,
            TypeError,
        ) as error:  # whatever garbage causes
            lines = str(error).strip().splitlines() or ["it ends too early"]
            raise InputError(f"{path} cannot be read ({lines[0]}); expected {expected}; copy it again") from None
    if not isinstance(content, Mapping):
        raise InputError(f"{path} holds a {type(content).__name__}; expected {expected}; give another file")
    return content
