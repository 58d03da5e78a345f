"""One self-contained HTML page: pictures, charts and videos are inside the file, nothing is fetched or executed.

``page(title, [Section("Loss", [paragraph("..."), chart({...})]), ...])`` returns the text of the file. The block
functions (``paragraph``, ``table``, ``facts``, ``picture``, ``gallery``, ``chart``, ``video``) escape their text.
"""

from __future__ import annotations

import base64
import hashlib
import io
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from html import escape
from typing import Any

import matplotlib
import numpy as np
from cycler import cycler
from matplotlib.figure import Figure
from PIL import Image

from kinodepth._version import __version__

_STYLE = """
:root{color-scheme:light dark;--bg:#f6f7f9;--card:#fff;--text:#1b1f24;--soft:#5d6673;--line:#dfe3e8;--accent:#1766c2}
@media(prefers-color-scheme:dark){:root{--bg:#14171b;--card:#1d2126;--text:#e6e9ed;--soft:#9aa4b0;--line:#333a42;
--accent:#6cb2ff}}
*{box-sizing:border-box}
body{margin:0;background:var(--bg);color:var(--text);font:15px/1.5 system-ui,-apple-system,"Segoe UI",sans-serif}
main{max-width:1120px;margin:0 auto;padding:28px 20px 48px}
h1{font-size:26px;margin:0 0 2px;letter-spacing:-.01em}h2{font-size:18px;margin:0 0 12px}
p{margin:0 0 12px;max-width:80ch}.soft{color:var(--soft)}
section{background:var(--card);border:1px solid var(--line);border-radius:10px;padding:18px 20px;margin:18px 0}
.wide{overflow-x:auto;margin:0 0 12px}table{border-collapse:collapse;font-variant-numeric:tabular-nums}
caption{text-align:left;color:var(--soft);padding-bottom:6px}
th,td{padding:5px 14px 5px 0;text-align:left;border-bottom:1px solid var(--line);white-space:nowrap}
th{color:var(--soft);font-weight:600}td.n,th.n{text-align:right}
dl{display:grid;grid-template-columns:max-content 1fr;gap:4px 18px;margin:0 0 12px}dt{color:var(--soft)}
dd{margin:0;overflow-wrap:anywhere}
figure{margin:0 0 14px}figcaption{color:var(--soft);font-size:13px;margin-top:4px}
img,video{max-width:100%;height:auto;border-radius:6px;display:block}
.gallery{display:grid;grid-template-columns:repeat(auto-fill,minmax(min(420px,100%),1fr));gap:16px}
.gallery figure{margin:0}.gallery img{width:100%}
.charts{display:flex;flex-wrap:wrap;gap:14px}svg{max-width:100%;height:auto}footer{color:var(--soft);font-size:13px}
"""
_INK = "#010203"  # drawn by matplotlib, then replaced by the text colour of the page, light or dark
_COLORS = cycler(color=["#2f7ed8", "#e4672a", "#2ca25f", "#b0489b", "#c29a00", "#5f7f8f", "#8c6bb1"])


@dataclass(frozen=True)
class Section:
    """A titled card of the page; ``blocks`` are HTML fragments from the functions of this module."""

    title: str
    blocks: Sequence[str] = field(default_factory=list)


def page(title: str, sections: Iterable[Section], subtitle: str = "") -> str:
    """The whole HTML file as text."""
    cards = "\n".join(f"<section><h2>{escape(s.title)}</h2>{''.join(s.blocks)}</section>" for s in sections)
    under = f'<p class="soft">{escape(subtitle)}</p>' if subtitle else ""
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width,initial-scale=1">'
        f"<title>{escape(title)}</title><style>{_STYLE}</style></head>\n<body><main><h1>{escape(title)}</h1>{under}\n"
        f"{cards}\n<footer>kinodepth {__version__}</footer></main></body></html>\n"
    )


def paragraph(text: str) -> str:
    """Running text."""
    return f"<p>{escape(text)}</p>"


def table(header: Sequence[str], rows: Iterable[Sequence[Any]], caption: str = "") -> str:
    """A table; columns of numbers are right-aligned, floats shown with four significant digits."""
    body = [list(row) for row in rows]
    right = [bool(body) and all(_is_number(row[i]) or row[i] is None for row in body) for i in range(len(header))]
    head = "".join(_cell("th", name, n) for name, n in zip(header, right))
    lines = "".join("<tr>" + "".join(_cell("td", v, n) for v, n in zip(row, right)) + "</tr>" for row in body)
    title = f"<caption>{escape(caption)}</caption>" if caption else ""
    return f'<div class="wide"><table>{title}<thead><tr>{head}</tr></thead><tbody>{lines}</tbody></table></div>'


def facts(values: Mapping[str, Any]) -> str:
    """A list of names and values, for metadata and configuration."""
    rows = "".join(f"<dt>{escape(str(k))}</dt><dd>{escape(format_value(v))}</dd>" for k, v in values.items())
    return f"<dl>{rows}</dl>"


