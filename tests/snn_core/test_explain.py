"""``explain`` says of each part whether it runs fused, and why not."""

from __future__ import annotations

import operator
import re

import pytest
import torch
from torch import nn

from sequential_fmnist.networks import NETWORKS, make_network
from snn_core.cells import IF
from snn_core.functional import derived, explain, reset_net
from snn_core.layer import (
    ElementWiseRecurrentContainer,
    LinearRecurrentContainer,
    MultiStepContainer,
    SeqToANNContainer,
    SynapseFilter,
)
from snn_core.neuron import IFNode, LIFNode, LINode, MultiStepIFNode
from snn_core.surrogate import Triangle
from snn_core.synapse import LowPassSynapse


class Own(IFNode):
    """A neuron that computes something else."""

    def forward(self, x):
        return super().forward(2 * x)


class OtherIF(IF):
    """A cell that computes something else."""

    def step(self, x, state):
        return super().step(2 * x, state)


class SortedIF(IF):
    """A cell whose neurons depend on each other."""

    def step(self, x, state):
        return super().step(x.sort().values, state)


class BranchingIF(IF):
    """A cell that looks at its input."""

    def step(self, x, state):
        return super().step(2 * x if x.mean() > 0 else x, state)


class DrawingIF(IF):
    """A cell with noise."""

    def step(self, x, state):
        return super().step(x + torch.rand(3), state)


class NoisyIF(IF):
    """A cell with a number that nobody can foresee."""

    def step(self, x, state):
        return super().step(x + torch.rand(()).item(), state)


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


def add(x, y):
    """Add, as the text does."""
    return x + y


def add_by_name(x, y):
    return torch.add(x, y)


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
        name for name in ("fc1", "sn1", "sy1", "fc2", "sn2") if getattr(net, name, None) is not None
    ]
    assert {decision.scan for decision in decisions} == {1}
    assert str(decisions[0]) == f"{'fc1':16} {'Linear':28} fused, in scan 1"
    assert net.sn2.v is None
    assert torch.equal(state, torch.random.get_rng_state())


@pytest.mark.parametrize(
    "function",
    [
        torch.add,
        operator.add,
        add,
        torch.sub,
        lambda x, y: x - y,
        lambda x, y: x + x,
        lambda x, y: x + y + 0,
    ],
)
def test_arithmetic_is_known_under_any_name(function):
    assert reason(MultiStepContainer(ElementWiseRecurrentContainer(IFNode(), function))) == ""


def closure(scale):
    return lambda x, y: x + scale * y


@pytest.mark.parametrize(
    "function",
    [
        lambda *x: x[0] + x[1],
        lambda x, y, scale=1.0: x + scale * y,
        closure(0.5),
        add_by_name,
        nn.Bilinear(3, 3, 3),
    ],
)
def test_another_function_takes_the_loop(function):
    layer = MultiStepContainer(ElementWiseRecurrentContainer(IFNode(), function))
    assert "its element-wise function is not arithmetic on its arguments alone" in reason(layer)
    x, y, expected = torch.rand(4, 2, 3), torch.zeros(2, 3), []
    node = IFNode()
    for each in x:
        y = node(function(each, y))
        expected.append(y)
    assert torch.equal(layer(x), torch.stack(expected))


def hooked(module: nn.Module | None = None) -> nn.Module:
    module = module or IFNode()
    module.register_forward_hook(lambda *_: None)
    return module


CASES = {
    "backend='torch' asks for it": lambda: MultiStepIFNode(backend="torch"),
    "store_v_seq keeps v of every step": lambda: MultiStepIFNode(store_v_seq=True),
    "its surrogate_function is not one that kernels know": lambda: MultiStepIFNode(
        surrogate_function=nn.Softsign()
    ),
    "kernels do not know .sort of a tensor": lambda: MultiStepContainer(node(SortedIF)),
    "kernels do not know .mean of a tensor": lambda: MultiStepContainer(node(BranchingIF)),
    "kernels take numbers, not Tensor": lambda: MultiStepContainer(node(DrawingIF)),
    "its equations give something else each time": lambda: MultiStepContainer(node(NoisyIF)),
    "its step changes v_threshold, which is no state": lambda: MultiStepContainer(node(CountingIF)),
    "it has hooks, or a forward of its own": lambda: MultiStepContainer(hooked()),
    "its sub_module: it has hooks, or a forward of its own": lambda: MultiStepContainer(
        LinearRecurrentContainer(Own(), 3, 3)
    ),
    "its sub_module: kernels do not know .sort": lambda: MultiStepContainer(
        LinearRecurrentContainer(node(SortedIF), 3, 3)
    ),
    "its sub_module has hooks": lambda: MultiStepContainer(
        LinearRecurrentContainer(hooked(nn.Sequential(IFNode(), LowPassSynapse(2.0))), 3, 3)
    ),
    "its sub_module has a cell twice": lambda: MultiStepContainer(
        LinearRecurrentContainer(nn.Sequential(*[LowPassSynapse(2.0)] * 2), 3, 3)
    ),
    "in_features differs from out_features": lambda: MultiStepContainer(
        LinearRecurrentContainer(nn.Linear(3, 2), 3, 2)
    ),
    "no kernel knows Conv1d": lambda: SeqToANNContainer(nn.Conv1d(2, 2, 1)),
}


def test_a_cell_of_one_s_own_is_fused():
    assert reason(MultiStepContainer(LinearRecurrentContainer(node(OtherIF), 3, 3))) == ""


def test_a_neuron_and_its_synapse_are_fused_within_a_loop():
    cells = nn.Sequential(IFNode(), nn.Sequential(LowPassSynapse(2.0), LINode()))
    assert reason(MultiStepContainer(LinearRecurrentContainer(cells, 3, 3))) == ""


