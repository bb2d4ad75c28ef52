r"""Surrogate functions: the Heaviside step forward, a smooth stand-in for its derivative backward.

A neuron spikes where ``x = h - v_threshold >= 0``. The derivative of that step is zero everywhere but at 0, so
nothing could be learned through it. Each class below keeps the step in the forward pass and defines the function
that replaces its derivative in the backward pass.

Every class scales its argument by ``alpha``: a larger value gives a narrower and higher peak at the threshold. One
class holds everything that a backend needs: ``primitive`` (the smooth step), ``derivative`` and ``alpha``.
:mod:`snn_core.more.surrogate` has more of them.

Source: E. O. Neftci, H. Mostafa, F. Zenke, "Surrogate gradient learning in spiking neural networks", IEEE Signal
Processing Magazine 36(6), 2019. https://arxiv.org/abs/1901.09948
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, nn

from snn_core.checks import check_flag, check_floating, check_number

__all__ = ["ATan", "Sigmoid", "SurrogateFunction", "heaviside"]


def heaviside(x: Tensor) -> Tensor:
    """Return 1 where ``x >= 0`` and 0 elsewhere, in the shape and dtype of ``x``. It has no gradient.

    Raises:
        TypeError: ``x`` is not a floating-point tensor.
    """
    check_floating("x", x)
    return (x >= 0).to(x)


class _Spike(torch.autograd.Function):
    """Heaviside step whose backward pass multiplies by ``surrogate.derivative``."""

    generate_vmap_rule = True

    @staticmethod
    def forward(x: Tensor, surrogate: SurrogateFunction) -> Tensor:
        return heaviside(x)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, SurrogateFunction], output: Tensor) -> None:
        x, surrogate = inputs
        # As it is now: its numbers may change before the backward pass.
        ctx.surrogate = object.__new__(type(surrogate))
        ctx.surrogate.__dict__ = surrogate.__dict__.copy()
        ctx.save_for_backward(x)

    @staticmethod
    def backward(ctx: Any, grad_spike: Tensor) -> tuple[Tensor, None]:
        (x,) = ctx.saved_tensors
        return grad_spike * ctx.surrogate.derivative(x), None


class SurrogateFunction(nn.Module):
    """Base of all surrogate functions.

    Args:
        alpha: positive, finite number that scales the argument.
        spiking: True gives the Heaviside step with the surrogate derivative; False gives the smooth ``primitive``
            itself, with its true derivative, which turns a spiking network into an ordinary one.

    Raises:
        TypeError: ``alpha`` is not a number, or ``spiking`` not a bool.
        ValueError: ``alpha`` is not positive and finite.
    """

    def __init__(self, alpha: float, spiking: bool = True) -> None:
        super().__init__()
        self.alpha, self.spiking = alpha, spiking

    def __setattr__(self, name: str, value: Any) -> None:
        if name == "alpha":
            value = check_number(f"{type(self).__name__}: alpha", value, above=0)
        elif name == "spiking":
            value = check_flag(f"{type(self).__name__}: spiking", value)
        super().__setattr__(name, value)

    def forward(self, x: Tensor) -> Tensor:
        """Return the spikes for ``x = h - v_threshold`` (any shape), in the shape and dtype of ``x``.

        Raises:
            TypeError: ``x`` is not a floating-point tensor.
        """
        return _Spike.apply(x, self) if self.spiking else self.primitive(check_floating("x", x))

    def primitive(self, x: Tensor) -> Tensor:
        """Return the smooth function of ``x`` whose derivative is :meth:`derivative`."""
        raise NotImplementedError

    def derivative(self, x: Tensor) -> Tensor:
        """Return the function of ``x`` that replaces the derivative of the Heaviside step."""
        raise NotImplementedError

    def extra_repr(self) -> str:
        return f"alpha={self.alpha}, spiking={self.spiking}"


class Sigmoid(SurrogateFunction):
    r"""Derivative of the logistic function.

    .. math:: g(x) = \sigma(\alpha x), \qquad g'(x) = \alpha\,\sigma(\alpha x)\,(1 - \sigma(\alpha x))

    Source: S. M. Bohte, "Error-backpropagation in networks of fractionally predictive spiking neurons", ICANN 2011.
    """

    def __init__(self, alpha: float = 1.0, spiking: bool = True) -> None:
        super().__init__(alpha, spiking)

    def primitive(self, x: Tensor) -> Tensor:
        return torch.sigmoid(self.alpha * x)

    def derivative(self, x: Tensor) -> Tensor:
        sigma = torch.sigmoid(self.alpha * x)
        return self.alpha * sigma * (1 - sigma)


class ATan(SurrogateFunction):
    r"""Derivative of the arc tangent; the surrogate of the three networks in the tutorial.

    .. math::
        g(x) = \tfrac{1}{\pi}\arctan(\tfrac{\pi}{2}\alpha x) + \tfrac{1}{2}, \qquad
        g'(x) = \frac{\alpha / 2}{1 + (\tfrac{\pi}{2}\alpha x)^2}

    Source: W. Fang et al., "Incorporating learnable membrane time constant to enhance learning of spiking neural
    networks", ICCV 2021. https://arxiv.org/abs/2007.05785
    """

    def __init__(self, alpha: float = 2.0, spiking: bool = True) -> None:
        super().__init__(alpha, spiking)

    def primitive(self, x: Tensor) -> Tensor:
        return torch.atan(math.pi / 2 * self.alpha * x) / math.pi + 0.5

    def derivative(self, x: Tensor) -> Tensor:
        return self.alpha / 2 / (1 + (math.pi / 2 * self.alpha * x).square())
