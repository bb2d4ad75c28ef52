"""Neurons: gradients worked out by hand, what is recorded, and numbers that are fixed, of each neuron or trained."""

from __future__ import annotations

import copy
import math

import pytest
import torch
from support_networks import random_currents, step_by_step
from torch import nn

from snn_core.functional import detach_net
from snn_core.layer import MultiStepContainer
from snn_core.more.neuron import MultiStepAdaptiveLIFNode, MultiStepCUBALIFNode
from snn_core.neuron import IFNode, LIFNode, MultiStepIFNode, MultiStepLIFNode, MultiStepLINode
from snn_core.surrogate import Sigmoid

every_v_reset = pytest.mark.parametrize("v_reset", [0.0, -0.5, None])
every_detach_reset = pytest.mark.parametrize("detach_reset", [False, True])


def sigmoid_slope(x: float) -> float:
    """The derivative of the logistic function, without torch."""
    return math.exp(-x) / (1 + math.exp(-x)) ** 2


# Gradients derived by hand. One neuron, T = 3, threshold 1, loss L = c[0] s[0] + c[1] s[1] + c[2] s[2]:
#
#   h[t] = keep * v[t-1] + gain * x[t] (+ a constant)     IF: keep = gain = 1, LIF: keep = 1 - 1/tau, gain = 1/tau or 1
#   s[t] = step(h[t] - 1), whose derivative is taken to be g[t] = sigmoid'(h[t] - 1)
#   v[t] = (1 - s[t]) h[t] + s[t] v_reset                 hard
#   v[t] = h[t] - s[t]                                    soft
#
# How v[t] moves with h[t]:   r[t] = 1 - s[t] + g[t] (v_reset - h[t])   hard
#                             r[t] = 1 - g[t]                           soft
# and without the term in g[t] where the reset is detached. Two paths lead from h[t] to the loss, through s[t] and
# through v[t] to h[t+1]:
#
#   dL/dh[2] = c[2] g[2]
#   dL/dh[1] = c[1] g[1] + dL/dh[2] keep r[1]
#   dL/dh[0] = c[0] g[0] + dL/dh[1] keep r[0]
#   dL/dx[t] = gain dL/dh[t]
#
# The inputs below make every neuron fire in the second step only.
BPTT_NEURONS = [
    pytest.param(MultiStepIFNode, {}, 1.0, 1.0, [0.5, 1.0, 0.25], id="IF"),
    pytest.param(MultiStepLIFNode, {"tau": 4.0}, 0.75, 0.25, [2.0, 6.0, 1.0], id="LIF"),
    pytest.param(
        MultiStepLIFNode,
        {"tau": 4.0, "decay_input": False},
        0.75,
        1.0,
        [0.5, 1.5, 0.25],
        id="LIF-whole-input",
    ),
]


@pytest.mark.parametrize(("neuron", "options", "keep", "gain", "x"), BPTT_NEURONS)
@every_v_reset
@every_detach_reset
def test_gradient_derived_by_hand(neuron, options, keep, gain, x, v_reset, detach_reset):
    c = [1.0, -2.0, 3.0]
    rest = v_reset or 0.0
    v, h, s, g, r = rest, [0.0] * 3, [0.0] * 3, [0.0] * 3, [0.0] * 3
    for t in range(3):
        h[t] = keep * v + (1 - keep) * rest + gain * x[t]
        s[t] = float(h[t] >= 1)
        g[t] = sigmoid_slope(h[t] - 1)
        through_spike = 0.0 if detach_reset else g[t] * (-1 if v_reset is None else v_reset - h[t])
        r[t] = (1 if v_reset is None else 1 - s[t]) + through_spike
        v = h[t] - s[t] if v_reset is None else (1 - s[t]) * h[t] + s[t] * v_reset
    dh2 = c[2] * g[2]
    dh1 = c[1] * g[1] + dh2 * keep * r[1]
    dh0 = c[0] * g[0] + dh1 * keep * r[0]

    x_seq = torch.tensor(x, dtype=torch.float64).reshape(3, 1).requires_grad_()
    node = neuron(v_reset=v_reset, detach_reset=detach_reset, surrogate_function=Sigmoid(), **options)
    spikes = node(x_seq)
    (spikes.flatten() * torch.tensor(c)).sum().backward()
    assert spikes.flatten().tolist() == s == [0, 1, 0]
    assert x_seq.grad.flatten().tolist() == pytest.approx([gain * dh0, gain * dh1, gain * dh2], rel=1e-12)


# What is recorded


