"""``kinodepth methods``: what can be trained and run."""

from __future__ import annotations

EXAMPLES = """
kinodepth methods
kinodepth methods --name sc_depth_v1
"""


def run(name: str | None = None) -> int:
    """List the methods, or show one with its card, presets and configuration.

    Args:
        name: show this method in full
    """
    from dataclasses import fields

    from rich.console import Console
    from rich.markdown import Markdown
    from rich.table import Table

    from kinodepth import methods

    console = Console()
    if name is None:
        table = Table("method", "what it is", "presets", "training needs")
        for key in methods.available():
            method = methods.load(key)
            needs = ", ".join(["images", *sorted(method.requires.training)])
            table.add_row(key, method.summary, ", ".join(method.presets), needs)
        console.print(table)
        return 0
    method = methods.load(name)
    console.print(Markdown(method.card.read_text(encoding="utf-8")))
    defaults = method.config()
    table = Table("setting", "default", title="configuration (--set key=value)")
    for item in fields(method.config):
        table.add_row(item.name, repr(getattr(defaults, item.name)))
    console.print(table)
    return 0
