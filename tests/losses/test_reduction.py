"""The masked mean: alone, and as the joint batch of two processes."""

from __future__ import annotations

import os
from datetime import timedelta
from pathlib import Path

import pytest
import torch
from torch import distributed, nn
from torch.autograd import gradcheck
from torch.nn.parallel import DistributedDataParallel

from kinodepth.losses.reduction import masked_mean, process_mean

THRESHOLDS = (0, 5, 12)  # below, between and above the counts of two processes: the rule must see the joint batch


def test_mean_where_the_mask_is_set():
    values = torch.arange(12.0).view(1, 3, 2, 2)
    mask = torch.tensor([[1, 0], [0, 1]])[None, None]  # over three channels: six values
    assert masked_mean(values, mask).item() == values[mask.bool().expand_as(values)].mean().item()
    assert masked_mean(values, mask.float()).item() == masked_mean(values, mask.bool()).item()


@pytest.mark.parametrize(("more_than", "expected"), [(5, 5.5), (6, 0.0)])
def test_too_few_pixels_are_a_constant_zero_without_gradient(more_than, expected):
    values = torch.arange(12.0).view(1, 3, 2, 2).requires_grad_()
    mean = masked_mean(values, torch.tensor([[1, 0], [0, 1]])[None, None], more_than)
    mean.backward()
    assert mean.item() == expected
    assert (values.grad != 0).any() == (expected != 0)


def test_what_is_masked_cannot_spoil_the_mean():
    values = torch.tensor([1.0, torch.nan, torch.inf, 3.0], requires_grad=True)
    mean = masked_mean(values, torch.tensor([1, 0, 0, 1]))
    mean.backward()
    assert mean.item() == 2
    assert values.grad.tolist() == [0.5, 0, 0, 0.5]
    assert masked_mean(values.detach(), torch.zeros(4)).item() == 0


def test_gradient():
    values = torch.randn(2, 1, 3, 4, dtype=torch.float64, requires_grad=True)
    assert gradcheck(lambda v: masked_mean(v, torch.arange(24).view(2, 1, 3, 4) % 3 == 0), values)


def joint_case() -> tuple[nn.Linear, torch.Tensor, torch.Tensor]:
    """Eight samples whose first half has many valid outputs and whose second half has few."""
    generator = torch.Generator().manual_seed(0)
    model = nn.Linear(3, 2).double()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=generator, dtype=torch.float64))
    share = torch.tensor([0.9] * 4 + [0.2] * 4)[:, None]
    return (
        model,
        torch.randn(8, 3, generator=generator, dtype=torch.float64),
        torch.rand(8, 2, generator=generator) < share,
    )


def _gradients(module: nn.Module, inner: nn.Module, x: torch.Tensor, mask: torch.Tensor, more_than: int) -> dict:
    module.zero_grad()
    mean = masked_mean(module(x).square(), mask, more_than)
    mean.backward()
    return {"mean": mean.detach()} | {name: p.grad.clone() for name, p in inner.named_parameters()}


def _process(rank: int, folder: str) -> None:
    torch.set_num_threads(1)
    distributed.init_process_group(
        "gloo", f"file://{folder}/rendezvous", rank=rank, world_size=2, timeout=timedelta(seconds=60)
    )
    model, x, mask = joint_case()
    parallel, half = DistributedDataParallel(model), slice(4 * rank, 4 * rank + 4)
    results = {str(n): _gradients(parallel, model, x[half], mask[half], n) for n in THRESHOLDS}
    results["average"] = process_mean(torch.tensor([1.0, 4.0]) * (rank + 1))
    if rank == 0:  # the other process does not call: a mean without gradients is the process's own
        with torch.no_grad():
            results["alone"] = masked_mean(model(x[half]).square(), mask[half])
    torch.save(results, f"{folder}/{rank}.pt")
    distributed.barrier()
    distributed.destroy_process_group()


def test_two_processes_have_the_gradient_of_the_joint_batch(tmp_path: Path):
    model, x, mask = joint_case()
    few, many, both = mask[4:].sum(), mask[:4].sum(), mask.sum()
    assert few <= THRESHOLDS[1] < many < both <= THRESHOLDS[2]
    torch.multiprocessing.spawn(_process, (os.fspath(tmp_path),), nprocs=2)
    results = [torch.load(tmp_path / f"{rank}.pt", weights_only=True) for rank in range(2)]
    torch.testing.assert_close(results[0]["alone"], model(x[:4]).square().detach()[mask[:4]].mean())
    assert all(result["average"].tolist() == [1.5, 6.0] for result in results)
    for threshold in THRESHOLDS:
        expected = _gradients(model, model, x, mask, threshold)
        first, second = (result[str(threshold)] for result in results)
        torch.testing.assert_close((first.pop("mean") + second.pop("mean")) / 2, expected.pop("mean"))
        torch.testing.assert_close(first, expected)
        torch.testing.assert_close(second, expected)
