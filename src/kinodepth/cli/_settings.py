"""Settings of a method as they are typed: --set key=value."""

from __future__ import annotations


def key_values(pairs: list[str]) -> dict[str, object]:
    """key=value texts as a dict; values are read as JSON (numbers, true, false, lists), else they are text."""
    import json

    from kinodepth.types import InputError

    values: dict[str, object] = {}
    for pair in pairs:
        key, separator, text = pair.partition("=")
        if not separator:
            raise InputError(f"--set {pair!r} has no value; expected key=value, for example width=640")
        try:
            values[key] = json.loads(text)
        except ValueError:
            values[key] = text
    return values