def picture(image: np.ndarray | bytes, caption: str = "", lossless: bool = False) -> str:
    """A picture: H x W x 3 (or H x W) uint8, embedded as JPEG or lossless PNG; or the bytes of such a file."""
    data = image if isinstance(image, bytes) else encode_picture(image, lossless)
    kind = "png" if data.startswith(b"\x89PNG") else "jpeg"
    alt = escape(caption or "picture", quote=True)
    return _figure(f'<img alt="{alt}" src="data:image/{kind};base64,{_base64(data)}">', caption)


def gallery(pictures: Iterable[tuple[str, np.ndarray | bytes]]) -> str:
    """Captioned pictures in a grid."""
    return '<div class="gallery">' + "".join(picture(image, caption) for caption, image in pictures) + "</div>"


def video(data: bytes, caption: str = "") -> str:
    """A small mp4, embedded."""
    return _figure(f'<video controls loop muted src="data:video/mp4;base64,{_base64(data)}"></video>', caption)


def chart(
    curves: Mapping[str, tuple[Sequence[float], Sequence[float]]],
    x_label: str = "step",
    y_label: str = "",
    title: str = "",
    log_y: bool = False,
    size: tuple[float, float] = (5.2, 2.9),
) -> str:
    """A line chart as inline SVG: curves by name, each (x values, y values); ``size`` in inches at 72 dpi."""
    settings: dict[Any, Any] = {
        "svg.fonttype": "none",
        "font.family": "sans-serif",
        "font.size": 9,
        "axes.prop_cycle": _COLORS,
    }
    inked = ("text.color", "axes.edgecolor", "axes.labelcolor", "xtick.color", "ytick.color")
    settings |= dict.fromkeys(inked, _INK)
    salt = hashlib.sha256(repr((title, sorted(curves), [len(c[0]) for c in curves.values()])).encode()).hexdigest()
    with matplotlib.rc_context(settings | {"svg.hashsalt": salt}):
        figure = Figure(figsize=size, layout="constrained")
        axes = figure.add_subplot()
        for name, (x, y) in curves.items():
            axes.plot(x, y, label=name, linewidth=1.4, marker="o" if len(x) < 12 else None, markersize=3)
        axes.set(xlabel=x_label, ylabel=y_label, title=title, yscale="log" if log_y else "linear")
        axes.grid(alpha=0.25, color="#888888")
        axes.spines[["top", "right"]].set_visible(False)
        if len(curves) > 1:
            axes.legend(frameon=False)
        file = io.StringIO()
        figure.savefig(file, format="svg", transparent=True, metadata={"Date": None, "Creator": None})
    return _inline_svg(file.getvalue(), title or y_label or "chart")


def charts(*drawings: str) -> str:
    """Charts side by side where there is room."""
    return f'<div class="charts">{"".join(drawings)}</div>'


def encode_picture(image: np.ndarray, lossless: bool = False) -> bytes:
    """H x W x 3 or H x W uint8 as the bytes of a JPEG (quality 88) or PNG."""
    file = io.BytesIO()
    picture = Image.fromarray(np.ascontiguousarray(image))
    picture.save(file, "PNG") if lossless else picture.save(file, "JPEG", quality=88)
    return file.getvalue()


def format_value(value: Any) -> str:
    """A value for a human: four significant digits, lists joined, nothing as a dash."""
    if value is None or (isinstance(value, (str, list, tuple, Mapping)) and not value):
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, (float, np.floating)):
        number = float(value)
        return f"{number:,.0f}" if 1e4 <= abs(number) < 1e15 else f"{number:.4g}"
    if isinstance(value, (int, np.integer)):
        return f"{value:,}"
    if isinstance(value, Mapping):
        return ", ".join(f"{k} = {format_value(v)}" for k, v in value.items())
    if isinstance(value, (list, tuple)):
        return ", ".join(format_value(v) for v in value)
    return str(value)


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float, np.integer, np.floating)) and not isinstance(value, bool)


def _cell(tag: str, value: Any, number: bool) -> str:
    css = ' class="n"' if number else ""
    return f"<{tag}{css}>{escape(format_value(value) if tag == 'td' else str(value))}</{tag}>"


def _figure(content: str, caption: str) -> str:
    below = f"<figcaption>{escape(caption)}</figcaption>" if caption else ""
    return f"<figure>{content}{below}</figure>"


def _base64(data: bytes) -> str:
    return base64.b64encode(data).decode("ascii")


def _inline_svg(text: str, label: str) -> str:
    text = text[text.index("<svg") :]
    text = re.sub(r"<metadata>.*?</metadata>\s*", "", text, flags=re.DOTALL)
    text = re.sub(r"<style[^>]*>.*?</style>", "", text, flags=re.DOTALL)  # would style the whole page
    text = text.replace(_INK, "currentColor")
    return text.replace("<svg", f'<svg role="img" aria-label="{escape(label, quote=True)}"', 1)
