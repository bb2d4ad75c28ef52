"""Surrogate functions beside those of the tutorial; see :mod:`snn_core.surrogate`."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from snn_core.surrogate import SurrogateFunction

__all__ = ["Erf", "FastSigmoid", "Rectangle", "Triangle"]


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
