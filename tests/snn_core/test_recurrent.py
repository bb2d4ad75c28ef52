"""Weighted and pure element-wise feedback, linear feedback without self-connections, convolutional feedback."""

from __future__ import annotations

import copy

import pytest
import torch
from support_networks import random_currents, step_by_step
from torch import nn

from snn_core.element_wise import ElementWiseRecurrentContainer
from snn_core.functional import explain, reset_net
from snn_core.kernels.record.purity import is_pure
from snn_core.layer import ConvRecurrentContainer, LinearRecurrentContainer, MultiStepContainer
from snn_core.neuron import LIFNode

# Pure functions

OUTSIDE = 2.0


def with_a_variable(x, y):
    z = -x * 2 + y / 3
    return (z > y) * z - 1.5


def reads_a_global(x, y):
    return x + OUTSIDE * y


def in_place(x, y):
    x += y
    return x


def closing_over(factor):
    return lambda x, y: x + factor * y


def test_arithmetic_on_arguments_alone_is_pure():
    assert is_pure(torch.add) and is_pure(lambda x, y: (x + 1) * -y / 3) and is_pure(with_a_variable)
    for function in (
        reads_a_global, in_place, closing_over(2.0), nn.Identity(), lambda x, y: torch.tanh(x + y),
    ):  # fmt: skip
        assert not is_pure(function)


# Element-wise feedback with a weight


@pytest.mark.parametrize(
    ("function", "weight", "kept_as", "expected"),
    [
        # y = x + w y[t-1] for x = 1, 0, 2, and both neurons
        (torch.add, 0.5, [], [[1, 1], [0.5, 0.5], [2.25, 2.25]]),
        (torch.add, [0.5, -1.0], ["buffer"], [[1, 1], [0.5, -1], [2.25, 3]]),
        (torch.sub, nn.Parameter(torch.tensor(0.5)), ["parameter"], [[1, 1], [-0.5, -0.5], [2.25, 2.25]]),
    ],
)
def test_weighted_feedback_worked_out_by_hand(function, weight, kept_as, expected):
    net = ElementWiseRecurrentContainer(nn.Identity(), function, weight)
    x_seq = torch.tensor([[1.0, 1.0], [0.0, 0.0], [2.0, 2.0]])[:, None]
    assert step_by_step(net, x_seq)[:, 0].tolist() == expected
    reset_net(net)
    assert net.forward_sequence(x_seq)[:, 0].tolist() == expected
    assert ["buffer" for _ in net.buffers()] + ["parameter" for _ in net.parameters()] == kept_as


# Linear feedback without self-connections


def test_no_output_reaches_its_own_input():
    # Both neurons hear x[t] of their own, and 1/2 or 2 of the other's output; 8 and 9 would be their own outputs.
    net = LinearRecurrentContainer(nn.Identity(), 2, 2, bias=False, self_connections=False)
    weight = torch.tensor([[1.0, 0.0, 8.0, 0.5], [0.0, 1.0, 2.0, 9.0]])
    with torch.no_grad():
        net.rc.weight.copy_(weight)
    x_seq = torch.tensor([[1.0, 0.0], [0.0, 3.0], [0.0, 0.0]])[:, None]
    # y = (1, 0), (0, 3 + 2), (5/2, 0)
    assert step_by_step(net, x_seq)[:, 0].tolist() == [[1, 0], [0, 5], [2.5, 0]]
    assert torch.equal(net.rc.weight, weight)
    reset_net(net)
    net.forward_sequence(x_seq).sum().backward()
    assert net.rc.weight.grad[:, 2:].diagonal().tolist() == [0, 0]
    assert net.rc.weight.grad[0, 3] != 0


# Convolutional feedback


def convolutional(sub_module=None, kernel_size=3, channels=(2, 2), **options):
    torch.manual_seed(3)
    sub_module = LIFNode(tau=1.5) if sub_module is None else sub_module
    net = ConvRecurrentContainer(sub_module, *channels, kernel_size, **options).double()
    with torch.no_grad():
        net.rc.weight *= 3
    return net


def test_convolutional_feedback_worked_out_by_hand():
    net = ConvRecurrentContainer(nn.Identity(), 1, 1, 3, bias=False)
    with torch.no_grad():  # x[t] passes, y[t-1] moves one place to the right, halved, and a quarter stays
        net.rc.weight.zero_()[0, :, 1] = torch.tensor([[0.0, 1.0, 0.0], [0.5, 0.25, 0.0]])
    x_seq = torch.zeros(3, 1, 1, 1, 4)
    x_seq[0, ..., 1] = 16
    expected = [[0, 16, 0, 0], [0, 4, 8, 0], [0, 1, 4, 4]]
    assert step_by_step(net, x_seq)[:, 0, 0, 0].tolist() == expected
    reset_net(net)
    assert net.forward_sequence(x_seq)[:, 0, 0, 0].tolist() == expected
    assert net.y[0, 0, 0].tolist() == expected[-1]


def test_convolution_of_other_channels_equals_the_definition():
    torch.manual_seed(4)
    within = nn.Sequential(nn.Conv2d(3, 2, 1), LIFNode(tau=2.0)).double()
    net, alone = convolutional(within, channels=(3, 2)), copy.deepcopy(within)
    x_seq, y, expected = random_currents(6, 4, 3, 5, 6), torch.zeros(4, 2, 5, 6).double(), []
    for x in x_seq:
        y = alone(nn.functional.conv2d(torch.cat([x, y], 1), net.rc.weight, net.rc.bias, padding=1))
        expected.append(y)
    assert net.rc.weight.shape == (3, 5, 3, 3)
    torch.testing.assert_close(net.forward_sequence(x_seq), torch.stack(expected))


@pytest.mark.parametrize("change", ["hook", "circular"])
def test_a_changed_convolution_is_used_as_it_is(change):
    net, called = convolutional(), []
    if change == "hook":
        net.rc.register_forward_hook(lambda *_: called.append(1))
    else:
        net.rc.padding_mode = "circular"
    x_seq = random_currents(6, 3, 2, 5, 6)
    y_seq = net.forward_sequence(x_seq)
    assert len(called) == (6 if change == "hook" else 0)
    reset_net(net)
    torch.testing.assert_close(y_seq, step_by_step(net, x_seq))
    assert y_seq.any()


def test_small_maps_are_fused_and_large_ones_are_not():
    (decision,) = explain(MultiStepContainer(convolutional()), random_currents(4, 3, 2, 16, 16))
    assert decision.fused
    (decision,) = explain(MultiStepContainer(convolutional()), random_currents(4, 3, 2, 16, 17))
    assert decision.reason == "samples of 544 numbers are too large for a matrix, 512 is the most"


# An optimizer's state in a checkpoint goes by the order of parameters.
@pytest.mark.parametrize(
    "build",
    [
        lambda m: LinearRecurrentContainer(m, 4, 4),
        lambda m: LinearRecurrentContainer(m, 4, 4, self_connections=False),
        lambda m: ConvRecurrentContainer(m, 4, 4, 3),
    ],
)
def test_weights_of_the_feedback_come_before_those_within(build):
    net = build(nn.Linear(4, 4))
    names = ["rc.weight", "rc.bias", "sub_module.weight", "sub_module.bias"]
    assert [name for name, _ in net.named_parameters()] == list(net.state_dict()) == names
