r"""Surrogate functions: the Heaviside step forward, a smooth stand-in for its derivative backward.

A neuron spikes where ``x = h - v_threshold >= 0``. The derivative of that step is zero everywhere but at 0, so
nothing could be learned through it. Each class below keeps the step in the forward pass and defines the function
that replaces its derivative in the backward pass [1]_.

Every class scales its argument by ``alpha``: a larger value gives a narrower and, for all but
:class:`FastSigmoid`, a higher peak at the threshold. One class holds everything that a backend needs:
``primitive`` (the smooth step), ``derivative`` and ``alpha``.

.. [1] E. O. Neftci, H. Mostafa, F. Zenke, "Surrogate gradient learning in spiking neural networks", IEEE Signal
   Processing Magazine 36(6), 2019. https://arxiv.org/abs/1901.09948
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, nn

from snn_core.checks import check_flag, check_floating, check_number

__all__ = ["ATan", "Erf", "FastSigmoid", "Rectangle", "Sigmoid", "SurrogateFunction", "Triangle", "heaviside"]


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
        x, ctx.surrogate = inputs
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
        self.alpha = check_number("alpha", alpha, above=0)
        self.spiking = check_flag("spiking", spiking)

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


class Erf(SurrogateFunction):
    r"""Gaussian, the derivative of the error function.

    .. math::
        g(x) = \tfrac{1}{2}(1 + \mathrm{erf}(\alpha x)), \qquad g'(x) = \frac{\alpha}{\sqrt{\pi}} e^{-(\alpha x)^2}

    Source: S. K. Esser et al., "Backpropagation for energy-efficient neuromorphic computing", NeurIPS 2015.
    """

    def __init__(self, alpha: float = 2.0, spiking: bool = True) -> None:
        super().__init__(alpha, spiking)

    def primitive(self, x: Tensor) -> Tensor:
        return torch.erf(self.alpha * x) / 2 + 0.5

    def derivative(self, x: Tensor) -> Tensor:
        return self.alpha / math.sqrt(math.pi) * torch.exp(-(self.alpha * x).square())


class FastSigmoid(SurrogateFunction):
    r"""Derivative of the fast sigmoid, known as SuperSpike.

    .. math::
        g(x) = \tfrac{1}{2} + \frac{x}{1 + \alpha |x|}, \qquad g'(x) = \frac{1}{(1 + \alpha |x|)^2}

    The peak stays 1 for every ``alpha``, as in the paper; only the width changes.

    Source: F. Zenke, S. Ganguli, "SuperSpike: supervised learning in multilayer spiking neural networks", Neural
    Computation 30(6), 2018. https://arxiv.org/abs/1705.11146. The default slope of 10 is the one that F. Zenke,
    T. P. Vogels, Neural Computation 33(4), 2021, found to be robust.
    """

    def __init__(self, alpha: float = 10.0, spiking: bool = True) -> None:
        super().__init__(alpha, spiking)

    def primitive(self, x: Tensor) -> Tensor:
        return x / (1 + self.alpha * x.abs()) + 0.5

    def derivative(self, x: Tensor) -> Tensor:
        return 1 / (1 + self.alpha * x.abs()).square()


class Triangle(SurrogateFunction):
    r"""Triangle of area 1 over ``|x| < 1 / alpha``.

    .. math::
        g'(x) = \alpha \max(0,\; 1 - \alpha |x|), \qquad
        g(x) = \tfrac{1}{2} + u - \tfrac{1}{2} u |u|, \quad u = \mathrm{clip}(\alpha x, -1, 1)

    Source: S. K. Esser et al., "Convolutional networks for fast, energy-efficient neuromorphic computing", PNAS
    113(41), 2016. https://arxiv.org/abs/1603.08270. Also G. Bellec et al., NeurIPS 2018, with a damped peak.
    """

    def __init__(self, alpha: float = 1.0, spiking: bool = True) -> None:
        super().__init__(alpha, spiking)

    def primitive(self, x: Tensor) -> Tensor:
        u = (self.alpha * x).clamp(-1, 1)
        return u - u * u.abs() / 2 + 0.5

    def derivative(self, x: Tensor) -> Tensor:
        # The clamp from below turns NaN into NaN, so a poisoned membrane potential stays visible.
        return self.alpha * (1 - self.alpha * x.abs()).clamp(min=0)


class Rectangle(SurrogateFunction):
    r"""Rectangle of area 1 over ``|x| < 1 / (2 alpha)``.

    .. math::
        g'(x) = \alpha \; \text{where } |x| < \tfrac{1}{2\alpha}, \text{ else } 0, \qquad
        g(x) = \mathrm{clip}(\alpha x + \tfrac{1}{2}, 0, 1)

    Source: Y. Wu et al., "Spatio-temporal backpropagation for training high-performance spiking neural networks",
    Frontiers in Neuroscience 12, 2018. https://arxiv.org/abs/1706.02609 (their width ``a`` is ``1 / alpha``).
    """

    def __init__(self, alpha: float = 1.0, spiking: bool = True) -> None:
        super().__init__(alpha, spiking)

    def primitive(self, x: Tensor) -> Tensor:
        return (self.alpha * x + 0.5).clamp(0, 1)

    def derivative(self, x: Tensor) -> Tensor:
        return self.alpha * (x.abs() < 0.5 / self.alpha).to(x)
