"""Recurrent containers and the synapse filter, worked out by hand."""

from __future__ import annotations

import math
import re

import pytest
import torch
from support_networks import step_by_step
from torch import nn

from snn_core import neuron
from snn_core.layer import ElementWiseRecurrentContainer, LinearRecurrentContainer, SynapseFilter
from snn_core.neuron import IFNode
from snn_core.surrogate import Sigmoid


def walk(module: nn.Module, x_seq: list[float]) -> list[float]:
    """Feed one number per step to a module for ``[N, 1]``."""
    return step_by_step(module, torch.tensor(x_seq).reshape(-1, 1, 1)).flatten().tolist()


# ElementWiseRecurrentContainer


def element_wise_add(x, y):
    return x + y


def test_demonstration_of_the_tutorial_prints_its_eight_lines(capsys):
    T = 8
    net = ElementWiseRecurrentContainer(neuron.IFNode(v_reset=None), element_wise_add)
    print(net)
    x = torch.zeros([T])
    x[0] = 1.5
    for t in range(T):
        print(t, f"x[t]={x[t]}, s[t]={net(x[t])}")

    printed = capsys.readouterr().out.splitlines()
    text, lines = printed[:-T], printed[-T:]
    assert lines == [
        "0 x[t]=1.5, s[t]=1.0",
        "1 x[t]=0.0, s[t]=1.0",
        "2 x[t]=0.0, s[t]=1.0",
        "3 x[t]=0.0, s[t]=1.0",
        "4 x[t]=0.0, s[t]=1.0",
        "5 x[t]=0.0, s[t]=1.0",
        "6 x[t]=0.0, s[t]=1.0",
        "7 x[t]=0.0, s[t]=1.0",
    ]
    address = "0x[0-9a-fA-F]+"
    assert [re.sub(address, "ADDRESS", line) for line in text] == [
        "ElementWiseRecurrentContainer(",
        "  element-wise function=<function element_wise_add at ADDRESS>",
        "  (sub_module): IFNode(",
        "    v_threshold=1.0, v_reset=None, detach_reset=False",
        "    (surrogate_function): Sigmoid(alpha=1.0, spiking=True)",
        "  )",
        ")",
    ]


# Each step: i = f(x, y), then y = i >= 1 with a fresh potential of 0 after a spike. x = 1.5, 0.5, 0.75, 1.0.
@pytest.mark.parametrize(
    ("function", "expected"),
    [
        # i = 1.5, 1.5, 1.75, 2.0
        (torch.add, [1, 1, 1, 1]),
        # i = 1.5, 0.5 - 1, 0.75, 1.0; h = 1.5, -0.5, 0.25, 1.25
        (torch.sub, [1, 0, 0, 1]),
        # i = 1.5, max(0.5, 1), max(0.75, 1), max(1, 1)
        (torch.maximum, [1, 1, 1, 1]),
        # i = 1.5, 0.5, 0.75, 1.0 - 2; h = 1.5, 0.5 - 2, -0.75, 0.25
        (lambda x, y: x - 2 * y, [1, 0, 0, 0]),
        # i = 0, 0, 0, 0: y[-1] = 0 multiplies the first input
        (torch.mul, [0, 0, 0, 0]),
    ],
    ids=["add", "sub", "max", "lambda", "mul"],
)
def test_element_wise_recurrence_worked_out_by_hand(function, expected):
    net = ElementWiseRecurrentContainer(IFNode(), function)
    assert walk(net, [1.5, 0.5, 0.75, 1.0]) == expected


# LinearRecurrentContainer


def linear_container(weight, bias, sub_module, in_features=1, out_features=1):
    net = LinearRecurrentContainer(sub_module, in_features, out_features, bias=bias is not None)
    with torch.no_grad():
        net.rc.weight.copy_(torch.tensor(weight))
        if bias is not None:
            net.rc.bias.copy_(torch.tensor(bias))
    return net


