"""What stops a run in time: values that are not finite, memory or disk that ran out, and a request to stop."""

from __future__ import annotations

import errno
import json
import math
import os
import re
import signal
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import asdict
from pathlib import Path
from types import FrameType, TracebackType
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import save as to_bytes
from torch import Tensor, nn

from kinodepth.data.files import atomic
from kinodepth.types import Clip, InputError

_OUTPUT_ERRORS = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EACCES, errno.EPERM, errno.EROFS)


class Guard:
    """Stops at the first value that is not finite, names it and saves its batch.

    On an accelerator the values of a batch are looked at when the next one is under way, so that the device never
    waits; ``settle`` looks at the last ones and is called before anything is saved.
    """

    def __init__(self, run: Path, lag: bool, rank: int = 0) -> None:
        self.path = run / ("bad_batch.safetensors" if rank == 0 else f"bad_batch_{rank}.safetensors")
        self.lag = lag
        self.pending: tuple[int, Clip, Mapping[str, Tensor]] | None = None

    def watch(self, step: int, clip: Clip, values: Mapping[str, Tensor]) -> None:
        """Check the scalars ``values`` that training ``step`` computed from ``clip``."""
        if self.lag:
            self.settle()
        self.pending = (step, clip, values)
        if not self.lag:
            self.settle()

    def settle(self) -> None:
        """Check what was not checked yet. Raises ``InputError`` that names every bad value."""
        if self.pending is None:
            return
        (step, clip, values), self.pending = self.pending, None
        numbers = torch.stack([value.float() for value in values.values()]).tolist()
        bad = {name: number for name, number in zip(values, numbers) if not math.isfinite(number)}
        if bad:
            listed = ", ".join(f"{name} = {number}" for name, number in bad.items())
            save_batch(self.path, clip, {"step": step, **{name: str(number) for name, number in bad.items()}})
            raise InputError(
                f"training stopped at step {step}: {listed}; expected finite values; the batch is saved as "
                f"{self.path} and the last checkpoint is from before; look at these images, or lower the learning rate"
            )


def save_batch(path: Path, clip: Clip, note: Mapping[str, Any]) -> None:
    """Write the tensors of ``clip`` by name, with its cameras, frame names and ``note`` as metadata."""
    tensors = {"images": clip.images, "cam_to_world": clip.cam_to_world, "depth": clip.depth}
    tensors |= {"prior_depth": clip.prior_depth, "intrinsics": clip.intrinsics}
    tensors |= {f"mask.{name}": mask for name, mask in clip.masks.items()}
    tensors |= {f"extra.{name}": value for name, value in clip.extra.items()}
    cameras = [asdict(camera) for camera in clip.cameras]
    metadata = {"clip": json.dumps({"target": clip.target, "names": clip.names, "cameras": cameras, **note})}
    present = {name: value.detach().cpu().contiguous() for name, value in tensors.items() if value is not None}
    with atomic(path) as temporary:
        temporary.write_bytes(to_bytes(present, metadata))


def gradient_norms(model: nn.Module) -> dict[str, Tensor]:
    """The gradient norm of each part that has gradients; it is not finite if one of its gradients is not."""
    gradients = {
        name: [p.grad for p in part.parameters() if p.grad is not None] for name, part in model.named_children()
    }
    return {name: torch.nn.utils.get_total_norm(values) for name, values in gradients.items() if values}


@contextmanager
def explained(run: Path, resume: str, batch: int) -> Iterator[None]:
    """Turn running out of memory or disk inside the block into one sentence; ``resume`` is the command to go on."""
    try:
        yield
    except torch.OutOfMemoryError as error:
        raise InputError(
            f"the device has not enough memory for a batch of {batch}; expected it to fit; use a smaller --batch, "
            "--accumulate 2 (the same batch in two portions) or --precision bf16"
        ) from error
    except (OSError, RuntimeError, SafetensorError) as error:
        reason = _output_problem(error)
        if reason is None:
            raise
        raise InputError(
            f"cannot write to {run}: {reason}; what was written before is intact; make room or allow writing, then "
            f"continue with: {resume}"
        ) from error


def _output_problem(error: Exception) -> str | None:
    if isinstance(error, RuntimeError) and "DefaultCPUAllocator" in str(error):
        raise InputError(
            "the computer has not enough memory for this batch; expected it to fit; use a smaller --batch or "
            "--accumulate 2 (the same batch in two portions)"
        ) from error
    coded = re.search(r"os error (\d+)", str(error)) if isinstance(error, SafetensorError) else None
    number = error.errno if isinstance(error, OSError) else int(coded[1]) if coded else None
    return os.strerror(number) if number in _OUTPUT_ERRORS else None


class Interrupt:
    """Inside the block, Ctrl-C or SIGTERM sets ``asked`` instead of ending the program; a second one ends it."""

    def __init__(self) -> None:
        self.asked = False

    def __enter__(self) -> Interrupt:
        self.previous: dict[int, Any] = {}
        with suppress(ValueError):  # signals belong to the main thread; in another one there is nothing to catch
            self.previous = {number: signal.signal(number, self._ask) for number in (signal.SIGINT, signal.SIGTERM)}
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for number, handler in self.previous.items():
            signal.signal(number, handler)

    def _ask(self, number: int, frame: FrameType | None) -> None:
        if self.asked:
            raise KeyboardInterrupt
        self.asked = True
