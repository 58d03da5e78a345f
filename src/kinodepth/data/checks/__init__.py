"""What would keep a method from learning anything, or anything right, from a recording: in plain sentences.

``check(sequence)`` takes seconds; long recordings are sampled. Lengths are measured with the shorter image side at 160
pixels, so that a threshold means the same on every camera.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from kinodepth.types import Sequence

Severity = Literal["fatal", "warning", "note"]


@dataclass(frozen=True)
class Finding:
    """One diagnosis: ``fatal`` means that training on camera motion cannot work. ``message`` is one sentence."""

    severity: Severity
    kind: str
    message: str


def check(sequence: Sequence) -> list[Finding]:
    """What is wrong with ``sequence``, the worst first; nothing if it is fine."""
    from kinodepth.data.checks import content, geometry, motion, poses
    from kinodepth.data.checks.survey import survey

    seen = survey(sequence)
    found = [*content.look(sequence, seen), *motion.look(sequence, seen), *geometry.look(sequence, seen)]
    found += poses.look(sequence)
    return sorted(found, key=lambda finding: ("fatal", "warning", "note").index(finding.severity))