def test_potentials_are_recorded_over_several_calls_until_reset():
    x_seq, plain = random_currents(6, 5, 4), LIFNode(4.0)
    one_step, sequence = LIFNode(4.0, store_v_seq=True), MultiStepLIFNode(4.0, store_v_seq=True)
    expected = []
    for x in x_seq:
        plain(x)
        expected.append(plain.v)
    step_by_step(one_step, x_seq)
    sequence(x_seq[:2])
    sequence(x_seq[2:])
    assert torch.equal(one_step.v_seq, torch.stack(expected))
    assert torch.equal(sequence.v_seq, torch.stack(expected))
    sequence.reset()
    sequence(x_seq[:2])
    assert torch.equal(sequence.v_seq, torch.stack(expected[:2]))


def test_recording_begins_and_ends_between_calls_and_a_copy_records_for_itself():
    node = IFNode()
    net, x_seq = MultiStepContainer(nn.Linear(3, 4), node), torch.rand(5, 2, 3)
    net(x_seq)
    node.record("v", "output")
    y_seq = net(x_seq)
    twin = copy.deepcopy(net)
    twin(x_seq)
    assert len(twin[1].recorded("v")) == 10 and len(node.recorded("v")) == 5
    assert torch.equal(node.recorded("output"), y_seq)
    node.record()
    net(x_seq)
    with pytest.raises(RuntimeError, match="call record"):
        node.recorded("v")


def test_detach_net_cuts_the_history_of_the_record_too():
    node = MultiStepIFNode(store_v_seq=True)
    node(torch.ones(3, 2, requires_grad=True))
    assert node.v_seq.requires_grad
    values = node.v_seq.detach().clone()
    detach_net(node)
    assert not node.v_seq.requires_grad
    assert torch.equal(node.v_seq, values)


def test_gradient_of_a_trained_threshold_by_hand():
    """h = 1.5 fires; d s / d threshold = -g(0.5), and v = h - s threshold gives -1 + threshold g(0.5)."""
    threshold = nn.Parameter(torch.tensor(1.0, dtype=torch.float64))
    node = IFNode(v_threshold=threshold, v_reset=None)
    s = node(torch.tensor([1.5], dtype=torch.float64))
    g = sigmoid_slope(0.5)
    assert torch.autograd.grad(s.sum(), threshold, retain_graph=True)[0].item() == pytest.approx(-g)
    assert torch.autograd.grad(node.v.sum(), threshold)[0].item() == pytest.approx(-1 + g)


TAUS = [
    pytest.param(MultiStepLIFNode, "tau", "w", id="LIF"),
    pytest.param(MultiStepAdaptiveLIFNode, "tau", "w", id="ALIF"),
    pytest.param(MultiStepAdaptiveLIFNode, "tau_adaptation", "w_adaptation", id="ALIF's adaptation"),
    pytest.param(MultiStepCUBALIFNode, "tau", "w", id="CUBA-LIF"),
    pytest.param(MultiStepCUBALIFNode, "tau_synapse", "w_synapse", id="CUBA-LIF's current"),
    pytest.param(MultiStepLINode, "tau", "w", id="LI"),
]


@pytest.mark.parametrize(("neuron", "name", "kept"), TAUS)
def test_time_constant_fixed_of_each_neuron_and_trained(neuron, name, kept):
    x_seq, taus, options = (
        random_currents(9, 4, 3),
        [2.0, 4.0, 8.0],
        {"decay_input": False, "backend": "torch"},
    )
    fixed = neuron(**options, **{name: torch.tensor(taus, dtype=torch.float64)})
    trained = neuron(**options, **{name: nn.Parameter(torch.tensor(taus, dtype=torch.float64))})
    y_seq = fixed(x_seq)
    for at, tau in enumerate(taus):
        assert torch.equal(y_seq[:, :, at], neuron(**options, **{name: tau})(x_seq[:, :, at]))
    assert (fixed.state_dict().keys(), trained.state_dict().keys()) == ({name}, {kept})
    assert not list(fixed.parameters())
    torch.testing.assert_close(getattr(trained, name), getattr(fixed, name), rtol=1e-14, atol=0)
    torch.testing.assert_close(trained(x_seq), y_seq, rtol=1e-12, atol=1e-14)
    trained(x_seq).sum().backward()
    assert getattr(trained, kept).grad.all()
    getattr(trained, kept).data.fill_(3.0)
    assert (getattr(trained, name) > 1).all()


def test_longest_refractory_period_in_half_precision():
    node = MultiStepIFNode(refractory=256)
    assert node(torch.ones(259, 1, dtype=torch.bfloat16)).flatten().nonzero().flatten().tolist() == [0, 257]
