"""Element-wise feedback by any function and weight, and convolutional feedback."""

from __future__ import annotations

import copy

import pytest
import torch
from support_networks import random_currents, step_by_step
from torch import nn

from snn_core.functional import explain, reset_net
from snn_core.layer import ElementWiseRecurrentContainer, LinearRecurrentContainer, MultiStepContainer
from snn_core.more.convolution import ConvRecurrentContainer
from snn_core.neuron import LIFNode

# Element-wise functions


def in_place(x, y):
    x += y
    return x


@pytest.mark.parametrize("function", [in_place, lambda x, y: x + torch.tensor(2.0) * y, nn.Bilinear(3, 3, 3)])
def test_an_element_wise_function_that_kernels_do_not_know_takes_the_loop(function):
    net, x_seq = (
        MultiStepContainer(ElementWiseRecurrentContainer(LIFNode(4.0), function)),
        torch.randn(6, 2, 3),
    )
    assert not any(decision.fused for decision in explain(net, x_seq.clone()))
    found = net(x_seq.clone())
    reset_net(net)
    assert torch.equal(found, step_by_step(net[0], x_seq.clone()))


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
        lambda m: ConvRecurrentContainer(m, 4, 4, 3),
    ],
)
def test_weights_of_the_feedback_come_before_those_within(build):
    net = build(nn.Linear(4, 4))
    names = ["rc.weight", "rc.bias", "sub_module.weight", "sub_module.bias"]
    assert [name for name, _ in net.named_parameters()] == list(net.state_dict()) == names
