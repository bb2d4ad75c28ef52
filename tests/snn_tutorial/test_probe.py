from __future__ import annotations

import math

import pytest
import torch
from support_networks import random_images
from torch import nn

from sequential_fmnist.networks import NETWORKS, columns_as_sequence, make_network
from snn_core.functional import if_step, reset_net, synapse_filter_step
from snn_core.neuron import MultiStepIFNode
from snn_core.surrogate import ATan
from snn_tutorial.probe import gradient_by_column, record

every_model = pytest.mark.parametrize("model", NETWORKS)
IF = {"v_threshold": 1.0, "v_reset": 0.0, "surrogate_function": ATan(), "detach_reset": True}
LABELS = torch.tensor([3, 0, 7])


@pytest.fixture
def images() -> torch.Tensor:
    return 3 * random_images(3).double().abs()


def network(model: str) -> nn.Module:
    torch.manual_seed(1)
    return make_network(model, hidden=6).double()


def step_by_step(net: nn.Module, images: torch.Tensor) -> dict[str, torch.Tensor]:
    """Return what the neurons do, from the step functions alone."""
    zeros = torch.zeros(len(images), 6).double()
    v1, y, i, v2 = zeros, zeros, zeros, torch.zeros(len(images), 10).double()
    kept: dict[str, list[torch.Tensor]] = {}
    for x in columns_as_sequence(images):
        charge = net.fc1(x)
        if hasattr(net.sn1, "0"):
            charge = net.sn1[0].rc(torch.cat([charge, y], 1))
        y, v1 = if_step(charge, v1, **IF)
        if hasattr(net, "sy1"):
            i = synapse_filter_step(y, i, 1 / net.sy1[0].tau)
        s2, v2 = if_step(net.fc2(i if hasattr(net, "sy1") else y), v2, **IF)
        for name, value in {
            "hidden_spikes": y,
            "hidden_v": v1,
            "current": i,
            "read_out_spikes": s2,
            "read_out_v": v2,
        }.items():
            kept.setdefault(name, []).append(value)
    return {name: torch.stack(values) for name, values in kept.items()}


@every_model
def test_record_equals_the_step_functions(model, images):
    net = network(model)
    seen, expected = record(net, images), step_by_step(net, images)
    assert 0 < expected["hidden_spikes"].mean() < 1
    if model != "stateful-synapse":
        assert seen.current is None
        del expected["current"]
    for name, value in expected.items():
        torch.testing.assert_close(getattr(seen, name), value.detach())


@every_model
def test_record_leaves_no_trace(model, images):
    net = network(model)
    net(images)  # a state that is not of the recorded images
    first, second = record(net, images), record(net, images)
    assert torch.equal(first.hidden_v, second.hidden_v)
    assert not any(module._forward_hooks for module in net.modules())
    assert not any(getattr(module, "store_v_seq", False) for module in net.modules())
    assert not first.hidden_v.requires_grad
    with pytest.raises(ValueError, match="shape"):
        record(net, images[0])
    assert not any(module._forward_hooks for module in net.modules())
    assert not any(getattr(module, "store_v_seq", False) for module in net.modules())


class OneNeuron(nn.Module):
    """Maps images of one pixel in each column to the rate of one neuron."""

    def __init__(self) -> None:
        super().__init__()
        self.neuron = MultiStepIFNode(surrogate_function=ATan(), detach_reset=True)

    def forward(self, x):
        return self.neuron(columns_as_sequence(x)).mean(0)


def slope(x: float) -> float:
    """Return the derivative of ATan with alpha 2."""
    return 1 / (1 + (math.pi * x) ** 2)


def test_gradient_by_hand():
    image, label = torch.tensor([0.4, 0.3, 0.2]).double().view(1, 1, 1, 3), torch.tensor([0])
    # h = 0.4, 0.7, 0.9: no spike, so the rate is 0, the target 1, and dL/drate = -2.
    slopes = [slope(-0.6), slope(-0.3), slope(-0.1)]
    for arguments, expected in [
        ({}, [2 / 3 * sum(slopes), 2 / 3 * sum(slopes[1:]), 2 / 3 * slopes[2]]),
        ({"last_step_only": True}, [2 * slopes[2]] * 3),
    ]:
        norms = gradient_by_column(OneNeuron(), image, label, **arguments)
        assert norms[:, 0].tolist() == pytest.approx(expected)


def test_a_spike_cuts_the_gradient_by_hand():
    image = torch.tensor([1.2, 0.3, 0.2]).double().view(1, 1, 1, 3)
    norms = gradient_by_column(OneNeuron(), image, torch.tensor([0]), last_step_only=True)
    assert norms[:, 0].tolist() == pytest.approx([0, 2 * slope(-0.5), 2 * slope(-0.5)])


@every_model
def test_gradient_equals_autograd_through_the_step_functions(model, images):
    net, x = network(model), images.clone().requires_grad_()
    spikes = step_by_step(net, x)["read_out_spikes"]
    target = nn.functional.one_hot(LABELS, 10)
    for arguments, rate in [({}, spikes.mean(0)), ({"last_step_only": True}, spikes[-1])]:
        loss = ((rate - target) ** 2).mean(1).sum()
        (gradient,) = torch.autograd.grad(loss, x, retain_graph=True)
        norms = gradient_by_column(net, images, LABELS, **arguments)
        assert norms.shape == (28, 3)
        torch.testing.assert_close(norms, gradient[:, 0].norm(dim=1).T)


@every_model
def test_gradient_does_not_touch_weights_or_state(model, images):
    net = network(model)
    net(images)
    gradient_by_column(net, images, LABELS)
    assert all(weight.grad is None for weight in net.parameters())
    rate = net(images)
    reset_net(net)
    assert torch.equal(rate, net(images))
