"""The method contract: what a folder below ``methods/`` (or an entry point) offers to the rest of kinodepth.

A method folder's ``__init__`` defines ``METHODS``, a dict from public name to ``Method``. Everything heavy is
imported ``later``, so that listing the methods stays cheap.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from kinodepth.types import Clip, Frame, Prediction, Sequence


@dataclass(frozen=True)
class Requires:
    """Sequence fields (``Sequence.provides``) that must be there, besides the images. Of these, single frames may lack
    what ``gaps`` names, and the method takes care of them."""

    training: frozenset[str] = frozenset()
    inference: frozenset[str] = frozenset()
    gaps: frozenset[str] = frozenset()

    def missing(self, needed: frozenset[str], sequence: Sequence) -> list[str]:
        """What ``sequence`` lacks of ``needed``."""
        return sorted(needed - sequence.provides - (self.gaps & sequence.provides_somewhere))


@dataclass(frozen=True)
class Stage:
    """One stretch of training.

    ``clips(sequence)`` lists the training windows as tuples of frame indices, all of the same length;
    ``target`` is the place of the target frame in such a tuple. ``augment(clip, generator)`` turns a window as
    read (B = 1) into network input; all its draws come from ``generator``. ``prepare(clip)`` does the same
    for validation, without draws. ``fields`` are read besides the images. ``parts`` are the names of the direct
    children of the model that train, the others are frozen in eval mode. ``optimizer`` makes the optimiser of the
    trainable parameters and ``schedule(optimizer, steps)``, if any, its learning-rate schedule (stepped once per step)
    for as many steps as the stage has in this run; it may not go by the settings, which the run can shorten or stretch.
    ``done`` counts the steps of the stage before this one; the engine sets it for the objective, so that a weight can
    follow the steps. Processes that read data get the stage pickled: its functions are functions of a module or
    ``partial`` of such, no lambdas.

    ``start(model)`` is called before the first step, e.g. to copy weights. ``make(model, sequence)`` is called when the
    steps are done: it yields (frame name, maps by field) and what it yields is a field of the recordings of all later
    stages; ``produces`` names these fields with their codec (``data.shards``), ``consumes`` those that must be there.
    """

    name: str
    steps: int
    batch_size: int
    clips: Callable[[Sequence], list[tuple[int, ...]]]
    augment: Callable[[Clip, torch.Generator], Clip]
    prepare: Callable[[Clip], Clip]
    optimizer: Callable[[Iterable[nn.Parameter]], torch.optim.Optimizer]
    target: int = 0
    fields: frozenset[str] = frozenset()
    parts: tuple[str, ...] = ()
    schedule: Callable[[torch.optim.Optimizer, int], torch.optim.lr_scheduler.LRScheduler] | None = None
    consumes: frozenset[str] = frozenset()
    produces: Mapping[str, str] = field(default_factory=dict)
    start: Callable[[nn.Module], None] | None = None
    make: Callable[[nn.Module, Sequence], Iterable[tuple[str, Mapping[str, Tensor]]]] | None = None
    done: int = 0


@dataclass(frozen=True)
class Objective:
    """Loss ``terms`` (unweighted scalars by name), their ``weights``, scalars and images worth logging."""

    terms: Mapping[str, Tensor]
    weights: Mapping[str, float]
    scalars: Mapping[str, Tensor] = field(default_factory=dict)
    images: Mapping[str, Tensor] = field(default_factory=dict)

    @property
    def total(self) -> Tensor:
        parts = [self.weights[name] * term for name, term in self.terms.items() if self.weights[name]]
        return torch.stack(parts).sum() if parts else torch.zeros(())


class Predictor(Protocol):
    """Depth one frame at a time. State is explicit: a predictor itself never changes between steps."""

    def init(self) -> Any: ...

    def step(self, frame: Frame, state: Any) -> tuple[Prediction | None, Any]: ...


@dataclass(frozen=True)
class Conversion:
    """A published checkpoint in our names: how it is configured and what did not match. ``surplus`` are the keys
    that the published files are known to carry without use (e.g. an ImageNet classifier)."""

    config: Any
    state_dict: Mapping[str, Tensor]
    missing: tuple[str, ...] = ()
    unexpected: tuple[str, ...] = ()
    surplus: tuple[str, ...] = ()


def later(module: str, name: str) -> Callable[..., Any]:
    """Function ``name`` of ``module``, which is imported when it is called."""
    return partial(_call, module, name)


def _call(module: str, name: str, *arguments: Any, **options: Any) -> Any:
    return getattr(importlib.import_module(module), name)(*arguments, **options)


@dataclass(frozen=True)
class Method:
    """One depth method. ``config`` is a dataclass type whose defaults are the paper's; ``presets`` maps a name to
    overrides of its fields; ``build(config)`` returns the networks as one module that keeps ``config`` as an
    attribute; ``objective(model, clip, stage, generator)`` computes the losses of one batch (what it draws from the
    generator differs from process to process and from portion to portion); ``validate(model, clip)`` is optional: a
    depth-free validation loss. ``adapt(config, sequences)`` is optional: settings that the training data decide, and
    sentences that say so. ``card`` is the path of CARD.md, ``shipped`` that of weights we trained, if there are.
    ``outputs`` are what can be predicted besides depth, each with the fields that it needs of a frame: a method that
    has any takes the wanted names as second argument of ``predictor``. Names: ``flow``, ``motion``, ``mask``
    (maps in ``Prediction.outputs``), ``poses`` (``cam_to_world``). ``one_picture``: a method that needs poses sees
    depth in a frame without one too, by which poses in another unit can be scaled.
    """

    name: str
    summary: str
    config: type
    presets: Mapping[str, Mapping[str, Any]]
    requires: Requires
    build: Callable[[Any], nn.Module]
    stages: Callable[[Any], list[Stage]]
    objective: Callable[[nn.Module, Clip, Stage, torch.Generator], Objective]
    predictor: Callable[..., Predictor]
    convert: Callable[[Path], Conversion]
    card: Path
    validate: Callable[[nn.Module, Clip], Tensor] | None = None
    shipped: Path | None = None
    outputs: Mapping[str, frozenset[str]] = field(default_factory=dict)
    adapt: Callable[[Any, list[Sequence]], tuple[Any, list[str]]] | None = None
    one_picture: bool = False
