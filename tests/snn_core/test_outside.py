"""Equations that read something outside of their fields: they follow what it is now, or are not fused."""

from __future__ import annotations

import pytest
import torch

from snn_core import cells
from snn_core.functional import explain
from snn_core.layer import MultiStepContainer
from snn_core.neuron import IFNode
from snn_core.surrogate import ATan, SurrogateFunction

GAIN = 1.0


def scaled(x):
    return GAIN * x


def node(kind, surrogate_function=None):
    class Node(IFNode):
        def cell(self, like):
            return kind(self.v_threshold, self.v_reset, self.surrogate_function, self.detach_reset)

    return Node(surrogate_function=surrogate_function or ATan())


class ReadsGlobal(cells.IF):
    def charge(self, x, v):
        return v + GAIN * x


class ReadsThroughFunction(cells.IF):
    def charge(self, x, v):
        return v + scaled(x)


class OwnSlope(SurrogateFunction):
    def derivative(self, x):
        return GAIN / (1 + x.abs())


def closure(gain):
    class Closure(cells.IF):
        def charge(self, x, v):
            return v + gain() * x

    return Closure


def change_global(value):
    globals()["GAIN"] = value


@pytest.fixture(autouse=True)
def _as_it_was():
    yield
    change_global(1.0)


def results(net):
    """Output and gradient of a sequence and of single steps."""
    found = []
    for run in (net.forward_sequence, lambda x: torch.stack([net(one) for one in x])):
        net.reset()
        x = torch.linspace(0, 2, 24).view(6, 1, 4).requires_grad_()
        s = run(x)
        found.append((s.detach(), *torch.autograd.grad(s.sum(), x)))
    return found


NODES = {
    "global": lambda: node(ReadsGlobal),
    "in a function": lambda: node(ReadsThroughFunction),
    "in a surrogate": lambda: node(cells.IF, OwnSlope(1.0)),
    "around": lambda: node(closure(lambda: GAIN)),
}


@pytest.mark.parametrize("build", NODES.values(), ids=NODES)
def test_a_number_outside_takes_the_loop_which_sees_what_it_is_now(build):
    net = build()
    (decision,) = explain(MultiStepContainer(net), torch.zeros(2, 1, 4))
    assert "which may change: make it a field" in decision.reason
    for gain in (1.0, 0.3, 2.0):
        change_global(gain)
        fast, slow = results(net)
        assert 0 < slow[0].sum() < 24
        assert all(map(torch.equal, fast, slow))