@pytest.mark.parametrize(
    "cells",
    [
        lambda: [IFNode(), nn.Linear(3, 3)],
        lambda: [nn.Linear(3, 3), IFNode()],
        lambda: [IFNode(), hooked()],
        lambda: [IFNode(), nn.Dropout()],
        lambda: [LowPassSynapse(2.0) for _ in range(7)],
        lambda: [LinearRecurrentContainer(IFNode(), 3, 3), LowPassSynapse(2.0)],
        lambda: [],
    ],
)
def test_what_is_not_a_few_cells_takes_the_loop_within_a_loop(cells):
    modules = cells()
    container = LinearRecurrentContainer(nn.Sequential(*modules), 3, 3)
    assert reason(MultiStepContainer(container)).startswith("its sub_module")
    x_seq = 2 * torch.rand(4, 2, 3)
    y, expected = torch.zeros(2, 3), []
    torch.manual_seed(0)
    reset_net(container)
    y_seq = MultiStepContainer(container)(x_seq)
    torch.manual_seed(0)
    reset_net(container)
    for x in x_seq:
        y = container.rc(torch.cat([x, y], -1))
        for module in modules:
            y = module(y)
        expected.append(y)
    assert torch.equal(y_seq, torch.stack(expected))


def test_a_parameter_in_the_place_of_a_number_is_fused():
    lif = LIFNode()
    lif.tau = nn.Parameter(torch.tensor(2.0))
    assert reason(MultiStepContainer(lif)) == ""


@pytest.mark.parametrize("expected", CASES)
def test_the_reason_for_the_loop(expected):
    x = torch.rand(4, 2, 2, 3) if "Conv1d" in expected else None
    assert expected in reason(CASES[expected](), x)


def test_a_device_without_kernels():
    assert reason(MultiStepIFNode(), torch.rand(4, 2, 3, device="meta")) == "no kernel runs on meta here"


def test_explain_leaves_the_network_as_it_is_even_if_that_raises():
    layer = SeqToANNContainer(nn.Linear(3, 2))
    with pytest.raises(ValueError, match="last dimension must be 3"):
        explain(layer, torch.rand(4, 2, 5))
    before = vars(layer).keys()
    assert explain(layer, torch.rand(4, 2, 3))[0].fused
    assert vars(layer).keys() == before
    assert not any("_decisions" in vars(module) for module in layer.modules())


# What is derived ------------------------------------------------------------------------------------------------------


def test_statements_are_derived_from_the_equations():
    """h = v + x; s = h >= 1; v = (1 - s) h + s 0, without gradient through s; triangle: 2 max(0, 1 - 2 |h - 1|)."""
    node = IFNode(surrogate_function=Triangle(alpha=2.0), detach_reset=True)
    assert derived(node, torch.zeros(1, 1)).splitlines() == [
        "forward",
        "    r0 = v0 + x",
        "    r1 = r0 - 1.0",
        "    r2 = select(r1 >= 0.0, 1.0, 0.0)",
        "    r3 = r2",
        "    r4 = 1.0 - r3",
        "    r5 = r4 * r0",
        "    r6 = r3 * 0.0",
        "    r7 = r5 + r6",
        "    y = r2",
        "    new v0 = r7",
        "backward",
        "    r0 = v0 + x",
        "    r1 = r0 - 1.0",
        "    r2 = select(r1 >= 0.0, 1.0, 0.0)",
        "    r3 = r2",
        "    r4 = 1.0 - r3",
        "    r11 = g_v0 * r4",
        "    r14 = fabs(r1)",
        "    r15 = 2.0 * r14",
        "    r16 = 1.0 - r15",
        "    r17 = maximum(0.0, r16)",
        "    r18 = 2.0 * r17",
        "    r19 = g_y * r18",
        "    r21 = r11 + r19",
        "    g_x = r21",
        "    new g_v0 = r21",
    ]


@pytest.mark.parametrize(
    ("module", "ends"),
    [
        (SynapseFilter(2.0), ["y =", "new v0 =", "g_x =", "new g_v0 =", "g_p0 ="]),
        (
            ElementWiseRecurrentContainer(IFNode(), operator.add),
            ["y =", "new v0 =", "new v1 =", "g_x =", "new g_v0 =", "new g_v1 ="],
        ),
        (LinearRecurrentContainer(IFNode(), 3, 3), ["y =", "new v0 =", "g_x =", "new g_v0 ="]),
        (MultiStepIFNode(), ["y =", "new v0 =", "g_x =", "new g_v0 ="]),
    ],
)
def test_statements_end_in_all_results_and_leave_the_module_as_it_is(module, ends):
    lines = [line.strip() for line in derived(module, torch.zeros(2, 3)).splitlines()]
    found = [line for line in lines if " = " in line and line[0] not in "rf"]
    assert [line[: line.index("=") + 1] for line in found] == ends
    assert not any(word in " ".join(lines) for word in ("one", "zero", "c0"))
    assert all(getattr(part, "v", None) is None for part in module.modules())


@pytest.mark.parametrize(
    ("module", "reason"),
    [
        (node(SortedIF), "Node: kernels do not know .sort of a tensor"),
        (IFNode(store_v_seq=True), "IFNode: store_v_seq keeps v of every step"),
        (nn.ReLU(), "ReLU: no kernel knows ReLU"),
        (nn.Linear(3, 2), "a linear layer, which has no cell"),
    ],
)
def test_what_takes_the_loop_has_no_statements_and_says_why(module, reason):
    with pytest.raises(ValueError, match=f"nothing is derived from {re.escape(reason)}"):
        derived(module, torch.zeros(2, 3))
