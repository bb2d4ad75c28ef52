"""Sequences of different length, against numbers by hand; tests/parity has each sample of random networks alone."""

from __future__ import annotations

import copy
import math

import pytest
import torch
from support_networks import Node, Traces
from torch import nn

from snn_core.cells import Cell
from snn_core.functional import (
    explain,
    last_step,
    mean_over_time,
    scan,
    sequence_mask,
    states,
)
from snn_core.layer import (
    ElementWiseRecurrentContainer,
    LinearRecurrentContainer,
    MultiStepContainer,
    SynapseFilter,
)
from snn_core.more.delays import DelayedRecurrentContainer
from snn_core.neuron import IFNode, LINode
from snn_core.surrogate import ATan

F = 4  # features of all inputs


def options(backend):
    return {"surrogate_function": ATan(), "backend": backend}


BACKENDS = ["torch", "auto"]


def test_states_of_a_module_of_ones_own_end_with_their_samples():
    module, x, lengths = Traces(), torch.randn(7, 3, F), [7, 2, 4]
    y = scan(torch.where(sequence_mask(lengths, 7)[..., None], x, math.nan), module, lengths=lengths)
    last = states(module)
    for n, length in enumerate(lengths):
        module.reset()
        assert torch.equal(y[:length, n : n + 1], scan(x[:length, n : n + 1], module))
        assert not y[length:, n].any()
        for key, state in states(module).items():
            assert torch.equal(last[key][n : n + 1], state)


def test_by_hand():
    """Integrate and fire at 1: v = 0.75, then 0.75 + 0.5 fires, then 0.25; the second sample ends after one step."""
    neuron = IFNode(surrogate_function=ATan())
    x = torch.tensor([[0.75, 0.75], [0.5, 8.0], [0.25, -8.0]])[..., None]
    y = scan(x, neuron, lengths=[3, 1])
    assert y[..., 0].tolist() == [[0, 0], [1, 0], [0, 0]]
    assert neuron.v[:, 0].tolist() == [0.25, 0.75]
    neuron.reset()
    x = torch.tensor([[1.0, 0.5], [math.inf, 1.5]])[..., None]
    assert scan(x, neuron, lengths=[1, 2])[..., 0].tolist() == [[1, 0], [0, 1]]
    assert neuron.v[:, 0].tolist() == [0, 0]