# i[t] = x[t] - y[t-1] / 2 + 1/4, threshold 1, hard reset to 0.
def test_linear_recurrence_worked_out_by_hand():
    net = linear_container([[1.0, -0.5]], [0.25], IFNode())
    # x:          1.5     0.5     -1      0.5     1       1
    # y[t-1]:     0       1       0       0       0       1
    # i:          1.75    0.25    -0.75   0.75    1.25    0.75
    # h:          1.75    0.25    -0.5    0.25    1.5     0.75
    assert walk(net, [1.5, 0.5, -1.0, 0.5, 1.0, 1.0]) == [1, 0, 0, 0, 1, 0]


# Two inputs and one output: the weight has a row for each input and the columns x0, x1, y; y = i0 + i1.
def test_linear_recurrence_of_other_sizes_worked_out_by_hand():
    total = nn.Linear(2, 1, bias=False)
    nn.init.ones_(total.weight)
    net = linear_container([[1.0, 0.0, 0.5], [0.0, 2.0, 0.25]], [0.0, 1.0], total, 2, 1)
    # t = 0: i = (1, 2 + 1)                        y = 4
    # t = 1: i = (0 + 2, 2 + 1 + 1)                y = 6
    # t = 2: i = (-1 + 3, 0 + 1.5 + 1)             y = 4.5
    x_seq = torch.tensor([[[1.0, 1.0]], [[0.0, 1.0]], [[-1.0, 0.0]]])
    assert step_by_step(net, x_seq).flatten().tolist() == [4.0, 6.0, 4.5]


# Gradient derived by hand for one neuron, T = 3, threshold 1, loss L = c[0] s[0] + c[1] s[1] + c[2] s[2]:
#
#   i[t] = a x[t] + b s[t-1] + d,   h[t] = v[t-1] + i[t],   s[t] = step(h[t] - 1) with derivative g[t]
#   hard: v[t] = (1 - s[t]) h[t],   soft: v[t] = h[t] - s[t]
#
# How v[t] moves with h[t]: r[t] = 1 - s[t] - g[t] h[t] (hard) or 1 - g[t] (soft); detached: 1 - s[t] or 1. The spike
# acts on the loss, on the reset, and through b on the next step; detach_reset cuts the second of these ways only:
#
#   dL/dh[2] = c[2] g[2]
#   dL/dh[1] = (c[1] + b dL/dh[2]) g[1] + r[1] dL/dh[2]
#   dL/dh[0] = (c[0] + b dL/dh[1]) g[0] + r[0] dL/dh[1]
#   dL/dx[t] = a dL/dh[t],  dL/da = sum x[t] dL/dh[t],  dL/db = sum s[t-1] dL/dh[t],  dL/dd = sum dL/dh[t]
@pytest.mark.parametrize("v_reset", [0.0, None])
@pytest.mark.parametrize("detach_reset", [False, True])
def test_gradient_of_linear_recurrence_derived_by_hand(v_reset, detach_reset):
    a, b, d = 0.5, -0.75, 0.25
    c = [1.0, -2.0, 3.0]
    x = [2.5, 1.0, 1.0]
    v, y, h, s, g, r = 0.0, 0.0, [0.0] * 3, [0.0] * 3, [0.0] * 3, [0.0] * 3
    for t in range(3):
        h[t] = v + a * x[t] + b * y + d
        y = s[t] = float(h[t] >= 1)
        g[t] = math.exp(1 - h[t]) / (1 + math.exp(1 - h[t])) ** 2
        through_spike = 0.0 if detach_reset else -g[t] * (1.0 if v_reset is None else h[t])
        r[t] = (1.0 if v_reset is None else 1.0 - s[t]) + through_spike
        v = h[t] - s[t] if v_reset is None else (1 - s[t]) * h[t]
    dh2 = c[2] * g[2]
    dh1 = (c[1] + b * dh2) * g[1] + r[1] * dh2
    dh0 = (c[0] + b * dh1) * g[0] + r[0] * dh1

    node = IFNode(v_reset=v_reset, detach_reset=detach_reset, surrogate_function=Sigmoid())
    net = linear_container([[a, b]], [d], node).double()
    x_seq = torch.tensor(x, dtype=torch.float64).reshape(3, 1, 1).requires_grad_()
    spikes = step_by_step(net, x_seq)
    (spikes.flatten() * torch.tensor(c)).sum().backward()
    assert spikes.flatten().tolist() == s
    assert s[0] == 1  # so that there is feedback
    assert x_seq.grad.flatten().tolist() == pytest.approx([a * dh0, a * dh1, a * dh2], rel=1e-12)
    weight = [x[0] * dh0 + x[1] * dh1 + x[2] * dh2, s[0] * dh1 + s[1] * dh2]
    assert net.rc.weight.grad.flatten().tolist() == pytest.approx(weight, rel=1e-12)
    assert net.rc.bias.grad.item() == pytest.approx(dh0 + dh1 + dh2, rel=1e-12)


