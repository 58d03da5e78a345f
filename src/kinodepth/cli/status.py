"""``kinodepth status``: where a training run stands."""

from __future__ import annotations

EXAMPLES = """
kinodepth status runs/mining_supervision-drive
"""


def run(run: str) -> int:
    """Show the stages of a run, what they left on disk and how long the rest will take.

    Args:
        run: the run folder
    """
    import math
    from pathlib import Path

    from rich.console import Console
    from rich.table import Table

    from kinodepth.engine.status import stage_status

    stages = stage_status(Path(run))
    table = Table("stage", "steps", "left for later stages", "time left")
    for stage in stages:
        size = "" if stage.size is None else f"{stage.size / 1e6:.1f} MB"
        table.add_row(stage.name, f"{stage.done} of {stage.steps}", size, _duration(stage.left))
    console = Console()
    console.print(table)
    total = sum(stage.left for stage in stages)
    console.print("finished" if total == 0 else f"about {_duration(total)} of training left")
    if math.isnan(total):
        console.print("no step is logged yet")
    return 0


def _duration(seconds: float) -> str:
    import math

    if math.isnan(seconds):
        return "not known yet"
    minutes = seconds / 60
    return f"{seconds:.0f} s" if minutes < 2 else f"{minutes:.0f} min" if minutes < 120 else f"{minutes / 60:.1f} h"
