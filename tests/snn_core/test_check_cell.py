"""`check_cell`: it passes what is right, fused or not, and names the mistake in what is not."""

from __future__ import annotations

import copy
from dataclasses import dataclass

import pytest
import torch
from torch import Tensor, nn

from snn_core import cells, layer, neuron
from snn_core.module import CellModule, MemoryModule
from snn_core.more import check_cell as checking
from snn_core.more.check_cell import check_cell
from snn_core.surrogate import ATan

PLACES = [
    "alone",
    "in ElementWiseRecurrentContainer",
    "in LinearRecurrentContainer",
    "between two nn.Linear",
]


@dataclass(eq=False)
class Trace(cells.Cell):
    """A neuron of one's own with two states: v, and a trace of its spikes that raises the threshold."""

    surrogate_function: cells.SpikeFunction
    decay: Tensor

    @property
    def initial(self):
        return 0.0, 0.5

    def step(self, x, state):
        v, a = state
        h = v + (x - v) / 2
        s = self.surrogate_function(h - (1 + a))
        return s, (h - s, self.decay * a + s)


class TraceNode(CellModule):
    states = ("v", "a")
    kind: type = Trace

    def __init__(self, decay=0.8, backend="auto"):
        super().__init__(backend)
        self.surrogate_function = ATan()
        self.decay = nn.Parameter(torch.tensor(decay))

    def cell(self, like):
        return self.kind(self.surrogate_function, self.decay.to(like.dtype))


RIGHT = {
    "a parameter for each neuron": lambda: neuron.ParametricLIFNode([2.0, 3.0, 4.0, 5.0, 6.0]),
    "SynapseFilter": lambda: layer.SynapseFilter(3.0, learnable=True),
    "two states of its own": TraceNode,
}


@pytest.mark.parametrize("build", RIGHT.values(), ids=RIGHT)
def test_passes_what_is_right_and_says_that_it_is_fused(build, recwarn):
    report = check_cell(build())
    assert report.runs == dict.fromkeys(PLACES, "fused")
    assert report.differences.keys() == report.runs.keys()
    assert max(report.differences.values()) < 1e-12
    assert not recwarn.list


def test_a_module_in_the_loop_passes_and_the_report_says_why():
    report = check_cell(TraceNode(backend="torch"))
    assert report.runs["alone"].startswith("not fused: backend='torch' asks for it")
    assert report.runs["in LinearRecurrentContainer"].startswith("not fused: its sub_module: backend='torch'")

    class Sine(Trace):
        def step(self, x, state):
            return super().step(x.tan() + 1, state)

    report = check_cell(_node(Sine))
    assert report.runs["alone"] == "not fused: kernels do not know .tan of a tensor"


def test_leaves_the_module_and_torch_s_numbers_as_they_are():
    node = TraceNode()
    node(torch.ones(2, 3))
    before, v = copy.deepcopy(node.state_dict()), node.v
    state = torch.get_rng_state()
    check_cell(node)
    assert torch.equal(torch.get_rng_state(), state)
    assert node.v is v
    assert node.decay.dtype == torch.float32
    assert node.decay.grad is None
    assert all(torch.equal(a, b) for a, b in zip(before.values(), node.state_dict().values(), strict=True))


# Mistakes -----------------------------------------------------------------------------------------------------------


def _node(kind: type, **attributes) -> nn.Module:
    return type("Node", (TraceNode,), {"kind": kind, **attributes})()


def _cell(step=None, **attributes) -> type:
    return type("Wrong", (Trace,), {**({"step": step} if step else {}), **attributes})


def remembers(self, x, state):
    self.decay = self.decay * 0.5
    return Trace.step(self, x, state)


def forgets(self, x, state):
    y, (v, _) = Trace.step(self, x, state)
    return y, (v,)


class ByHand(nn.Module):
    """A module of plain torch that keeps v where nobody finds it."""

    def __init__(self):
        super().__init__()
        self.v = 0.0

    def forward(self, x):
        self.v = 0.5 * self.v + x
        return self.v


class CutsHistory(MemoryModule):
    """A sequence gets another gradient than single steps."""

    def __init__(self):
        super().__init__()
        self.register_state("v")

    def forward(self, x):
        v = 0.5 * self.checked_state("v", x, 0.0) + x
        self.keep_state("v", v)
        return 2 * v

    def forward_sequence(self, x_seq):
        y = super().forward_sequence(x_seq)
        return y.detach() + x_seq - x_seq.detach()


MISTAKES = {
    "initial too short": (
        lambda: _node(_cell(initial=(0.0,))),
        "must be a tuple of a value for each",
    ),
    "step returns too few states": (
        lambda: _node(_cell(forgets)),
        "must return y and a tuple of the states v, a",
    ),
    "cell changes itself": (lambda: _node(_cell(remembers)), "step changes the cell's decay"),
    "a state that nobody knows": (ByHand, "memory must be registered states"),
    "a sequence with another gradient": (CutsHistory, "the gradient to the input in the loop differs"),
}


@pytest.mark.parametrize(("build", "message"), MISTAKES.values(), ids=MISTAKES)
def test_names_the_mistake(build, message):
    with pytest.raises(AssertionError, match=message):
        check_cell(build())


def test_a_wrong_kernel_is_found(monkeypatch):
    """What the plan gives is what is compared, not a second run of the loop."""
    honest = checking.scan
    monkeypatch.setattr(
        checking, "scan", lambda *given, **way: honest(*given, **way) * (1 if way else 1 + 1e-6)
    )
    with pytest.raises(AssertionError, match="the output in the plan differs from that in single steps"):
        check_cell(neuron.IFNode(surrogate_function=ATan()))
