"""Recurrent containers and the synapse filter, worked out by hand."""

from __future__ import annotations

import pytest
import torch
from support_networks import step_by_step
from torch import nn

from snn_core.layer import ElementWiseRecurrentContainer, LinearRecurrentContainer, SynapseFilter
from snn_core.neuron import IFNode


def walk(module: nn.Module, x_seq: list[float]) -> list[float]:
    """Feed one number per step to a module for ``[N, 1]``."""
    return step_by_step(module, torch.tensor(x_seq).reshape(-1, 1, 1)).flatten().tolist()


# ElementWiseRecurrentContainer


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


# SynapseFilter


# With k = 1/tau = sigmoid(w), dk/dw = k (1 - k), and the loss L = c[0] I[0] + c[1] I[1] + c[2] I[2]:
#   s = 1, 0, 0: I = 1, 1 - k, (1 - k)^2        dL/dk = -c[1] - 2 c[2] (1 - k)
#   s = 1, 0, 1: I = 1, 1 - k, 2 - k            dL/dk = -c[1] - c[2]
#   s = 0, 1, 0: I = 0, 1, 1 - k                dL/dk = -c[2]
@pytest.mark.parametrize(
    ("spikes", "slope"),
    [
        ([1.0, 0.0, 0.0], lambda c, k: -c[1] - 2 * c[2] * (1 - k)),
        ([1.0, 0.0, 1.0], lambda c, k: -c[1] - c[2]),
        ([0.0, 1.0, 0.0], lambda c, k: -c[2]),
    ],
)
def test_gradient_of_a_learnable_tau_derived_by_hand(spikes, slope):
    c, k = [0.5, -2.0, 3.0], 0.25
    synapse = SynapseFilter(4.0, learnable=True).double()
    currents = step_by_step(synapse, torch.tensor(spikes, dtype=torch.float64).reshape(3, 1))
    (currents.flatten() * torch.tensor(c)).sum().backward()
    # w is made in float32, hence the tolerance
    assert synapse.w.grad.item() == pytest.approx(slope(c, k) * k * (1 - k), rel=1e-6)
