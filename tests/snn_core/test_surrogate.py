"""Surrogate functions: a step forward, the documented derivative backward."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from snn_core.more.surrogate import Erf, FastSigmoid, Rectangle, Triangle
from snn_core.surrogate import ATan, Sigmoid, SurrogateFunction

ALL = [Sigmoid, ATan, Erf, FastSigmoid, Triangle, Rectangle]

every_surrogate = pytest.mark.parametrize("surrogate", ALL)
every_alpha = pytest.mark.parametrize("alpha", [0.5, 2.0])

# The formulas of the sources that the docstrings name, written in another form where there is one.
FORMULAS = {
    Sigmoid: lambda x, a: a * np.exp(-a * x) / (1 + np.exp(-a * x)) ** 2,
    ATan: lambda x, a: 2 * a / (4 + (np.pi * a * x) ** 2),
    Erf: lambda x, a: a * np.exp(-((a * x) ** 2)) / np.sqrt(np.pi),
    FastSigmoid: lambda x, a: (1 + a * np.abs(x)) ** -2.0,
    Triangle: lambda x, a: np.maximum(0, a - a**2 * np.abs(x)),
    Rectangle: lambda x, a: np.where((-0.5 / a < x) & (x < 0.5 / a), a, 0.0),
}


def grid() -> torch.Tensor:
    """Return points on both sides of 0 and of every kink, none of them on a kink."""
    return torch.linspace(-2.973, 3.007, 300, dtype=torch.float64)


def expected_derivative(surrogate: type[SurrogateFunction], alpha: float, x: torch.Tensor) -> torch.Tensor:
    return torch.from_numpy(FORMULAS[surrogate](x.detach().numpy(), alpha))


@every_surrogate
def test_primitive_is_one_half_at_the_threshold(surrogate):
    assert surrogate().primitive(torch.tensor(0.0)) == 0.5


@every_surrogate
def test_forward_is_the_heaviside_step_with_a_spike_at_zero(surrogate):
    x = torch.tensor([-3.0, -1e-6, -0.0, 0.0, 1e-6, 3.0])
    assert surrogate()(x).tolist() == [0.0, 0.0, 1.0, 1.0, 1.0, 1.0]


@every_surrogate
@every_alpha
def test_backward_multiplies_by_the_derivative(surrogate, alpha):
    x = grid().requires_grad_()
    gradient_of_spikes = torch.linspace(-2, 5, x.numel(), dtype=x.dtype)
    surrogate(alpha)(x).backward(gradient_of_spikes)
    expected = gradient_of_spikes * expected_derivative(surrogate, alpha, x)
    torch.testing.assert_close(x.grad, expected, rtol=1e-12, atol=1e-14)


@every_surrogate
def test_not_spiking_gives_the_primitive_with_its_gradient(surrogate):
    smooth = surrogate(spiking=False)
    x = grid().requires_grad_()
    y = smooth(x)
    y.sum().backward()
    assert torch.equal(y, smooth.primitive(x))
    assert ((y > 0) & (y < 1)).any()
    torch.testing.assert_close(x.grad, smooth.derivative(x.detach()), rtol=1e-10, atol=1e-12)


def test_default_slopes():
    assert [surrogate().alpha for surrogate in ALL] == [1.0, 2.0, 2.0, 10.0, 1.0, 1.0]