@pytest.mark.parametrize("backend", BACKENDS)
def test_nothing_of_the_padding_is_computed(backend):
    """A bias gives an output for an input of 0, and a neuron that drifts fires without input: none of it shows."""
    net = [nn.Linear(F, F), IFNode(**options(backend))]
    nn.init.constant_(net[0].bias, 5.0)
    seen = []
    net[0].register_forward_hook(lambda module, given, y: seen.append(y.numel() // F))
    y = scan(torch.zeros(4, 3, F), *net, backend=backend, lengths=[1, 2, 4])
    assert y.sum((0, 2)).tolist() == [F, 2 * F, 4 * F]
    assert sum(seen) == 7


@pytest.mark.parametrize("backend", BACKENDS)
def test_the_padding_gets_a_gradient_of_0_and_reaches_no_other(backend):
    net = nn.Sequential(nn.Linear(F, 5), LinearRecurrentContainer(IFNode(**options(backend)), 5, 5))
    x = torch.rand(5, 2, F)
    x[3:, 0] = math.nan
    scan(x.requires_grad_(), *net, backend=backend, lengths=[3, 5]).sum().backward()
    assert all(weight.grad.isfinite().all() and weight.grad.any() for weight in net.parameters())
    assert x.grad[:3].any() and not x.grad[3:, 0].any()


def test_batch_normalisation_sees_every_step_but_no_padding():
    x, lengths = torch.randn(5, 3, F, dtype=torch.float64), [5, 2, 3]
    own, norm = sequence_mask(lengths, 5), nn.BatchNorm1d(F).double()
    alone = copy.deepcopy(norm)
    y = scan(torch.where(own[..., None], x, math.nan), norm, lengths=lengths)
    assert torch.equal(y[own], alone(x[own]))
    assert torch.equal(norm.running_mean, alone.running_mean)
    assert norm.num_batches_tracked == 1


def test_lengths_may_be_a_mask():
    x, mask = torch.ones(3, 2, F), torch.tensor([[True, True], [True, False], [False, False]])
    assert torch.equal(scan(x, lengths=mask), scan(x, lengths=[2, 1]))
    assert torch.equal(mean_over_time(x, mask), torch.ones(2, F))
    assert torch.equal(sequence_mask([2, 1], 3), mask)


def test_read_outs_by_hand():
    y = torch.tensor([[1.0, 5.0], [2.0, 7.0], [6.0, math.nan]])[..., None].requires_grad_()
    assert mean_over_time(y, [3, 2])[:, 0].tolist() == [3, 6]
    assert last_step(y, [3, 2])[:, 0].tolist() == [6, 7]
    assert last_step(y, [1, 2])[:, 0].tolist() == [1, 7]
    (grad,) = torch.autograd.grad(mean_over_time(y, [3, 2]).sum(), y)
    assert grad[..., 0].tolist() == [
        [pytest.approx(1 / 3), 0.5],
        [pytest.approx(1 / 3), 0.5],
        [pytest.approx(1 / 3), 0],
    ]
    (grad,) = torch.autograd.grad(last_step(y, [3, 2]).sum(), y)
    assert grad[..., 0].tolist() == [[0, 0], [0, 1], [1, 0]]
    full = torch.rand(4, 3, 2)
    assert torch.equal(mean_over_time(full), full.mean(0))
    assert torch.equal(last_step(full), full[-1])


def test_a_delay_may_be_longer_than_a_sample_but_not_than_the_sequence():
    """The first output comes back after three steps, when the second sample has ended."""
    net = DelayedRecurrentContainer(IFNode(), 1, 1, 3, 3.0)
    with torch.no_grad():
        net.rc.weight.copy_(torch.tensor([[1.0, -5.0]]))
        net.rc.bias.zero_()
    x = torch.tensor([[1.0, 1.0], [1.0, 1.0], [1.0, 9.0], [1.0, 9.0]])[..., None]
    y = scan(x, net, lengths=[4, 2])
    assert y[..., 0].tolist() == [[1, 1], [1, 1], [1, 0], [0, 0]]
    assert net.sub_module.v[:, 0].tolist() == [-4, 0]
    assert net.y_history[..., 0].tolist() == [[0, 1, 1], [1, 1, 0]]
    net.reset()
    with pytest.raises(ValueError, match="max_delay=3"):
        scan(x[:2], net, lengths=[2, 1])


class Exploding(Cell):
    """v[t] = v + v^2 / 2 + x, which overflows after some steps of any positive v."""

    def step(self, x, state):
        v = state[0] + state[0] * state[0] / 2 + x
        return v, (v,)


@pytest.mark.parametrize(
    ("make", "T", "own"),
    [
        (lambda: Node(Exploding), 40, 3),
        (lambda: ElementWiseRecurrentContainer(Node(Exploding), lambda x, y: x + y), 40, 3),
        (lambda: LinearRecurrentContainer(LINode(tau=1.0), 1, 1, bias=False), 1_200, 5),
        (lambda: nn.Sequential(Node(Exploding), nn.Linear(1, 1), SynapseFilter(2.0)), 40, 3),
    ],
    ids=["neuron", "element-wise", "linear", "two"],
)
def test_what_would_overflow_in_the_padding_touches_no_step_before(make, T, own):
    torch.manual_seed(0)
    net = MultiStepContainer(make())
    for weight in net.parameters():
        nn.init.constant_(weight, 1.2)
    x_seq, x_own = (torch.full((steps, 2, 1), 0.3, requires_grad=True) for steps in (T, own))
    alone = copy.deepcopy(net)
    y = scan(x_seq, net, lengths=[own, own])
    y.sum().backward()
    alone(x_own).sum().backward()
    torch.testing.assert_close(x_seq.grad[:own], x_own.grad)
    assert [one.fused for one in explain(net, x_own)].count(True)
    for ours, others in zip(net.parameters(), alone.parameters(), strict=True):
        torch.testing.assert_close(ours.grad, others.grad)
        assert ours.grad.isfinite().all()
    for name, state in states(alone).items():
        torch.testing.assert_close(states(net)[name], state)


def test_the_mean_of_many_steps_is_as_exact_as_torchs():
    y = torch.rand(20_000, 32, generator=torch.Generator().manual_seed(0))
    exact = y.double().mean(0)
    assert (mean_over_time(y) - exact).abs().max() < 3 * (y.mean(0) - exact).abs().max() + 1e-9
    view = torch._neg_view(y)
    assert torch.equal(mean_over_time(view), -mean_over_time(y))
