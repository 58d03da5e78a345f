"""Settings typed by their field, from defaults, preset and overrides."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Literal

import pytest
from tiny import TOY

from kinodepth.engine.settings import as_plain, parse, resolve
from kinodepth.types import InputError


@dataclass(frozen=True)
class Config:
    rate: float = 1e-4
    layers: int = 18
    flip: bool = True
    kind: Literal["a", "b"] = "a"
    depth: Literal[18, 50] = 18
    limit: float | None = None
    size: tuple[int, int] = (2, 3)
    planes: tuple[float, ...] = ()
    label: str | None = None


METHOD = replace(TOY, config=Config, presets={"wide": {"size": (4, 5), "layers": 50}})


@pytest.mark.parametrize(
    ("override", "value"),
    [
        ("rate=5e-5", 5e-5),
        ("layers=34", 34),
        ("flip=no", False),
        ("flip=True", True),
        ("kind=b", "b"),
        ("depth=50", 50),
        ("limit=2", 2.0),
        ("limit=none", None),
        ("size=256,832", (256, 832)),
        ("size=(256, 832)", (256, 832)),
        ("planes=1,2.5,4", (1.0, 2.5, 4.0)),
        ("label=a=b", "a=b"),
    ],
)
def test_an_override_has_the_type_of_its_field(override: str, value: Any) -> None:
    found = getattr(resolve(METHOD, None, [override]), override.split("=")[0])
    assert found == value
    assert type(found) is type(value)


def test_overrides_win_over_the_preset_and_it_over_the_defaults() -> None:
    config = resolve(METHOD, "wide", ["layers=101"])
    assert (config.rate, config.size, config.layers) == (1e-4, (4, 5), 101)
    assert as_plain(config)["size"] == [4, 5]


@pytest.mark.parametrize(
    ("preset", "override", "message"),
    [
        (None, "layer=3", "did you mean layers"),
        (None, "layers=three", "expected a value of type int"),
        (None, "layers=1.5", "expected a value of type int"),
        (None, "flip=perhaps", "expected a value of type bool"),
        (None, "kind=c", "kind=c; expected one of a, b"),
        (None, "depth=180", "depth=180; did you mean 18"),
        (None, "size=1,2,3", "expected a value of type"),
        (None, "layers", "expected key=value"),
        ("wild", "layers=3", "did you mean wide"),
    ],
)
def test_a_wrong_override_is_one_sentence(preset: str | None, override: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        resolve(METHOD, preset, [override])


def test_text_wins_last_in_a_union() -> None:
    assert parse("x", "3", str | int) == 3
    assert parse("x", "three", int | str) == "three"
