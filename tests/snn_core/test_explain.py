"""``explain`` says of each part whether it runs fused, and why not."""

from __future__ import annotations

import operator

import pytest
import torch
from torch import nn

from sequential_fmnist.networks import NETWORKS, make_network
from snn_core.cells import IF
from snn_core.functional import explain
from snn_core.layer import (
    ElementWiseRecurrentContainer,
    LinearRecurrentContainer,
    MultiStepContainer,
    SeqToANNContainer,
)
from snn_core.neuron import IFNode, LIFNode, MultiStepIFNode
from snn_core.surrogate import ATan


class Own(IFNode):
    """A neuron that computes something else."""

    def forward(self, x):
        return super().forward(2 * x)


class OtherIF(IF):
    """A cell that computes something else."""

    def step(self, x, state):
        return super().step(2 * x, state)


class OwnCell(IFNode):
    def cell(self, like):
        return OtherIF(**vars(super().cell(like)))


def add(x, y):
    """Add, as the text does."""
    return x + y


def reason(net: nn.Module, x: torch.Tensor | None = None) -> str:
    (decision,) = explain(net, torch.rand(4, 2, 3) if x is None else x)
    assert decision.fused == (decision.reason == "")
    return decision.reason


@pytest.mark.parametrize("kind", NETWORKS)
def test_the_three_networks_run_fused(kind):
    net, images = make_network(kind), torch.rand(2, 1, 28, 28)
    random = torch.random.get_rng_state()
    decisions = explain(net, images)
    assert all(decision.fused for decision in decisions)
    assert [decision.name.partition(".")[0] for decision in decisions] == [
        name for name in ("fc1", "sn1", "sy1", "fc2", "sn2") if getattr(net, name, None) is not None
    ]
    assert {decision.scan for decision in decisions} == {1}
    assert str(decisions[0]) == f"{'fc1':16} {'Linear':28} fused, in scan 1"
    assert net.sn2.v is None
    assert torch.equal(random, torch.random.get_rng_state())


@pytest.mark.parametrize("function", [torch.add, operator.add, add, lambda a, b: a + b])
def test_an_addition_is_known_under_any_name(function):
    assert reason(MultiStepContainer(ElementWiseRecurrentContainer(IFNode(), function))) == ""


@pytest.mark.parametrize(
    "function",
    [torch.sub, lambda x, y: x - y, lambda x, y: x + x, lambda *x: x[0] + x[1], lambda x, y: x + y + 0],
)
def test_another_function_takes_the_loop(function):
    layer = MultiStepContainer(ElementWiseRecurrentContainer(IFNode(), function))
    assert "not a plain addition" in reason(layer)
    x, y, expected = torch.rand(4, 2, 3), torch.zeros(2, 3), []
    node = IFNode()
    for each in x:
        y = node(function(each, y))
        expected.append(y)
    assert torch.equal(layer(x), torch.stack(expected))


def hooked() -> nn.Module:
    node = IFNode()
    node.register_forward_hook(lambda *_: None)
    return node


def with_parameter() -> nn.Module:
    node = LIFNode()
    node.tau = nn.Parameter(torch.tensor(2.0))
    return node


CASES = {
    "backend='torch' asks for it": lambda: MultiStepIFNode(backend="torch"),
    "store_v_seq keeps v of every step": lambda: MultiStepIFNode(store_v_seq=True),
    "its surrogate function is not one that kernels know": lambda: MultiStepIFNode(
        surrogate_function=ATan(spiking=False)
    ),
    "tau is a tensor, kernels take numbers": lambda: MultiStepContainer(with_parameter()),
    "it has hooks, or a forward of its own": lambda: MultiStepContainer(hooked()),
    "its sub_module: it has hooks, or a forward of its own": lambda: MultiStepContainer(
        LinearRecurrentContainer(Own(), 3, 3)
    ),
    "its sub_module: its cell is not": lambda: MultiStepContainer(LinearRecurrentContainer(OwnCell(), 3, 3)),
    "in_features differs from out_features": lambda: MultiStepContainer(
        LinearRecurrentContainer(nn.Linear(3, 2), 3, 2)
    ),
    "no kernel knows Conv1d": lambda: SeqToANNContainer(nn.Conv1d(2, 2, 1)),
}


@pytest.mark.parametrize("expected", CASES)
def test_the_reason_for_the_loop(expected):
    x = torch.rand(4, 2, 2, 3) if "Conv1d" in expected else None
    assert expected in reason(CASES[expected](), x)


def test_a_device_without_kernels():
    assert reason(MultiStepIFNode(), torch.rand(4, 2, 3, device="meta")) == "no kernel runs on meta here"


def test_nothing_is_kept_outside_of_explain():
    from snn_core.backend import decisions

    with pytest.raises(ValueError, match="last dimension must be 3"):
        explain(SeqToANNContainer(nn.Linear(3, 2)), torch.rand(4, 2, 5))
    assert decisions._noted is None
    MultiStepIFNode()(torch.rand(4, 2, 3))
    assert decisions._noted is None
