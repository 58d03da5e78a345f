"""Every command in the pages is one that this version understands."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest

from kinodepth.cli.main import _parser, _spelled_out, commands

ROOT = Path(__file__).resolve().parents[2]


def written(page: Path) -> list[str]:
    """Lines of fenced blocks and table cells that are whole commands."""
    text = page.read_text(encoding="utf-8")
    blocks = [line for block in re.findall(r"```\n(.*?)```", text, re.S) for line in block.splitlines()]
    cells = re.findall(r"\| `(kinodepth \w+ [^`]+)` \|", text)
    return [line.split(" #")[0].strip() for line in blocks if line.startswith("kinodepth ")] + cells


@pytest.mark.parametrize("page", [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))], ids=lambda p: p.stem)
def test_they_parse(page):
    modules = commands()
    for line in written(page):
        words = shlex.split(line)[1:]
        assert _parser(modules).parse_args(_spelled_out(words, modules)).command == words[0]


def test_the_page_for_own_videos_has_commands_to_check():
    assert len(written(ROOT / "docs" / "train_on_your_own_video.md")) >= 14
