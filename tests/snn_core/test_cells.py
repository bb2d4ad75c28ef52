"""The equations of cells, worked out by hand."""

from __future__ import annotations

import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from torch import Tensor

from snn_core.cells import IF, LI
from snn_core.more.neuron import AdaptiveLIF
from snn_core.more.synapse import DoubleExponential
from snn_core.surrogate import Sigmoid


def numbers(*values: float) -> Tensor:
    return torch.tensor(values, dtype=torch.float64)


def run(cell, inputs: list[float]) -> list[list[float]]:
    """Return the outputs, and each state after every step, of one neuron."""
    state = tuple(numbers(first) for first in cell.initial)
    found = []
    for x in inputs:
        y, state = cell.step(numbers(x), state)
        found.append([y.item(), *(value.item() for value in state)])
    return [list(column) for column in zip(*found, strict=True)]


FIRE = {"v_threshold": 1.0, "v_reset": 0.0, "surrogate_function": Sigmoid(), "detach_reset": False}


def fire(**changed) -> dict:
    return FIRE | changed


def test_gradient_in_a_refractory_period():
    """v passes it unchanged; the spike that is forced to 0, and the input that charges nothing, have none."""
    cell = IF(**fire(detach_reset=True), refractory=1)
    x, v = numbers(9.0).requires_grad_(), numbers(0.25).requires_grad_()
    s, (after, left) = cell.step(x, (v, numbers(1.0)))
    assert (s.item(), after.item(), left.item()) == (0.0, 0.25, 0.0)
    assert torch.autograd.grad(after, [x, v], retain_graph=True) == (0, 1)
    assert torch.autograd.grad(s, [x, v]) == (0, 0)
    s, (_, left) = cell.step(numbers(2.0).requires_grad_(), (numbers(0.0), numbers(0.0)))
    assert s == 1
    assert not left.requires_grad


def test_double_exponential_by_hand():
    y, rise, decay = run(DoubleExponential(0.5, 0.75, 2.0), [1.0, 0.0, 1.0])
    assert rise == [1.0, 0.5, 1.25]
    assert decay == [1.0, 0.75, 1.5625]
    assert y == [0.0, 0.5, 0.625]


@settings(deadline=None)
@given(
    st.lists(st.integers(-8, 24), min_size=1, max_size=30),
    st.sampled_from([0.0, -0.25, None, "none"]),
    st.integers(0, 3),
    st.booleans(),
    st.tuples(*[st.integers(0, 3)] * 4),
)
def test_adaptive_current_based_neuron_in_plain_python(inputs, v_reset, refractory, decay_input, eighths):
    """An adaptive neuron behind a current, both in steps of 1/8, so that all numbers are exact or nearly so."""
    inv_tau, rho, beta, decay = (0.125 + value / 8 for value in eighths)
    current = LI(1 - decay, False)
    cell = AdaptiveLIF(
        **fire(v_reset=v_reset),
        inv_tau=inv_tau,
        decay_input=decay_input,
        rho=rho,
        beta=beta,
        refractory=refractory,
    )
    i_seq = run(current, [x / 8 for x in inputs])[0]
    at = v_reset if isinstance(v_reset, float) else 0.0
    i, v, a, left, expected = 0.0, at, 0.0, 0, []
    for x in inputs:
        i = decay * i + x / 8
        s = 0
        if left:
            left -= 1
        else:
            h = v - inv_tau * (v - at) + i * (inv_tau if decay_input else 1)
            threshold = 1 + beta * a
            assume(abs(h - threshold) > 1e-9)  # where rounding decides
            s = int(h > threshold)
            v = h if not s or v_reset == "none" else h - threshold if v_reset is None else v_reset
            left = refractory * s
        a = rho * a + s
        expected.append((s, v, a, left))
    found = run(cell, i_seq)
    columns = zip(*expected, strict=True)
    for ours, theirs in zip(found, columns, strict=False):
        assert ours == pytest.approx(list(theirs), rel=1e-9, abs=1e-9)
