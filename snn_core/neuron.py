"""Spiking neurons: one step at a time (``IFNode``, ``LIFNode``) or a whole sequence (``MultiStep...``).

The equations are those of :mod:`snn_core.cells`; a module adds state and parameters' checks.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from snn_core import surrogate
from snn_core.backend.decisions import loop
from snn_core.backend.plan import Part
from snn_core.base import CellModule
from snn_core.cells import IF, LIF, ParametricLIF
from snn_core.checks import Like, check_flag, check_number, check_taus

__all__ = [
    "IFNode",
    "LIFNode",
    "MultiStepIFNode",
    "MultiStepLIFNode",
    "MultiStepParametricLIFNode",
    "ParametricLIFNode",
    "SpikingNeuron",
]


class NotRecordedError(AttributeError, RuntimeError):
    """There is no record to return. An AttributeError, so that inspection of a module passes over it."""


class SpikingNeuron(CellModule):
    """Base of all neurons: the parameters and the state that they share.

    Args:
        v_threshold: membrane potential from which the neuron fires.
        v_reset: value after a spike (hard reset), or None for the soft reset, which subtracts ``v_threshold``.
        surrogate_function: maps ``h - v_threshold`` to spikes and defines the gradient.
        detach_reset: whether the gradient through the spike is cut in the reset.
        store_v_seq: record v[t] of every step since the last reset in :attr:`v_seq`. This also works inside a
            recurrent container: ask the container's ``sub_module`` for its ``v_seq``.
        backend: how sequences run, one of :data:`snn_core.backend.BACKENDS`.

    Attributes:
        v: membrane potential ``[N, *]``; None before the first step. May be set, to a tensor, to start elsewhere.

    Raises:
        TypeError: a number or a flag that is none, or ``surrogate_function`` is a class or cannot be called.
        ValueError: a number that is not finite, ``v_reset >= v_threshold``, or an unknown backend.
    """

    states = ("v",)

    def __init__(
        self,
        v_threshold: float = 1.0,
        v_reset: float | None = 0.0,
        surrogate_function: nn.Module | None = None,
        detach_reset: bool = False,
        store_v_seq: bool = False,
        backend: str = "auto",
    ) -> None:
        super().__init__(backend)
        name = type(self).__name__
        self.v_threshold = check_number(f"{name}: v_threshold", v_threshold)
        self.v_reset = None if v_reset is None else check_number(f"{name}: v_reset", v_reset)
        if self.v_reset is not None and self.v_reset >= self.v_threshold:
            raise ValueError(f"{name}: v_reset must be below v_threshold={v_threshold}, got {v_reset}")
        if isinstance(surrogate_function, type):
            given = surrogate_function.__name__
            raise TypeError(
                f"{name}: surrogate_function must be an instance, got the class {given}: write {given}()"
            )
        if not (surrogate_function is None or callable(surrogate_function)):
            given = type(surrogate_function).__name__
            raise TypeError(f"{name}: surrogate_function must be a function of a tensor, got {given}")
        self.surrogate_function = surrogate.Sigmoid() if surrogate_function is None else surrogate_function
        self.detach_reset = check_flag(f"{name}: detach_reset", detach_reset)
        self.store_v_seq = check_flag(f"{name}: store_v_seq", store_v_seq)
        self._v_records: list[Tensor] = []

    def _keep(self, state: tuple[Tensor, ...], y: Tensor) -> None:
        super()._keep(state, y)
        if self.store_v_seq:
            self._v_records.append(state[0].unsqueeze(0))

    def _loop(self, x_seq: Tensor, like: Like) -> Tensor:
        if not self.store_v_seq:
            return super()._loop(x_seq, like)
        return torch.stack([SpikingNeuron.forward(self, x) for x in x_seq])

    def part(self, like: Like) -> Part | None:
        if self.store_v_seq:
            return loop("store_v_seq keeps v of every step")
        return super().part(like)

    @property
    def v_seq(self) -> Tensor:
        """Membrane potential v[t] of every step since the last reset, ``[T, N, *]``.

        Raises:
            NotRecordedError: nothing was recorded.
        """
        if not self._v_records:
            raise AttributeError("v_seq")  # __getattr__ explains it
        return torch.cat(self._v_records)

    def __getattr__(self, name: str) -> Any:
        if name == "v_seq":
            fix = "no step since reset" if self.store_v_seq else "build the neuron with store_v_seq=True"
            raise NotRecordedError(f"{type(self).__name__}: v_seq was not recorded: {fix}")
        return super().__getattr__(name)

    def reset(self) -> None:
        super().reset()
        self._v_records = []

    def _map_state(self, function: Callable[[Tensor], Tensor]) -> None:
        super()._map_state(function)
        self._v_records = [function(v) for v in self._v_records]

    def __getstate__(self) -> dict[str, Any]:
        return super().__getstate__() | {"_v_records": [v.detach() for v in self._v_records]}

    def extra_repr(self) -> str:
        return f"v_threshold={self.v_threshold}, v_reset={self.v_reset}, detach_reset={self.detach_reset}"


class IFNode(SpikingNeuron):
    r"""Integrate-and-fire neuron, one step at a time: :math:`h[t] = v[t-1] + x[t]`.

    See :class:`SpikingNeuron` for the arguments, :func:`snn_core.functional.if_step` for the equations.
    """

    def cell(self, like: Tensor | Like) -> IF:
        return IF(self.v_threshold, self.v_reset, self.surrogate_function, self.detach_reset)


class LIFNode(SpikingNeuron):
    r"""Leaky integrate-and-fire neuron, one step at a time.

    .. math:: h[t] = v[t-1] + \tfrac{1}{\tau}(x[t] - (v[t-1] - v_{rest}))

    Args:
        tau: membrane time constant in time steps, > 1.
        decay_input: whether the input is divided by ``tau`` too (as above), see
            :func:`snn_core.functional.lif_charge`.
        v_threshold, v_reset, surrogate_function, detach_reset, store_v_seq, backend: see :class:`SpikingNeuron`.

    Raises:
        TypeError, ValueError: ``tau <= 1``, or as :class:`SpikingNeuron`.
    """

    def __init__(
        self,
        tau: float = 2.0,
        decay_input: bool = True,
        v_threshold: float = 1.0,
        v_reset: float | None = 0.0,
        surrogate_function: nn.Module | None = None,
        detach_reset: bool = False,
        store_v_seq: bool = False,
        backend: str = "auto",
    ) -> None:
        super().__init__(v_threshold, v_reset, surrogate_function, detach_reset, store_v_seq, backend)
        name = type(self).__name__
        self.tau = check_number(f"{name}: tau", tau)
        if self.tau <= 1:
            raise ValueError(f"{name}: tau must be above 1 time step, got {tau}")
        self.decay_input = check_flag(f"{name}: decay_input", decay_input)

    def cell(self, like: Tensor | Like) -> LIF:
        return LIF(
            self.v_threshold,
            self.v_reset,
            self.surrogate_function,
            self.detach_reset,
            self.tau,
            self.decay_input,
        )

    def extra_repr(self) -> str:
        return f"{super().extra_repr()}, tau={self.tau}, decay_input={self.decay_input}"


class ParametricLIFNode(SpikingNeuron):
    r"""Leaky integrate-and-fire neuron whose time constant is trained, one step at a time.

    .. math:: h[t] = v[t-1] + \tfrac{1}{\tau}(x[t] - (v[t-1] - v_{rest})), \qquad 1/\tau = \sigma(w)

    Args:
        init_tau: first membrane time constant in time steps, > 1: one number for all neurons, or one for each in the
            shape of a sample, as ``[2.0] * 32`` for steps ``[N, 32]``.
        v_threshold, v_reset, surrogate_function, detach_reset, store_v_seq, backend: see :class:`SpikingNeuron`.

    Attributes:
        w: the parameter, 0-dim or one for each neuron, so that tau stays above 1.

    Raises:
        TypeError, ValueError: an ``init_tau`` that is not made of numbers above 1, or as :class:`SpikingNeuron`.

    Source: W. Fang et al., "Incorporating learnable membrane time constant to enhance learning of spiking neural
    networks", ICCV 2021. https://arxiv.org/abs/2007.05785
    """

    def __init__(
        self,
        init_tau: float | Sequence[float] | Tensor = 2.0,
        v_threshold: float = 1.0,
        v_reset: float | None = 0.0,
        surrogate_function: nn.Module | None = None,
        detach_reset: bool = False,
        store_v_seq: bool = False,
        backend: str = "auto",
    ) -> None:
        super().__init__(v_threshold, v_reset, surrogate_function, detach_reset, store_v_seq, backend)
        self.w = nn.Parameter(-torch.log(check_taus(f"{type(self).__name__}: init_tau", init_tau) - 1))

    def cell(self, like: Tensor | Like) -> ParametricLIF:
        if self.w.dim() and self.w.shape != like.shape[1:]:
            raise ValueError(
                f"{type(self).__name__}: init_tau has shape {list(self.w.shape)}, so a time step must have shape "
                f"[N, {', '.join(map(str, self.w.shape))}], got {list(like.shape)}"
            )
        inv_tau = torch.sigmoid(self.w).to(like.dtype)
        return ParametricLIF(
            self.v_threshold, self.v_reset, self.surrogate_function, self.detach_reset, inv_tau
        )


class _MultiStep(SpikingNeuron):
    """Makes the whole sequence ``[T, N, *]`` the input of ``forward``."""

    takes_sequences = True
    part = SpikingNeuron.part

    def forward(self, x_seq: Tensor) -> Tensor:
        """Take T time steps; see :meth:`SpikingNeuron.forward_sequence`."""
        return self.forward_sequence(x_seq)

    def extra_repr(self) -> str:
        return f"{super().extra_repr()}, backend={self.backend}"


class MultiStepIFNode(_MultiStep, IFNode):
    """Integrate-and-fire neuron for a sequence: ``[T, N, *]`` to spikes ``[T, N, *]``. See :class:`IFNode`."""


class MultiStepParametricLIFNode(_MultiStep, ParametricLIFNode):
    """Neuron with a learnable time constant for a sequence, ``[T, N, *]``. See :class:`ParametricLIFNode`."""


class MultiStepLIFNode(_MultiStep, LIFNode):
    """Leaky integrate-and-fire neuron for a sequence: ``[T, N, *]`` to ``[T, N, *]``. See :class:`LIFNode`."""
