"""The stages of a method one after the other: which steps, which parts train, with which optimiser."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import nn

from kinodepth.methods.base import Stage
from kinodepth.types import InputError, Sequence


@dataclass(frozen=True)
class Planned:
    """A stage that starts after ``first`` steps of the run and ends after ``last``."""

    stage: Stage
    first: int
    last: int


def plan_stages(stages: list[Stage], steps: int | None, batch: int | None) -> list[Planned]:
    """The stages one after the other, with ``steps`` and ``batch`` in place of their own."""
    total = sum(stage.steps for stage in stages)
    factor = 1.0 if steps is None else steps / total
    plan: list[Planned] = []
    done = 0
    for stage in stages:
        done += stage.steps
        first, last = plan[-1].last if plan else 0, round(done * factor)
        sized = replace(stage, steps=last - first, batch_size=batch or stage.batch_size)
        plan.append(Planned(sized, first, last))
    return plan


def check_fields(stages: list[Stage], sequences: list[Sequence]) -> None:
    """Raise ``InputError`` naming what a stage consumes that no recording has and no earlier stage leaves."""
    for sequence in sequences:
        known = set(sequence.provides)
        for stage in stages:
            if missing := sorted(stage.consumes - known):
                raise InputError(
                    f"{sequence.name} has no {', '.join(missing)} for every frame, which stage {stage.name} needs; "
                    "expected it in the recording; add it, or choose settings that do without"
                )
            known |= set(stage.produces)


def set_modes(model: nn.Module, stage: Stage) -> None:
    """Let the parts of ``stage`` train (all, if it names none); the others are frozen in eval mode."""
    model.train()
    for name, child in model.named_children():
        trains = not stage.parts or name in stage.parts
        child.train(trains).requires_grad_(trains)


def start_stage(model: nn.Module, stage: Stage, state: Any) -> tuple[torch.optim.Optimizer, Any]:
    """The optimiser of the trainable parameters and its schedule (or None), as ``state`` left them if given."""
    optimizer = stage.optimizer([p for p in model.parameters() if p.requires_grad])
    schedule = stage.schedule(optimizer, stage.steps) if stage.schedule else None
    if state is not None:
        optimizer.load_state_dict(state["optimizer"])
        if schedule is not None:
            schedule.load_state_dict(state["schedule"])
    return optimizer, schedule