# SynapseFilter


@pytest.mark.parametrize("w", [-8.0, 0.0, 8.0])
def test_learnable_tau_stays_above_one_whatever_the_optimizer_does(w):
    synapse = SynapseFilter(learnable=True)
    nn.init.constant_(synapse.w, w)
    assert synapse.tau.item() == pytest.approx(1 + math.exp(-w))
    assert synapse.tau > 1


# With k = 1/tau = sigmoid(w), dk/dw = k (1 - k), and the loss L = c[0] I[0] + c[1] I[1] + c[2] I[2]:
#   s = 1, 0, 0: I = 1, 1 - k, (1 - k)^2        dL/dk = -c[1] - 2 c[2] (1 - k)
#   s = 1, 0, 1: I = 1, 1 - k, 2 - k            dL/dk = -c[1] - c[2]
#   s = 0, 1, 0: I = 0, 1, 1 - k                dL/dk = -c[2]
@pytest.mark.parametrize("tau", [2.0, 4.0])
@pytest.mark.parametrize(
    ("spikes", "slope"),
    [
        ([1.0, 0.0, 0.0], lambda c, k: -c[1] - 2 * c[2] * (1 - k)),
        ([1.0, 0.0, 1.0], lambda c, k: -c[1] - c[2]),
        ([0.0, 1.0, 0.0], lambda c, k: -c[2]),
    ],
)
def test_gradient_of_a_learnable_tau_derived_by_hand(spikes, slope, tau):
    c, k = [0.5, -2.0, 3.0], 1 / tau
    synapse = SynapseFilter(tau, learnable=True).double()
    currents = step_by_step(synapse, torch.tensor(spikes, dtype=torch.float64).reshape(3, 1))
    (currents.flatten() * torch.tensor(c)).sum().backward()
    # w is made in float32, hence the tolerance
    assert synapse.w.grad.item() == pytest.approx(slope(c, k) * k * (1 - k), rel=1e-6)


# State dictionaries

TAUS = {
    "learnable": ([3.0, True], [50.0, True]),
    "fixed": ([3.0, False], [50.0, False]),
    "learnable, per channel": ([[2.0, 3.0], True], [[50.0, 60.0], True]),
    "fixed, per channel": ([[2.0, 3.0], False], [[50.0, 60.0], False]),
}


@pytest.mark.parametrize(("saved", "other"), TAUS.values(), ids=TAUS)
def test_state_dict_restores_tau(saved, other):
    source, target = SynapseFilter(*saved), SynapseFilter(*other)
    source(torch.zeros(1, 2))  # the current is a state, and not kept
    assert list(source.state_dict()) == ["w" if saved[1] else "fixed_tau"]
    target.load_state_dict(source.state_dict())
    assert torch.equal(target.tau, source.tau)
    x = torch.ones(1, 2)
    target(x)
    assert torch.equal(target(0 * x), source(x) * (1 - 1 / source.tau))
