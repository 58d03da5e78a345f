"""Pages hold everything and fetch nothing."""

from __future__ import annotations

import re
from html.parser import HTMLParser

import numpy as np

from kinodepth.visualization import html

VOID = {"meta", "img", "br", "hr", "link", "input"}


class Balance(HTMLParser):
    """Collects attributes and fails on tags that do not close."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.links: list[str] = []
        self.tags: list[str] = []

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.links += [v or "" for k, v in attrs if k in ("src", "href", "xlink:href")]
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.tags.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


def whole_page() -> str:
    picture = np.zeros((8, 12, 3), np.uint8)
    steps = [0, 1, 2]
    return html.page(
        "Title <&>",
        [
            html.Section("Words", [html.paragraph("<script>alert(1)</script>")]),
            html.Section("Numbers", [html.table(["name", "abs_rel"], [["a<b", 0.12345], ["c", None]], "protocol")]),
            html.Section("Facts", [html.facts({"list": [1, 2.5], "nothing": None, "flag": True})]),
            html.Section("Pictures", [html.picture(picture), html.gallery([("one", picture), ("two", picture)])]),
            html.Section("Charts", [html.charts(html.chart({"a": (steps, steps)}), html.chart({"b": (steps, steps)}))]),
            html.Section("Film", [html.video(b"not really")]),
        ],
    )


def test_page_is_well_formed_and_self_contained():
    parser = Balance()
    text = whole_page()
    parser.feed(text)
    assert parser.open == []
    assert all(link.startswith(("data:", "#")) for link in parser.links)
    assert "script" not in parser.tags
    assert not re.search(r"url\(http|@import|<link", text)


def test_text_is_escaped_and_numbers_are_readable():
    text = whole_page()
    assert "<title>Title &lt;&amp;&gt;</title>" in text
    assert "&lt;script&gt;" in text
    assert "0.1235" in text
    assert "1, 2.5" in text


def test_charts_take_the_colour_of_the_page_and_do_not_share_ids():
    steps = [0, 1, 2]
    first, second = html.chart({"a": (steps, steps)}), html.chart({"b": (steps, steps)})
    assert "currentColor" in first
    assert "#010203" not in first
    ids = [set(re.findall(r'<clipPath id="([^"]+)"', text)) for text in (first, second)]
    assert ids[0]
    assert not ids[0] & ids[1]


def test_pictures_survive_losslessly_as_png():
    import io

    from PIL import Image

    picture = np.random.default_rng(0).integers(0, 256, (5, 7, 3), dtype=np.uint8)
    assert (np.asarray(Image.open(io.BytesIO(html.encode_picture(picture, lossless=True)))) == picture).all()
