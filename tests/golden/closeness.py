"""The comparison that recorded numbers ask for."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch


def assert_close(actual: Any, expected: Any, rtol: float = 0.0, atol: float = 0.0, share: float = 1.0) -> None:
    """Ask at least ``share`` of the entries to agree within ``atol + rtol |expected|``."""
    actual = np.asarray(actual.detach().cpu() if isinstance(actual, torch.Tensor) else actual, np.float64)
    expected = np.asarray(expected, np.float64)
    if share == 1:
        np.testing.assert_allclose(actual, expected, rtol=rtol, atol=atol)
        return
    assert actual.shape == expected.shape
    agree = np.abs(actual - expected) <= atol + rtol * np.abs(expected)
    assert agree.mean() >= share, f"only {agree.mean():.5%} agree, expected {share:.5%}"
