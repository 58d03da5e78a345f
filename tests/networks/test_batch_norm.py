"""Groups equal separate calls; several processes equal one."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import multiprocessing, nn

from kinodepth.networks.batch_norm import BatchNorm2d, batch_groups, join_processes


def net(seed=0):
    torch.manual_seed(seed)
    layers = [nn.Conv2d(3, 5, 3), BatchNorm2d(5), nn.ReLU(), nn.Conv2d(5, 4, 3), BatchNorm2d(4)]
    network = nn.Sequential(*layers).double()
    for layer in (network[1], network[4]):
        nn.init.normal_(layer.weight)
        nn.init.normal_(layer.bias)
    return network


def same(a, b):
    for (name, x), y in zip(a.state_dict().items(), b.state_dict().values()):
        torch.testing.assert_close(x, y, msg=name, rtol=1e-9, atol=1e-12)
    for (name, x), y in zip(a.named_parameters(), b.parameters()):
        torch.testing.assert_close(x.grad, y.grad, msg=name, rtol=1e-9, atol=1e-12)


def test_is_torchs_batch_norm_for_one_group():
    ours, theirs = BatchNorm2d(6), nn.BatchNorm2d(6)
    assert list(ours.state_dict()) == list(theirs.state_dict())
    x = torch.randn(4, 6, 5, 7)
    for _ in range(2):
        assert torch.equal(ours(x), theirs(x))
    assert torch.equal(ours.running_var, theirs.running_var)
    assert torch.equal(ours.eval()(x), theirs.eval()(x))


@pytest.mark.parametrize(("batch", "groups"), [(2, 3), (1, 4), (3, 2)])
@pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last])
def test_groups_equal_separate_calls(batch, groups, memory_format):
    together = net()
    apart = copy.deepcopy(together)
    x = torch.randn(batch, groups, 3, 9, 8, dtype=torch.float64) * torch.arange(1, groups + 1)[:, None, None, None]
    weight = torch.randn(batch, groups, 4, 5, 4, dtype=torch.float64)
    with batch_groups(together, groups):
        y = together(x.flatten(0, 1).contiguous(memory_format=memory_format)).unflatten(0, (batch, groups))
    z = torch.stack([apart(x[:, g]) for g in range(groups)], 1)
    torch.testing.assert_close(y, z)
    (y * weight).sum().backward()
    (z * weight).sum().backward()
    same(together, apart)
    assert int(together[1].num_batches_tracked) == groups
    assert together[1].groups == 1, "outside the block nothing is grouped"


def test_groups_do_not_matter_in_eval_mode():
    network = net().eval()
    x = torch.randn(6, 3, 9, 8, dtype=torch.float64)
    with batch_groups(network, 3):
        grouped = network(x)
    assert torch.equal(grouped, network(x))


def work(rank, folder, groups, network, x, weight):
    torch.set_num_threads(1)
    torch.distributed.init_process_group("gloo", f"file://{folder}/store", rank=rank, world_size=len(x))
    network = copy.deepcopy(network)  # the one that arrives is in memory shared by all processes
    join_processes(network)
    with batch_groups(network, groups):
        (network(x[rank]) * weight[rank]).sum().backward()
    for parameter in network.parameters():
        torch.distributed.all_reduce(parameter.grad)
    gradients = {name: parameter.grad for name, parameter in network.named_parameters()}
    torch.save((network.state_dict(), gradients), folder / f"{rank}.pt")
    torch.distributed.destroy_process_group()


@pytest.mark.parametrize("groups", [1, 2])
def test_two_processes_equal_one_with_the_joint_batch(groups, tmp_path):
    single = net()
    x = torch.randn(2, 2 * groups, 3, 9, 8, dtype=torch.float64)  # process, then samples of all groups
    x[1] *= 3
    weight = torch.randn(2, 2 * groups, 4, 5, 4, dtype=torch.float64)
    multiprocessing.spawn(work, (tmp_path, groups, copy.deepcopy(single), x, weight), nprocs=2)
    with batch_groups(single, groups):
        (single(x.flatten(0, 1)) * weight.flatten(0, 1)).sum().backward()
    for rank in range(2):
        state, gradients = torch.load(tmp_path / f"{rank}.pt", weights_only=True)
        for name, value in single.state_dict().items():
            torch.testing.assert_close(state[name], value, msg=name)
        for name, parameter in single.named_parameters():
            torch.testing.assert_close(gradients[name], parameter.grad, rtol=1e-6, atol=1e-8)
