"""Which samples a training step sees. The batch of step k, augmentation included, is a pure function of (seed, k):
sample j of the joint batch is drawn with its own generator, and process r takes its contiguous share. So neither the
number of processes, nor of loader workers, nor an interruption changes a number; resuming needs no loader state.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset

from kinodepth.data.clips import collate, read_clip
from kinodepth.methods.base import Stage
from kinodepth.types import Clip, InputError, Sequence

Window = tuple[int, tuple[int, ...]]  # sequence number, frame indices


def seed_of(seed: int, *place: int) -> int:
    """A 64-bit seed for ``place``, e.g. (step,) or (step, sample); different places give independent draws."""
    return int(np.random.SeedSequence([seed, len(place), *place]).generate_state(1, np.uint64)[0])


def generator(seed: int, *place: int) -> torch.Generator:
    """The random generator (CPU) of ``place`` in the run of ``seed``."""
    return torch.Generator().manual_seed(seed_of(seed, *place))


@dataclass(frozen=True)
class Share:
    """The part of each joint ``batch`` that one process works on, in ``accumulate`` portions one after the other."""

    batch: int
    accumulate: int = 1
    processes: int = 1
    rank: int = 0

    def __post_init__(self) -> None:
        if self.batch % (self.accumulate * self.processes):
            raise InputError(
                f"a batch of {self.batch} cannot be shared by {self.processes} processes x {self.accumulate} "
                "accumulated portions; expected a multiple of their product; change --batch or --accumulate"
            )

    def samples(self, portion: int) -> range:
        """Places in the joint batch of this process's samples of ``portion``."""
        each = self.batch // (self.accumulate * self.processes)
        first = (portion * self.processes + self.rank) * each
        return range(first, first + each)


def windows(sequences: list[Sequence], stage: Stage) -> list[Window]:
    """All training windows of ``sequences``; none crosses the end of a recording."""
    return [(number, window) for number, sequence in enumerate(sequences) for window in stage.clips(sequence)]


@dataclass(frozen=True)
class Batches(Dataset[Clip]):
    """Item ``step * accumulate + portion`` is this process's share of that portion of the batch of ``step``."""

    sequences: list[Sequence]
    windows: list[Window]
    stage: Stage
    share: Share
    seed: int

    def __getitem__(self, index: int) -> Clip:
        step, portion = divmod(index, self.share.accumulate)
        return collate([self.sample(step, place) for place in self.share.samples(portion)])

    def sample(self, step: int, place: int) -> Clip:
        """Sample ``place`` of the joint batch of ``step``: a window drawn with replacement, augmented."""
        draws = generator(self.seed, step, place)
        number, frames = self.windows[int(torch.randint(len(self.windows), (), generator=draws))]
        clip = read_clip(self.sequences[number], frames, self.stage.target, self.stage.fields)
        return self.stage.augment(clip, draws)


def load(batches: Batches, first: int, last: int, workers: int | None, pin: bool) -> Iterator[Clip]:
    """The portions of steps ``first`` to ``last`` - 1 in order, read ahead by ``workers`` processes (None: chosen)."""
    workers = default_workers() if workers is None else workers
    portions = batches.share.accumulate
    loader = DataLoader(
        batches,
        batch_size=None,
        sampler=range(first * portions, last * portions),
        num_workers=workers,
        pin_memory=pin,
        worker_init_fn=_leave_signals_to_parent,
        multiprocessing_context="spawn" if workers else None,  # forked, they inherit the locks of threads that are gone
    )
    return _in_one_sentence(iter(loader))


def _in_one_sentence(portions: Iterator[Clip]) -> Iterator[Clip]:
    """``portions``; an ``InputError`` of a loader process without that process's traceback."""
    try:
        yield from portions
    except InputError as error:
        sentence = str(error).strip().splitlines()[-1]
        raise InputError(sentence.split(f"{InputError.__name__}: ", 1)[-1]) from None


def default_workers() -> int:
    """Loader processes: one per spare core, from one to four."""
    return max(1, min(4, (os.cpu_count() or 1) - 1))


def _leave_signals_to_parent(worker: int) -> None:
    """Ctrl-C and a scheduler's SIGTERM reach the whole process group; the loop ends its workers when it is done."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
