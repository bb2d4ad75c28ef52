"""What all exchange formats share: errors, named differences, and the modules that only exchanged networks need."""

from __future__ import annotations

import importlib
from collections.abc import Collection
from types import ModuleType

import torch
from torch import Tensor, nn

from sequential_fmnist.networks import columns_as_sequence
from snn_core.state import MemoryModule, check_input

__all__ = [
    "DIFFERENCES",
    "ExchangeError",
    "ExchangeWarning",
    "Integrator",
    "OnImages",
    "check_allowed",
    "first_line",
    "need",
]

#: Length of a time step in NIR's seconds, where nobody says another: that of snnTorch, SpikingJelly and others.
DT = 1e-4

#: What NIR cannot say exactly, by the name that ``allow=`` takes, and what other libraries will compute instead.
DIFFERENCES: dict[str, str] = {
    "synapse-filter": (
        "a SynapseFilter does not decay in a step that brings a spike; NIR's leaky integrator, which takes its place, "
        "decays in every step"
    ),
    "soft-reset": (
        "v_reset=None subtracts the threshold after a spike; NIR's neurons know only the reset to a value, here 0, and "
        "lose what was above the threshold"
    ),
}


class ExchangeError(ValueError):
    """A network or a file cannot be exchanged; the message names the part and says why."""


class ExchangeWarning(UserWarning):
    """Something was converted with a difference that its user allowed."""


def need(package: str) -> ModuleType:
    """Import an optional package.

    Raises:
        ExchangeError: it is not installed.
    """
    try:
        return importlib.import_module(package)
    except ImportError as error:
        raise ExchangeError(
            f"this format needs the package {error.name or package}: pip install 'snn-core[exchange]'"
        ) from error


def first_line(error: BaseException) -> str:
    """Return the first line of an error, or its kind if it says nothing."""
    return str(error).strip().partition("\n")[0] or type(error).__name__


def check_allowed(allow: Collection[str]) -> set[str]:
    """Return ``allow`` as a set.

    Raises:
        ValueError: a name that is not in :data:`DIFFERENCES`.
    """
    names = {allow} if isinstance(allow, str) else set(allow)
    if unknown := sorted(names - DIFFERENCES.keys()):
        raise ValueError(
            f"allow must hold names among {', '.join(map(repr, DIFFERENCES))}, got {', '.join(map(repr, unknown))}"
        )
    return names


class Integrator(MemoryModule):
    r"""Neurons that integrate and never fire: NIR's ``I`` and ``LI``. The output is the membrane potential.

    .. math:: v[t] = v[t-1] + x[t] \quad\text{(tau=None)}, \qquad
        v[t] = v[t-1] + \tfrac{1}{\tau}(x[t] - v[t-1]) \quad\text{(decay\_input)}, \qquad
        v[t] = v[t-1] - \tfrac{1}{\tau} v[t-1] + x[t] \quad\text{(else)}

    Args:
        tau: membrane time constant in time steps, at least 1; None does not leak.
        decay_input: whether the input is divided by ``tau`` too.

    Raises:
        ValueError: ``tau`` below 1.
    """

    def __init__(self, tau: float | None = None, decay_input: bool = True) -> None:
        super().__init__()
        if tau is not None and not tau >= 1:
            raise ValueError(f"Integrator: tau must be at least 1 time step, got {tau}")
        self.tau, self.decay_input = tau, decay_input
        self.register_state("v")

    def forward(self, x: Tensor) -> Tensor:
        """Take one time step: currents x[t], ``[N, *]``, to potentials v[t] of the same shape."""
        check_input(self, x)
        v = self.checked_state("v", x, 0.0)
        if self.tau is None:
            self.v = v + x
        elif self.decay_input:
            self.v = v + (x - v) / self.tau
        else:
            self.v = v - v / self.tau + x
        return self.v

    def extra_repr(self) -> str:
        return f"tau={self.tau}, decay_input={self.decay_input}"


class OnImages(nn.Module):
    """Lets a network for sequences read images column by column, as the tutorial's networks do.

    Args:
        net: ``[T, N, 28]`` to ``[T, N, classes]``, as :func:`snn_exchange.from_nir` gives it.
        last: how many of the last steps the read-out takes; None takes all.

    Shapes: images ``[N, 1, 28, W]`` to outputs ``[N, classes]``, the mean over the steps of what ``net`` gives: firing
    rates if it ends with neurons. Of an :class:`Integrator` at the end, which adds up what arrives, it is the mean of
    what arrives.
    """

    def __init__(self, net: nn.Module, last: int | None = None) -> None:
        super().__init__()
        self.net, self.last = net, last

    def forward(self, images: Tensor) -> Tensor:
        x_seq = columns_as_sequence(images)
        y_seq = self.net(x_seq)
        parts = list(self.net.children())
        if parts and isinstance(parts[-1], nn.Sequential) and isinstance(parts[-1][-1], Integrator):
            y_seq = torch.diff(y_seq, dim=0, prepend=torch.zeros_like(y_seq[:1]))
        return y_seq[-(self.last or 0) :].mean(0)
