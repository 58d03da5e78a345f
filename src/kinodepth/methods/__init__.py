"""Methods by name. A method is a folder here, or an entry point of the group ``kinodepth.methods``."""

from __future__ import annotations

import difflib
import importlib
import pkgutil
from functools import cache
from importlib.metadata import entry_points

from kinodepth.methods.base import Method
from kinodepth.types import InputError


@cache
def _registry() -> dict[str, Method]:
    folders = [f"{__name__}.{m.name}" for m in pkgutil.iter_modules(__path__) if m.ispkg]
    modules = [importlib.import_module(name) for name in folders]
    modules += [entry.load() for entry in entry_points(group="kinodepth.methods")]
    return {name: method for module in modules for name, method in module.METHODS.items()}


def available() -> list[str]:
    """Names that ``load`` accepts, sorted."""
    return sorted(_registry())


def load(name: str) -> Method:
    """The method called ``name``. Raises ``InputError`` with the nearest known names."""
    if name not in _registry():
        close = difflib.get_close_matches(name, available(), 1)
        hint = f"did you mean {close[0]}?" if close else f"expected one of {', '.join(available())}"
        raise InputError(f"there is no method {name!r}; {hint}")
    return _registry()[name]
