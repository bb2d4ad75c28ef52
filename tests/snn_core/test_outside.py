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
            return v + gain * x

    def change(value):
        nonlocal gain
        gain = value

    return Closure, change


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


def reason(net):
    return explain(MultiStepContainer(net), torch.zeros(2, 1, 4))[0].reason


@pytest.mark.parametrize("kind", [ReadsGlobal, ReadsThroughFunction])
def test_a_number_of_the_module_takes_the_loop_which_sees_what_it_is_now(kind):
    net = node(kind)
    assert reason(net) == "its equations read GAIN, which may change: make it a field"
    for gain in (1.0, 0.3, 2.0):
        change_global(gain)
        fast, slow = results(net)
        assert 0 < slow[0].sum() < 24
        assert all(map(torch.equal, fast, slow))


def test_a_variable_of_a_function_around_takes_the_loop():
    kind, change = closure(1.0)
    net = node(kind)
    assert "its equations read gain" in reason(net)
    change(0.3)
    assert all(map(torch.equal, *results(net)))


def test_a_surrogate_function_that_reads_a_variable_takes_the_loop():
    assert "its equations read GAIN" in reason(node(cells.IF, OwnSlope(1.0)))
