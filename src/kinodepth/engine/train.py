"""The training loop: one function over the stages of a method, on ``accelerate`` for devices and processes."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from torch import Tensor, nn

from kinodepth._version import __version__
from kinodepth.data.files import atomic
from kinodepth.engine import artefacts, checkpoint
from kinodepth.engine.batches import Batches, Share, generator, load, seed_of, windows
from kinodepth.engine.guard import Guard, Interrupt, explained, gradient_norms
from kinodepth.engine.log import Log
from kinodepth.engine.processes import choose_precision, gather, networks_in, start_processes
from kinodepth.engine.run import claim, fingerprint, parameter_counts, versions
from kinodepth.engine.settings import as_plain
from kinodepth.engine.stages import Planned, check_fields, plan_stages, set_modes, start_stage
from kinodepth.engine.validation import COLLAPSED, to_colors, validate
from kinodepth.methods.base import Method, Objective, Stage
from kinodepth.types import Clip, InputError, Sequence
from kinodepth.visualization.html import encode_picture

SAVE_AFTER = 600.0  # seconds without a checkpoint, at most


@dataclass(frozen=True)
class Options:
    """How to train, apart from what is trained on what.

    ``steps`` in all (default: the method's; several stages shrink or grow together); ``batch`` samples per step over
    all processes; ``accumulate`` portions each batch is worked through in, to save memory; ``precision`` of the
    networks, auto: bf16 where the device has units for it (losses are always float32); ``clip_norm`` largest gradient
    norm; ``validate_every``, ``save_every``, ``log_every`` in steps; ``validate_frames`` at most. ``command`` is what
    starts this run, for messages.
    """

    steps: int | None = None
    batch: int | None = None
    device: str = "auto"
    precision: str = "auto"
    accumulate: int = 1
    clip_norm: float | None = None
    workers: int | None = None
    seed: int = 0
    resume: bool = False
    validate_every: int | None = None
    save_every: int | None = None
    log_every: int = 10
    validate_frames: int = 40
    command: str = "the same command"

    def __post_init__(self) -> None:
        for name in ("steps", "batch", "accumulate", "validate_every", "save_every", "log_every", "validate_frames"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise InputError(f"--{name.replace('_', '-')} {value} is not usable; expected a whole number from 1 up")
        for name, known in (("device", ("auto", "cpu", "cuda")), ("precision", ("auto", "fp32", "bf16"))):
            if getattr(self, name) not in known:
                raise InputError(f"--{name} {getattr(self, name)} is unknown; expected one of {', '.join(known)}")


@dataclass
class Progress:
    """Where a run stands: steps done, lowest validation value, the last scores, and whether it was asked to stop."""

    step: int = 0
    best: float = math.inf
    scores: dict[str, float] = field(default_factory=dict)
    interrupted: bool = False


@dataclass
class Session:
    """What the steps of a run share."""

    accelerator: Accelerator
    method: Method
    model: nn.Module
    run: Path
    options: Options
    progress: Progress
    log: Log
    guard: Guard
    interrupt: Interrupt
    images: Mapping[str, Tensor] = field(default_factory=dict)
    saved: float = field(default_factory=time.monotonic)

    @property
    def seed(self) -> int:
        return self.options.seed


def train(
    method: Method,
    config: Any,
    training: list[Sequence],
    validation: list[Sequence],
    run: Path,
    options: Options = Options(),
    weights: Mapping[str, Tensor] | None = None,
    note: Mapping[str, Any] | None = None,
) -> Progress:
    """Train ``method`` with ``config`` on windows of ``training`` and leave everything in the folder ``run``.

    ``weights`` is a state dict to start from; ``note`` goes into run.json. Raises ``InputError`` for anything the user
    can put right. Stopped by Ctrl-C it saves a checkpoint; ``options.resume`` continues to the same numbers.
    """
    accelerator = start_processes(options.device, options.accumulate)
    options = replace(options, precision=choose_precision(options.precision, accelerator.device))
    plan = plan_stages(method.stages(config), options.steps, options.batch)
    check_fields([planned.stage for planned in plan], training)
    batch = plan[0].stage.batch_size
    Share(
        batch, options.accumulate, accelerator.num_processes
    )  # refuses what cannot be shared before anything is written
    torch.manual_seed(options.seed)
    model = method.build(config).to(accelerator.device).to(memory_format=torch.channels_last)  # what bf16 kernels like
    if weights is not None:
        model.load_state_dict(weights)
    with explained(run, options.command, batch):
        if accelerator.is_main_process:
            claim(
                run,
                {**describe(method, config, training, validation, plan, options, model), **(note or {})},
                options.resume,
            )
        accelerator.wait_for_everyone()
        state = checkpoint.read(run) if options.resume else None
        if state is not None:
            model.load_state_dict(state["model"])
        progress = Progress(state["step"], state["best"]) if state else Progress()
        log = Log(run, progress.step, plan[-1].last, speaks=accelerator.is_main_process)
        guard = Guard(run, lag=accelerator.device.type != "cpu", rank=accelerator.process_index)
        with log, Interrupt() as interrupt:
            session = Session(accelerator, method, model, run, options, progress, log, guard, interrupt)
            loop(session, plan, training, validation or training, state)
        accelerator.wait_for_everyone()
    return progress


def loop(
    session: Session, plan: list[Planned], training: list[Sequence], validation: list[Sequence], state: Any
) -> None:
    """Go through the stages of ``plan``, from where ``state`` (of a checkpoint, or None) left off."""
    accelerator, options, progress, log = session.accelerator, session.options, session.progress, session.log
    validate_every = options.validate_every or max(1, min(1000, plan[-1].last // 5))
    save_every = options.save_every or validate_every
    given = fingerprint(training)
    for number, planned in enumerate(plan):
        if number:
            training, given = leave(session, plan[number - 1], training, given)
        if progress.step >= planned.last:
            continue
        stage, place = planned.stage, [number, planned.first]
        own = state if state and state["stage"] == place else None
        if stage.start is not None and own is None:
            stage.start(session.model)
        if number and own is None:
            progress.best = math.inf  # parts that now start to train have been at their start before
        set_modes(session.model, stage)
        optimizer, schedule = start_stage(session.model, stage, own)
        module = accelerator.prepare_model(ObjectiveModule(session.method, session.model, stage, options.precision))
        share = Share(stage.batch_size, options.accumulate, accelerator.num_processes, accelerator.process_index)
        found = windows(training, stage)
        if not found:
            raise InputError(
                f"stage {stage.name} finds nothing to train on in {len(training)} recordings; expected at least one "
                "window; give longer recordings, or look at the masks"
            )
        batches = Batches(training, found, stage, share, session.seed)
        portions = load(batches, progress.step, planned.last, options.workers, accelerator.device.type == "cuda")
        while progress.step < planned.last:
            rate = optimizer.param_groups[0]["lr"]
            values = optimise(session, module, portions, share, optimizer, progress.step - planned.first)
            if schedule is not None:
                schedule.step()
            progress.step += 1
            log.advance(progress.step)
            last = progress.step == planned.last
            if last or progress.step % options.log_every == 0:
                log.row(progress.step, stage.name, {**gather(accelerator, values), "learning_rate": rate})
            if last or progress.step % validate_every == 0:
                with log.aside():
                    check_up(session, stage, validation)
            progress.interrupted = asked_to_stop(session)
            overdue = accelerator.is_main_process and time.monotonic() - session.saved > SAVE_AFTER
            if last or progress.interrupted or overdue or progress.step % save_every == 0:
                with log.aside():
                    save(session, place, optimizer, schedule)
            if progress.interrupted:
                return
        accelerator.free_memory()


def leave(session: Session, planned: Planned, training: list[Sequence], given: str) -> tuple[list[Sequence], str]:
    """What the stages after ``planned`` train on, with its key; one process makes what it leaves for them."""
    stage, accelerator = planned.stage, session.accelerator
    is_current = session.progress.step == planned.last
    if stage.make is not None and is_current:
        session.log.say(f"{stage.name}: writing {', '.join(stage.produces)} for the next stages")
    with session.log.aside():
        return artefacts.after(
            stage,
            session.model,
            training,
            session.run,
            given,
            is_current,
            accelerator.is_main_process,
            accelerator.wait_for_everyone,
        )


def optimise(
    session: Session,
    module: nn.Module,
    portions: Iterator[Clip],
    share: Share,
    optimizer: torch.optim.Optimizer,
    done: int,
) -> dict[str, Tensor]:
    """One optimiser step on the next batch, after ``done`` steps of the stage; its values by name, still on the device:
    means over the portions."""
    accelerator, options, step = session.accelerator, session.options, session.progress.step
    torch.manual_seed(seed_of(session.seed, step, 0, accelerator.process_index))  # for dropout and the like
    values: list[dict[str, Tensor]] = []
    for portion in range(options.accumulate):
        clip = session.log.wait(portions).to(accelerator.device)
        draws = generator(session.seed, step, 1, share.samples(portion).start)
        with accelerator.accumulate(module):
            total, objective = module(clip, draws, done)
            accelerator.backward(total)
        terms = {f"loss/{name}": term for name, term in objective.terms.items()} | {"total": total.detach()}
        session.guard.watch(step, clip, terms)
        session.images = objective.images
        values.append(terms | {f"scalars/{name}": value for name, value in objective.scalars.items()})
    norms = gradient_norms(session.model)
    session.guard.watch(step, clip, {f"gradient of {name}": norm for name, norm in norms.items()})
    if options.clip_norm is not None:
        accelerator.clip_grad_norm_(module.parameters(), options.clip_norm)
    optimizer.step()
    optimizer.zero_grad(set_to_none=True)
    means = {name: torch.stack([v[name].float() for v in values]).mean() for name in values[0]}
    return means | {f"gradient_norm/{name}": norm for name, norm in norms.items()}


def check_up(session: Session, stage: Stage, sequences: list[Sequence]) -> None:
    """Validate, store scores and pictures, and keep the weights if they are the best so far."""
    progress, log, step = session.progress, session.log, session.progress.step
    session.guard.settle()
    found = validate(
        session.method, session.model, stage, sequences, session.accelerator.device, session.options.validate_frames
    )
    set_modes(session.model, stage)
    progress.scores = found.scores
    if found.spread < COLLAPSED:
        log.say(
            "the predicted depth is the same everywhere: the training has collapsed; look at the data with "
            "kinodepth check (a camera that stands still or only turns cannot teach depth) or lower the learning rate",
            once="collapse",
        )
    is_best = found.value < progress.best  # never true for NaN
    if not log.speaks:
        progress.best = found.value if is_best else progress.best
        return
    log.store({"step": step, "validation": found.scores, "depth_spread": found.spread})
    log.say(
        f"step {step}: " + " ".join(f"{k} {v:.4f}" for k, v in found.scores.items()) + (" (best)" if is_best else "")
    )
    for index, picture in enumerate(found.pictures):
        path = session.run / "pictures" / f"step_{step:07d}_{index}.png"
        path.parent.mkdir(exist_ok=True)
        with atomic(path) as temporary:
            temporary.write_bytes(encode_picture(picture, lossless=True))
        log.picture(f"validation/{index}", picture, step)
    for name, image in session.images.items():
        log.picture(f"training/{name}", to_colors(image[0]), step)
    if is_best:
        progress.best = found.value
        checkpoint.save_weights_of(session.run, "best", session.method.name, session.model, step)


def save(session: Session, place: list[int], optimizer: torch.optim.Optimizer, schedule: Any) -> None:
    """Write a checkpoint of this moment, unless one of its values was not finite."""
    session.guard.settle()
    session.saved = time.monotonic()
    if session.accelerator.is_main_process:
        state = {"step": session.progress.step, "best": session.progress.best, "stage": place}
        state |= {"optimizer": optimizer.state_dict(), "schedule": schedule and schedule.state_dict()}
        checkpoint.save(session.run, session.method.name, session.model, state)


class ObjectiveModule(nn.Module):
    """The objective as a module: however many networks a method calls, DDP sees one forward per batch."""

    def __init__(self, method: Method, model: nn.Module, stage: Stage, precision: str) -> None:
        super().__init__()
        self.method, self.model, self.stage, self.precision = method, model, stage, precision

    def forward(self, clip: Clip, draws: torch.Generator, done: int) -> tuple[Tensor, Objective]:
        with networks_in(self.precision, self.model, clip.images.device):
            objective = self.method.objective(self.model, clip, replace(self.stage, done=done), draws)
        terms = {name: term.detach() for name, term in objective.terms.items()}
        scalars = {name: value.detach() for name, value in objective.scalars.items()}
        return objective.total, replace(objective, terms=terms, scalars=scalars)


def asked_to_stop(session: Session) -> bool:
    """Whether any process was asked to stop; several processes agree on it at the steps that are logged."""
    accelerator, asked = session.accelerator, session.interrupt.asked
    if accelerator.num_processes == 1:
        return asked
    if session.progress.step % session.options.log_every:
        return False
    return bool(accelerator.reduce(torch.tensor(float(asked), device=accelerator.device)) > 0)


def describe(
    method: Method,
    config: Any,
    training: list[Sequence],
    validation: list[Sequence],
    plan: list[Planned],
    options: Options,
    model: nn.Module,
) -> dict[str, Any]:
    """The content of run.json."""
    return {
        "method": method.name,
        "config": as_plain(config),
        "stages": [{"name": p.stage.name, "first": p.first, "last": p.last} for p in plan],
        "steps": plan[-1].last,
        "batch": plan[0].stage.batch_size,
        "accumulate": options.accumulate,
        "precision": options.precision,
        "clip_norm": options.clip_norm,
        "seed": options.seed,
        "data_fingerprint": fingerprint(training),
        "training": {s.name: len(s) for s in training},
        "validation": {s.name: len(s) for s in validation},
        "parameters": parameter_counts(model),
        "device": str(next(model.parameters()).device),
        "versions": {"kinodepth": __version__, **versions()},
    }
