"""A method's configuration from its defaults, a preset and ``key=value`` overrides, in this order."""

from __future__ import annotations

import ast
import difflib
import types
import typing
from collections.abc import Iterable, Mapping
from dataclasses import fields
from typing import Any

from kinodepth.methods.base import Method
from kinodepth.types import InputError


def resolve(method: Method, preset: str | None = None, overrides: Iterable[str] = ()) -> Any:
    """The configuration of ``method``: dataclass defaults <- ``preset`` <- ``overrides`` ("key=value", typed by field).

    Raises ``InputError`` for an unknown preset, key or a value of another type.
    """
    if preset is not None and preset not in method.presets:
        hint = suggest(preset, method.presets)
        raise InputError(f"{method.name} has no preset {preset!r}; {hint}")
    values = dict(method.presets[preset]) if preset is not None else {}
    hints = typing.get_type_hints(method.config)
    names = [item.name for item in fields(method.config)]
    for override in overrides:
        key, separator, text = override.partition("=")
        if not separator:
            raise InputError(f"--set {override!r} has no value; expected key=value such as {names[0]}=...")
        if key not in names:
            raise InputError(f"{method.name} has no setting {key!r}; {suggest(key, names)}")
        values[key] = parse(key, text, hints[key])
    return method.config(**values)


def suggest(word: str, known: Iterable[str]) -> str:
    """The end of a sentence about an unknown ``word``: the nearest known one, or all of them."""
    known = list(known)
    close = difflib.get_close_matches(word, known, 1)
    return f"did you mean {close[0]}?" if close else f"expected one of {', '.join(known) or 'none'}"


def parse(key: str, text: str, kind: Any) -> Any:
    """``text`` as a value of the annotation ``kind``: str, bool, int, float, Literal, tuple, list or a union."""
    try:
        return _coerce(text, kind)
    except (ValueError, KeyError, SyntaxError, TypeError):
        if typing.get_origin(kind) is typing.Literal:
            raise InputError(f"--set {key}={text}; {suggest(text, map(str, typing.get_args(kind)))}") from None
        name = str(kind) if typing.get_origin(kind) else getattr(kind, "__name__", str(kind))
        raise InputError(f"--set {key}={text} cannot be read; expected a value of type {name}") from None


def _coerce(value: str, kind: Any) -> Any:
    origin, inner = typing.get_origin(kind), typing.get_args(kind)
    if origin in (typing.Union, types.UnionType):
        return _first(value, inner)
    if origin is typing.Literal:
        return {str(option): option for option in inner}[str(value)]
    if kind is type(None):
        return {"none": None}[value.lower()]
    if kind is bool:
        return {"true": True, "1": True, "yes": True, "false": False, "0": False, "no": False}[value.lower()]
    if origin in (tuple, list):
        items = ast.literal_eval(value) if value[:1] in "([" else [part.strip() for part in value.split(",")]
        kinds = inner if origin is tuple and inner[-1] is not Ellipsis else inner[:1] * len(items)
        return origin(_coerce(str(item), item_kind) for item, item_kind in zip(items, kinds, strict=True))
    return kind(value)


def _first(value: str, kinds: tuple[Any, ...]) -> Any:
    """The value as the first of ``kinds`` that takes it; None before the others, since str takes anything."""
    for kind in sorted(kinds, key=lambda k: (k is not type(None), k is str)):
        try:
            return _coerce(value, kind)
        except (ValueError, KeyError, SyntaxError, TypeError):
            continue
    raise ValueError(value)


def as_plain(config: Any) -> Mapping[str, Any]:
    """The fields of ``config`` as they come back from JSON (tuples are lists), for storing and comparing."""
    return {item.name: _plain(getattr(config, item.name)) for item in fields(config)}


def _plain(value: Any) -> Any:
    if isinstance(value, (tuple, list)):
        return [_plain(item) for item in value]
    return value if isinstance(value, (str, int, float, bool, type(None))) else str(value)
