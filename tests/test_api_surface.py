"""The public surface is stored in ``api_surface.txt``; it cannot change unnoticed. ``make api`` writes it anew."""

from __future__ import annotations

import importlib
import inspect
import pkgutil
from pathlib import Path

STORED = Path(__file__).with_name("api_surface.txt")
PACKAGES = tuple(f"kinodepth.{name}" for name in ("types", "geometry", "losses", "methods.base", "evaluation"))


def modules() -> list[str]:
    names: list[str] = []
    for name in PACKAGES:
        module = importlib.import_module(name)
        names.append(name)
        if hasattr(module, "__path__"):
            names += [f"{name}.{child.name}" for child in pkgutil.iter_modules(module.__path__)]
    return names


def surface() -> str:
    import kinodepth

    lines = [f"kinodepth.{name}" for name in sorted(kinodepth.__all__)]
    for name in modules():
        module = importlib.import_module(name)
        for key, value in sorted(vars(module).items()):
            if key.startswith("_") or getattr(value, "__module__", None) != name:
                continue
            if inspect.isfunction(value):
                lines.append(f"{name}.{key}{inspect.signature(value)}")
            elif inspect.isclass(value):
                members = sorted(m for m in vars(value) if not m.startswith("_"))
                lines.append(f"class {name}.{key}: {', '.join(members)}")
    return "\n".join(lines) + "\n"


def test_public_surface_is_the_stored_one():
    assert surface().splitlines() == STORED.read_text(encoding="utf-8").splitlines(), "meant? then run: make api"


if __name__ == "__main__":
    STORED.write_text(surface(), encoding="utf-8")
