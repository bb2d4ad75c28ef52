"""Feedback against ``RLeaky`` of snnTorch, which without a leak (``beta=1``) is an IF neuron with soft reset.

Its spikes are of our surrogate function, since those of its own are float32 whatever they come from.
"""

from __future__ import annotations

import importlib.util
import warnings
from types import ModuleType

import pytest
import torch
from support import require
from support_networks import output_and_gradients, random_currents
from torch import Tensor, nn

from snn_core.layer import ConvRecurrentContainer, ElementWiseRecurrentContainer, LinearRecurrentContainer
from snn_core.neuron import IFNode
from snn_core.surrogate import ATan

SAME = {"rtol": 1e-9, "atol": 1e-12}


@pytest.fixture(scope="module")
def snntorch() -> ModuleType:
    require(importlib.util.find_spec("snntorch") is not None, "snntorch")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import snntorch
    return snntorch


@pytest.fixture(autouse=True)
def _double():
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


def ours() -> IFNode:
    return IFNode(v_reset=None, detach_reset=True, surrogate_function=ATan(), backend="torch")


def theirs(layer: nn.Module, x_seq: Tensor) -> Tensor:
    s, v, s_seq = torch.zeros_like(x_seq[0]), torch.zeros_like(x_seq[0]), []
    for x in x_seq:
        s, v = layer(x, s, v)
        s_seq.append(s)
    return torch.stack(s_seq)


@pytest.mark.parametrize("weight", [torch.tensor(-0.6), torch.tensor([0.5, -1.5, 0.9, 0.1])])
def test_one_weight_for_each_neuron(snntorch, weight):
    x_seq = random_currents(14, 3, 4) / 2
    layer = snntorch.RLeaky(beta=1.0, spike_grad=ATan(), V=weight.clone(), all_to_all=False)
    net = ElementWiseRecurrentContainer(ours(), torch.add, nn.Parameter(weight.clone()))
    expected = output_and_gradients(lambda x: theirs(layer, x), x_seq, [layer.recurrent.V])
    actual = output_and_gradients(net.forward_sequence, x_seq, [net.weight])
    torch.testing.assert_close(actual, expected, **SAME)
    assert 0.05 < expected[0].mean() < 0.95


def test_without_self_connections(snntorch):
    torch.manual_seed(0)
    x_seq = random_currents(14, 3, 4) / 2
    layer = snntorch.RLeaky(beta=1.0, spike_grad=ATan(), linear_features=4)
    net = LinearRecurrentContainer(ours(), 4, 4, self_connections=False)
    with torch.no_grad():
        net.rc.weight[:, :4] = torch.eye(4)
        net.rc.weight[:, 4:] = 2 * layer.recurrent.weight
        layer.recurrent.weight.mul_(2).fill_diagonal_(0)
        net.rc.bias.copy_(layer.recurrent.bias)
    expected = output_and_gradients(lambda x: theirs(layer, x), x_seq, layer.recurrent.parameters())
    actual = output_and_gradients(net.forward_sequence, x_seq, [net.rc.weight, net.rc.bias])
    actual[2] = actual[2][:, 4:]
    assert expected[2].diagonal().all()
    expected[2].fill_diagonal_(0)
    torch.testing.assert_close(actual, expected, **SAME)
    assert 0.05 < expected[0].mean() < 0.95


def test_convolutional_feedback(snntorch):
    torch.manual_seed(0)
    x_seq = random_currents(14, 3, 2, 5, 6) / 2
    layer = snntorch.RLeaky(beta=1.0, spike_grad=ATan(), conv2d_channels=2, kernel_size=3)
    net = ConvRecurrentContainer(ours(), 2, 2, 3)
    with torch.no_grad():
        net.rc.weight.zero_()[:, :2, 1, 1] = torch.eye(2)
        net.rc.weight[:, 2:] = layer.recurrent.weight.mul_(3)
        net.rc.bias.copy_(layer.recurrent.bias)
    expected = output_and_gradients(lambda x: theirs(layer, x), x_seq, layer.recurrent.parameters())
    actual = output_and_gradients(net.forward_sequence, x_seq, [net.rc.weight, net.rc.bias])
    actual[2] = actual[2][:, 2:]
    torch.testing.assert_close(actual, expected, **SAME)
    assert 0.05 < expected[0].mean() < 0.95
