"""Loops over pixels for a processor, compiled when they are first called: what tensor operations do many times slower.

The machine code is kept beside the source (or in the user's cache folder), so that one run pays for it.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

import numba
import torch

# Sums in any order, a multiplication and an addition as one; NaN and infinity keep their meaning.
FREEDOM = {"contract", "reassoc", "nsz", "arcp"}


def compiled(function: Callable[..., Any]) -> Callable[..., Any]:
    """``function`` of NumPy arrays and numbers as machine code, which other threads may run at the same time.

    Indices should be unsigned: Python's meaning of negative ones keeps a loop from being vectorised. What is kept is
    made anew when the file of ``function`` changes, so a loop takes constants of other files as arguments.
    """
    jit = partial(numba.njit, nogil=True, fastmath=FREEDOM, error_model="numpy")
    try:
        return jit(cache=True)(function)
    except RuntimeError:  # there is no folder to keep it in: each process compiles anew
        return jit()(function)


def in_bands(run: Callable[[int, int], object], count: int) -> None:
    """Call ``run(first, last)`` for half-open bands of ``range(count)``, one for each thread that PyTorch may use."""
    bands = min(torch.get_num_threads(), count)
    if bands < 2:
        run(0, count)
        return
    edges = [count * i // bands for i in range(bands + 1)]
    with ThreadPoolExecutor(bands) as pool:
        list(pool.map(run, edges[:-1], edges[1:]))  # a list, because that is what raises the threads' errors
