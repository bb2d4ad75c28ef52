"""Sequences of different length: a batch with padding against each sequence alone, and against numbers by hand.

Inputs and weights of chains are multiples of 1/16, so that sums are exact in any order and no spike depends on it.
"""

from __future__ import annotations

import copy
import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from support_networks import weighted_sum
from torch import nn

from snn_core.cells import Cell
from snn_core.functional import (
    detach_net,
    explain,
    last_step,
    mean_over_time,
    reset_net,
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
from snn_core.module import CellModule, MemoryModule
from snn_core.more.delays import DelayedRecurrentContainer
from snn_core.neuron import IFNode, LIFNode, LINode, MultiStepLIFNode
from snn_core.surrogate import ATan

F = 4  # features of all inputs


def options(backend):
    return {"surrogate_function": ATan(), "backend": backend}


class Traces(MemoryModule):
    """A module of a user's own with two states, one of which has more dimensions than its input."""

    def __init__(self):
        super().__init__()
        self.register_state("sum")
        self.register_state("outer")

    def forward(self, x):
        total = self.checked_state("sum", x, 1.0) + x
        outer = self.checked_state("outer", x.new_empty(()).expand(*x.shape, x.shape[-1]), 0.0)
        outer = outer / 2 + x[..., None] * total[..., None, :]
        self.keep_state("sum", total)
        self.keep_state("outer", outer)
        return outer.sum(-1)


CHAINS = {
    "multi-step LIF, soft": lambda b: [MultiStepLIFNode(tau=4.0, v_reset=None, **options(b))],
    "element-wise": lambda b: [ElementWiseRecurrentContainer(LIFNode(tau=4.0, **options(b)), torch.add)],
    "feedback": lambda b: [
        nn.Linear(F, 5),
        MultiStepContainer(LinearRecurrentContainer(IFNode(**options(b)), 5, 5)),
        nn.Linear(5, 3),
    ],
    "own states": lambda b: [nn.Linear(F, 3), Traces()],
    "stateless": lambda b: [nn.Linear(F, 3), nn.Sequential(nn.ReLU(), nn.Linear(3, 2))],
}
BACKENDS = ["torch", "auto"]


def dyadic(generator, *shape):
    return torch.randint(-24, 40, shape, generator=generator).double() / 16


def chain_of(name, backend, generator):
    net = nn.ModuleList(CHAINS[name](backend)).double()
    with torch.no_grad():
        for key, parameter in net.named_parameters():
            if not key.endswith("w"):  # of time constants
                parameter.copy_(dyadic(generator, *parameter.shape))
    return net


def each_alone(net, x_seq, lengths, backend):
    """Return what each sequence gives alone, its states afterwards among it."""
    outputs, afterwards = [], []
    for n, length in enumerate(lengths):
        reset_net(net)
        outputs.append(scan(x_seq[:length, n : n + 1], *net, backend=backend))
        afterwards.append(states(net))
    reset_net(net)
    return outputs, {name: torch.cat([one[name] for one in afterwards]) for name in afterwards[0]}


def padded(outputs, T):
    return torch.cat([torch.cat([y, y.new_zeros(T - len(y), *y.shape[1:])]) for y in outputs], 1)


def gradients(y, last, x, net):
    """Return the gradients of a sum in which every output and every state after the sequence counts."""
    loss = weighted_sum(y) + sum(weighted_sum(state) for state in last.values())
    return torch.autograd.grad(loss, [x, *net.parameters()], allow_unused=True)


def assert_as_alone(name, backend, x, lengths):
    net = chain_of(name, backend, torch.Generator().manual_seed(1))
    own = sequence_mask(lengths, len(x))
    dirty = torch.where(own[..., None], x, math.nan).requires_grad_()
    y = scan(dirty, *net, backend=backend, lengths=lengths)
    last = states(net)
    found = gradients(y, last, dirty, net)
    clean = x.clone().requires_grad_()
    alone, last_alone = each_alone(net, clean, lengths, backend)
    expected_y = padded(alone, len(x))
    assert torch.equal(y, expected_y)
    assert last.keys() == last_alone.keys()
    for key in last:
        assert torch.equal(last[key], last_alone[key]), key
    expected = gradients(expected_y, last_alone, clean, net)
    assert found[0][~own].abs().sum() == 0
    for a, b in zip(found, expected, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-11, atol=1e-12)


@settings(max_examples=60, deadline=None, derandomize=True)
@given(
    st.sampled_from(sorted(CHAINS)),
    st.sampled_from(BACKENDS),
    st.integers(1, 7).flatmap(lambda T: st.tuples(st.just(T), st.lists(st.integers(1, T), min_size=1, max_size=6))),
    st.integers(0, 2**31),
)  # fmt: skip
def test_any_lengths(name, backend, sizes, seed):
    T, lengths = sizes
    assert_as_alone(name, backend, dyadic(torch.Generator().manual_seed(seed), T, len(lengths), F), lengths)


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
@pytest.mark.parametrize("name", ["feedback", "own states"])
def test_pieces_of_a_sequence_of_which_some_samples_have_ended(name, backend):
    net = chain_of(name, backend, torch.Generator().manual_seed(1))
    x, lengths = dyadic(torch.Generator().manual_seed(0), 9, 4, F), torch.tensor([2, 9, 3, 5])
    whole = scan(x, *net, backend=backend, lengths=lengths)
    expected, after = whole.detach(), {key: state.detach() for key, state in states(net).items()}
    reset_net(net)
    y_seq = []
    for start in (0, 3, 6):
        y = scan(x[start : start + 3], *net, backend=backend, lengths=(lengths - start).clamp(0, 3))
        weighted_sum(y).backward()  # truncated BPTT: the graph of the piece before is gone
        detach_net(net)
        y_seq.append(y.detach())
    assert torch.equal(torch.cat(y_seq), expected)
    for key, state in states(net).items():
        assert torch.equal(state, after[key])


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


class ExplodingNode(CellModule):
    states = ("v",)

    def cell(self, like):
        return Exploding()


@pytest.mark.parametrize(
    ("make", "T", "own"),
    [
        (ExplodingNode, 40, 3),
        (lambda: ElementWiseRecurrentContainer(ExplodingNode(), lambda x, y: x + y), 40, 3),
        (lambda: LinearRecurrentContainer(LINode(tau=1.0), 1, 1, bias=False), 1_200, 5),
        (lambda: nn.Sequential(ExplodingNode(), nn.Linear(1, 1), SynapseFilter(2.0)), 40, 3),
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
