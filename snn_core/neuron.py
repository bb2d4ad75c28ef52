"""Spiking neurons: one step at a time (``IFNode``, ``LIFNode``) or a whole sequence (``MultiStep...``).

The equations are those of :mod:`snn_core.functional`; a module adds state and parameters' checks.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from snn_core import functional, surrogate
from snn_core.backend import check_backend, fused_neuron, reference
from snn_core.backend.decisions import loop, note
from snn_core.backend.reference import NeuronStep
from snn_core.base import MemoryModule, check_input, check_sequence
from snn_core.checks import check_flag, check_number

if TYPE_CHECKING:
    from snn_core.backend.ops import FusedNeuron

__all__ = ["IFNode", "LIFNode", "MultiStepIFNode", "MultiStepLIFNode", "SpikingNeuron"]


class NotRecordedError(AttributeError, RuntimeError):
    """There is no record to return. An AttributeError, so that inspection of a module passes over it."""


class SpikingNeuron(MemoryModule):
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

    def __init__(
        self,
        v_threshold: float = 1.0,
        v_reset: float | None = 0.0,
        surrogate_function: nn.Module | None = None,
        detach_reset: bool = False,
        store_v_seq: bool = False,
        backend: str = "auto",
    ) -> None:
        super().__init__()
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
        self.backend = check_backend(backend)
        self.register_state("v")
        self._v_records: list[Tensor] = []

    def step_function(self) -> NeuronStep:
        """Return the pure function (x[t], v[t-1]) -> (s[t], v[t]) of this neuron, its constants bound."""
        raise NotImplementedError

    def _constants(self) -> dict[str, Any]:
        return {
            "v_threshold": self.v_threshold,
            "v_reset": self.v_reset,
            "surrogate_function": self.surrogate_function,
            "detach_reset": self.detach_reset,
        }

    def initial_v(self, x: Tensor) -> Tensor:
        """Return v[t-1] for a step of the shape of ``x``: the state, or its initial value."""
        return self.checked_state("v", x, 0.0 if self.v_reset is None else self.v_reset)

    def forward(self, x: Tensor) -> Tensor:
        """Take one time step.

        Args:
            x: input current x[t], ``[N, *]`` or any other shape, down to 0-dim.

        Returns:
            Spikes s[t], shape and dtype of ``x``.

        Raises:
            TypeError: ``x`` is not a floating-point tensor.
            ValueError: the state comes from an input of another shape, device or dtype.
        """
        check_input(self, x)
        s, v = self.step_function()(x, self.initial_v(x))
        self.keep_state("v", v)
        if self.store_v_seq:
            self._v_records.append(v.unsqueeze(0))
        return s

    def forward_sequence(self, x_seq: Tensor) -> Tensor:
        """Take T time steps at once; equals T calls of the single step.

        Args:
            x_seq: input currents, ``[T, N, *]`` with T >= 1.

        Returns:
            Spikes, ``[T, N, *]``.

        Raises:
            TypeError, ValueError: as for the single step, or ``x_seq`` is not ``[T, N, *]``.
        """
        check_sequence(self, x_seq)
        v = self.initial_v(x_seq[0])
        fused = self.fused(x_seq)
        note(self, fused is not None)
        if fused is not None:
            s_seq, v = fused.sequence(x_seq, v)
            self.keep_state("v", v)
            return s_seq
        s_seq, v, v_seq = reference.neuron_sequence(self.step_function(), x_seq, v, self.store_v_seq)
        self.keep_state("v", v)
        if v_seq is not None:
            self._v_records.append(v_seq)
        return s_seq

    def fused(self, x_seq: Tensor) -> FusedNeuron | None:
        """Return what walks this neuron through ``x_seq`` in one kernel; None if it takes the loop, as for records."""
        if self.store_v_seq:
            return loop("store_v_seq keeps v of every step")
        return fused_neuron(self.backend, self.step_function(), x_seq)

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

    def step_function(self) -> NeuronStep:
        return partial(functional.if_step, **self._constants())


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

    def step_function(self) -> NeuronStep:
        return partial(functional.lif_step, tau=self.tau, decay_input=self.decay_input, **self._constants())

    def extra_repr(self) -> str:
        return f"{super().extra_repr()}, tau={self.tau}, decay_input={self.decay_input}"


class _MultiStep(SpikingNeuron):
    """Makes the whole sequence ``[T, N, *]`` the input of ``forward``."""

    def forward(self, x_seq: Tensor) -> Tensor:
        """Take T time steps; see :meth:`SpikingNeuron.forward_sequence`."""
        return self.forward_sequence(x_seq)

    def extra_repr(self) -> str:
        return f"{super().extra_repr()}, backend={self.backend}"


class MultiStepIFNode(_MultiStep, IFNode):
    """Integrate-and-fire neuron for a sequence: ``[T, N, *]`` to spikes ``[T, N, *]``. See :class:`IFNode`."""


class MultiStepLIFNode(_MultiStep, LIFNode):
    """Leaky integrate-and-fire neuron for a sequence: ``[T, N, *]`` to ``[T, N, *]``. See :class:`LIFNode`."""
