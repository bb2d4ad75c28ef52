"""``explain`` says of each part whether it runs fused, and why not."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn

from sequential_fmnist.networks import NETWORKS, make_network
from snn_core.cells import IF
from snn_core.functional import explain, reset_net, set_backend, train_steps
from snn_core.layer import (
    ElementWiseRecurrentContainer,
    LinearRecurrentContainer,
    MultiStepContainer,
    SeqToANNContainer,
    SynapseFilter,
)
from snn_core.neuron import IFNode, MultiStepIFNode
from snn_core.surrogate import ATan
from snn_core.synapse import LowPassSynapse


class SortedIF(IF):
    """A cell whose neurons depend on each other."""

    def step(self, x, state):
        return super().step(x.sort().values, state)


class DrawingIF(IF):
    """A cell with noise."""

    def step(self, x, state):
        return super().step(x + torch.rand(3), state)


class CountingIF(IF):
    """A cell that remembers more than its states."""

    def step(self, x, state):
        self.v_threshold = self.v_threshold + 1
        return super().step(x, state)


def node(cell):
    class Node(IFNode):
        def cell(self, like):
            return cell(**vars(super().cell(like)))

    return Node()


def reason(net: nn.Module, x: torch.Tensor | None = None) -> str:
    (decision,) = explain(net, torch.rand(4, 2, 3) if x is None else x)
    assert decision.fused == (decision.reason == "")
    return decision.reason


@pytest.mark.parametrize("kind", NETWORKS)
def test_the_three_networks_run_fused(kind):
    net, images = make_network(kind), torch.rand(2, 1, 28, 28)
    state = torch.random.get_rng_state()
    decisions = explain(net, images)
    assert all(decision.fused for decision in decisions)
    assert [decision.name.partition(".")[0] for decision in decisions] == [
        name for name, _ in net.named_children()
    ]
    assert {decision.scan for decision in decisions} == {1}
    assert str(decisions[0]) == f"{'fc1':16} {'Linear':28} fused, in scan 1"
    assert net.sn2.v is None
    assert torch.equal(state, torch.random.get_rng_state())


def closure(scale):
    return lambda x, y: x + scale * y


def hooked(module: nn.Module | None = None) -> nn.Module:
    module = module or IFNode()
    module.register_forward_hook(lambda *_: None)
    return module


CASES = {
    "backend='torch' asks for it": lambda: MultiStepIFNode(backend="torch"),
    "kernels do not know .sort of a tensor": lambda: MultiStepContainer(node(SortedIF)),
    "use a tensor that is none of its fields": lambda: MultiStepContainer(node(DrawingIF)),
    "its step changes v_threshold, which is no state": lambda: MultiStepContainer(node(CountingIF)),
    "it has hooks: record steps": lambda: MultiStepContainer(hooked()),
    "tensor that is none of its fields: make it one": lambda: MultiStepContainer(
        ElementWiseRecurrentContainer(IFNode(), closure(torch.tensor(0.5)))
    ),
    "its sub_module has hooks": lambda: MultiStepContainer(
        LinearRecurrentContainer(hooked(nn.Sequential(IFNode(), LowPassSynapse(2.0))), 3, 3)
    ),
    "no kernel knows Conv1d": lambda: SeqToANNContainer(nn.Conv1d(2, 2, 1)),
}


@pytest.mark.parametrize("expected", CASES)
def test_the_reason_for_the_loop(expected):
    x = torch.rand(4, 2, 2, 3) if "Conv1d" in expected else None
    assert expected in reason(CASES[expected](), x)


def recurrent(*arguments):
    return LinearRecurrentContainer(*(arguments or (IFNode(), 3, 3)))


class OwnLoop(nn.Module):
    def __init__(self):
        super().__init__()
        self.fc, self.hidden, self.out = nn.Linear(3, 3), recurrent(), IFNode()

    def forward(self, x_seq):
        return torch.stack([self.out(self.hidden(self.fc(x))) for x in x_seq])


@pytest.mark.parametrize(
    ("net", "names"), [(IFNode(), [""]), (recurrent(), ["", "sub_module"]), (OwnLoop(), ["hidden", "out"])]
)
def test_what_is_called_step_by_step_says_so(net, names):
    x = torch.rand(4, 2, 3) if isinstance(net, OwnLoop) else torch.rand(2, 3)
    found = explain(net, x)
    assert [decision.name for decision in found] == names[: len(found)]
    assert found and all("called step by step" in decision.reason for decision in found)
    sequence = [net.fc, net.hidden, net.out] if isinstance(net, OwnLoop) else [net]
    assert all(decision.fused for decision in explain(MultiStepContainer(*sequence), torch.rand(4, 2, 3)))


def test_second_derivatives_after_set_backend():
    torch.manual_seed(0)
    net = MultiStepContainer(nn.Linear(3, 4), recurrent(IFNode(), 4, 4), SynapseFilter(3.0), nn.Linear(4, 1))
    x_seq, weight = torch.rand(5, 2, 3), net[0].weight
    with pytest.raises(RuntimeError, match=r"set_backend\(net, 'torch'\)"):
        torch.autograd.grad(net(x_seq).sum(), weight, create_graph=True)
    reset_net(net)
    set_backend(net, "torch")
    (gradient,) = torch.autograd.grad(net(x_seq).sum(), weight, create_graph=True)
    gradient.norm().backward()
    assert weight.grad.abs().sum() > 0


def test_explain_leaves_the_network_as_it_is_even_if_that_raises():
    layer = SeqToANNContainer(nn.Linear(3, 2))
    with pytest.raises(ValueError, match="last dimension must be 3"):
        explain(layer, torch.rand(4, 2, 5))
    before = vars(layer).keys()
    assert explain(layer, torch.rand(4, 2, 3))[0].fused
    assert vars(layer).keys() == before
    assert not any("_decisions" in vars(module) for module in layer.modules())


def test_a_large_linear_layer_is_left_to_torch_but_not_where_one_scan_has_to_take_all():
    net = MultiStepContainer(nn.Linear(128, 128), IFNode(surrogate_function=ATan()))
    x_seq, labels = torch.rand(4, 8, 128), torch.arange(8)
    linear, neurons = explain(net, x_seq)
    assert not linear.fused and "16,384 weights" in linear.reason and neurons.fused
    loop = copy.deepcopy(net)
    train_steps(net, x_seq, labels, torch.optim.SGD(net.parameters(), 1.0), "mse", labels[None])
    target = nn.functional.one_hot(labels, 128).float()
    nn.functional.mse_loss(loop(x_seq).mean(0), target).backward()
    after = loop[0].weight - loop[0].weight.grad
    assert not torch.equal(after, loop[0].weight)
    torch.testing.assert_close(net[0].weight, after)
