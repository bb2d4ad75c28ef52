"""What neurons share: the parameters, the state and the record of those that fire, the leak of those that leak."""

from __future__ import annotations

import math
from typing import Any

from torch import Tensor, nn

from snn_core import surrogate
from snn_core.cells import Reset
from snn_core.checks import Like, check_flag, check_number, check_whole
from snn_core.numbers import Numbers, NumbersModule
from snn_core.state import NotRecordedError as NotRecordedError

__all__ = ["SpikingNeuron"]

#: Most steps of a refractory period: bf16 counts to it exactly.
LONGEST_REFRACTORY = 256


class SpikingNeuron(NumbersModule):
    """Base of all neurons that fire: the parameters and the state that they share.

    Args:
        v_threshold: membrane potential from which the neuron fires, one of :data:`~snn_core.numbers.Numbers`.
        v_reset: value after a spike (hard reset), which is also where the neuron rests; None for the soft reset, which
            subtracts the threshold before the next step's leak (Spyx, and snnTorch by default, do it after the leak);
            or ``"none"`` for no reset. Without a hard reset the neuron rests at 0.
        surrogate_function: maps ``h - v_threshold`` to spikes and defines the gradient.
        detach_reset: whether the gradient through the spike is cut in the reset.
        store_v_seq: record v[t], as ``record("v")`` does. This also works inside a recurrent container: ask the
            container's ``sub_module`` for its ``v_seq``.
        backend: how sequences run, one of :data:`snn_core.kernels.BACKENDS`.
        refractory: steps after a spike in which the neuron neither charges nor fires, 256 at most; v keeps the value
            that the reset gave it, while synaptic currents and adaptation continue, as in Norse's ``LIFRefrac``. No
            gradient passes through a spike that the period suppresses; that through v passes.

    Attributes:
        v: membrane potential ``[N, *]``; None before the first step. May be set, to a tensor, to start elsewhere.
        v_seq: v[t] of every step since the last reset, ``[T, N, *]``, if it was recorded.
        refractory_left: steps that are left of the refractory period, a state of neurons that have one.

    Raises:
        TypeError: an argument is not a number, or not a bool, or ``surrogate_function`` is a class or cannot be called.
        ValueError: a number that is not finite, ``v_reset >= v_threshold``, ``refractory`` out of its range, or an
            unknown backend; from ``forward``, numbers for each neuron that do not fit the shape of a step.
    """

    states: tuple[str, ...] = ("v",)

    def __init__(
        self,
        v_threshold: Numbers = 1.0,
        v_reset: Reset = 0.0,
        surrogate_function: nn.Module | None = None,
        detach_reset: bool = False,
        store_v_seq: bool = False,
        backend: str = "auto",
        *,
        refractory: int = 0,
    ) -> None:
        super().__init__(backend)
        name = type(self).__name__
        if isinstance(v_reset, str) and v_reset != "none":
            raise TypeError(f"{name}: v_reset must be a number, None or 'none', got {v_reset!r}")
        is_number = not (v_reset is None or isinstance(v_reset, str))
        self.v_reset: Reset = check_number(f"{name}: v_reset", v_reset) if is_number else v_reset
        # Below 0 a soft reset would add to v, for ever.
        which, above = (
            ("v_threshold with the soft reset", 0.0) if v_reset is None else ("v_threshold", -math.inf)
        )
        self.keep("v_threshold", v_threshold, above, which)
        lowest = self.v_threshold
        if isinstance(lowest, Tensor):
            lowest = math.inf if lowest.is_meta else float(lowest.detach().min())
        if isinstance(self.v_reset, float) and self.v_reset >= lowest:
            raise ValueError(f"{name}: v_reset must be below v_threshold={v_threshold}, got {v_reset}")
        self.refractory = check_whole(f"{name}: refractory", refractory, 0, LONGEST_REFRACTORY)
        if self.refractory:
            self.states = (*self.states, "refractory_left")
            self.register_state("refractory_left")
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
        self.store_v_seq = store_v_seq

    @property
    def store_v_seq(self) -> bool:
        return "v" in self._records

    @store_v_seq.setter
    def store_v_seq(self, value: bool) -> None:
        value = check_flag(f"{type(self).__name__}: store_v_seq", value)
        self.record(*[name for name in self._records if name != "v"], *["v"] * value)

    def fire_fields(self, like: Tensor | Like) -> dict[str, Any]:
        """Return the fields that the cells of all these neurons have."""
        return {
            "v_threshold": self.number("v_threshold", like),
            "v_reset": self.v_reset,
            "surrogate_function": self.surrogate_function,
            "detach_reset": self.detach_reset,
            "refractory": self.refractory,
        }

    def __getattr__(self, name: str) -> Any:
        if name != "v_seq":
            return super().__getattr__(name)
        if not self.store_v_seq:
            fix = "build the neuron with store_v_seq=True"
            raise NotRecordedError(f"{type(self).__name__}: v_seq was not recorded: {fix}")
        return self.recorded("v")

    def extra_repr(self) -> str:
        shown = f"{self.shown('v_threshold')}, v_reset={self.v_reset}, detach_reset={self.detach_reset}"
        return f"{shown}, refractory={self.refractory}" if self.refractory else shown


class Leaky(NumbersModule):
    """What neurons with a membrane time constant share."""

    #: What their constructor calls it.
    _tau_argument = "tau"

    def _keep_leak(self, tau: Numbers, decay_input: bool, is_trained: bool = False) -> None:
        self.keep_tau("tau", tau, is_trained=is_trained, argument=self._tau_argument)
        self.decay_input = check_flag(f"{type(self).__name__}: decay_input", decay_input)

    def _leak(self, like: Tensor | Like) -> dict[str, Any]:
        return {"inv_tau": self.inv_tau("tau", like, self._tau_argument), "decay_input": self.decay_input}

    def extra_repr(self) -> str:
        own = f"{self.shown('tau')}, decay_input={self.decay_input}"
        return ", ".join(filter(None, (super().extra_repr(), own)))
