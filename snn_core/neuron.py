"""Neurons: one step at a time (``IFNode``, ``LIFNode``, ...) or a whole sequence (``MultiStep...``).

The equations are those of :mod:`snn_core.cells`; a module holds the state and the parameters, and checks them.
Thresholds, time constants and all other :data:`~snn_core.module.Numbers` are given as a number, fixed; as a list or
tensor in the shape of a sample, such as ``[2.0] * 32`` for steps ``[N, 32]``, one for each neuron and fixed, or one for
each channel of ``[N, C, *]``; or as an ``nn.Parameter`` of one number or of such a shape, which is trained.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from snn_core import surrogate
from snn_core.cells import IF, LI, LIF, ParametricLIF, Reset
from snn_core.checks import Like, check_flag, check_number, check_numbers, check_whole
from snn_core.module import CellModule, Checks, MultiStep, NotRecordedError, Numbers, check_taus

__all__ = [
    "IFNode",
    "LIFNode",
    "LINode",
    "MultiStepIFNode",
    "MultiStepLIFNode",
    "MultiStepLINode",
    "MultiStepParametricLIFNode",
    "ParametricLIFNode",
    "SpikingNeuron",
]


#: Most steps of a refractory period: bf16 counts to it exactly.
LONGEST_REFRACTORY = 256


def _check_reset(name: str, value: Any) -> Reset:
    if isinstance(value, str) and value != "none":
        raise TypeError(f"{name} must be a number, None or 'none', got {value!r}")
    return value if value is None or value == "none" else check_number(name, value)


def _check_surrogate(name: str, value: Any) -> Any:
    if isinstance(value, type):
        raise TypeError(
            f"{name} must be an instance, got the class {value.__name__}: write {value.__name__}()"
        )
    if not callable(value):
        raise TypeError(f"{name} must be a function of a tensor, got {type(value).__name__}")
    return value


class SpikingNeuron(CellModule):
    """Base of all neurons that fire: the parameters and the state that they share.

    Args:
        v_threshold: membrane potential from which the neuron fires, one of :data:`~snn_core.module.Numbers`.
        v_reset: value after a spike (hard reset), which is also where the neuron rests; None for the soft reset, which
            subtracts the threshold before the next step's leak (Spyx, and snnTorch by default, do it after the leak);
            or ``"none"`` for no reset. Without a hard reset the neuron rests at 0.
        surrogate_function: maps ``h - v_threshold`` to spikes and defines the gradient.
        detach_reset: whether the gradient through the spike is cut in the reset.
        store_v_seq: record v[t], as ``record("v")`` does. This also works inside a recurrent container: ask the
            container's ``sub_module`` for its ``v_seq``. ``record("h")`` records h[t], before the reset.
        backend: how sequences run, one of :data:`snn_core.kernels.BACKENDS`.
        refractory: steps after a spike in which the neuron neither charges nor fires, 256 at most; v keeps the value
            that the reset gave it, while synaptic currents and adaptation continue, as in Norse's ``LIFRefrac``. No
            gradient passes through a spike that the period suppresses; that through v passes.

    Attributes:
        v: membrane potential ``[N, *]``; None before the first step. May be set, to a tensor, to start elsewhere.
        h: membrane potential before the last reset, a state after ``record("h")``.
        v_seq: v[t] of every step since the last reset, ``[T, N, *]``, if it was recorded.
        refractory_left: steps that are left of the refractory period, a state of neurons that have one.

    Raises:
        TypeError: an argument is not a number, or not a bool, or ``surrogate_function`` is a class or cannot be called.
        ValueError: a number that is not finite, ``v_reset >= v_threshold``, ``refractory`` out of its range, or an
            unknown backend; from ``forward``, numbers for each neuron that do not fit the shape of a step.
    """

    states: tuple[str, ...] = ("v",)
    checked: Checks = CellModule.checked | {
        "v_threshold": check_numbers,
        "v_reset": _check_reset,
        "surrogate_function": _check_surrogate,
        "detach_reset": check_flag,
    }

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
        self.v_threshold = v_threshold
        self.v_reset = v_reset
        self.refractory = check_whole(f"{type(self).__name__}: refractory", refractory, 0, LONGEST_REFRACTORY)
        if self.refractory:
            self.register_state("refractory_left")
        self.surrogate_function = surrogate.Sigmoid() if surrogate_function is None else surrogate_function
        self.detach_reset = detach_reset
        self.store_v_seq = store_v_seq

    def check_with_others(self, name: str, value: Any) -> None:
        """Refuse a reset that is not below the threshold."""
        if name not in ("v_threshold", "v_reset") or "v_reset" not in {name, *self.__dict__}:
            return
        v_threshold, v_reset = (
            value if one == name else getattr(self, one) for one in ("v_threshold", "v_reset")
        )
        lowest = v_threshold
        if isinstance(lowest, Tensor):
            lowest = math.inf if lowest.is_meta else float(lowest.detach().min())
        kind = type(self).__name__
        if v_reset is None and lowest <= 0:  # the soft reset would add to v, for ever
            raise ValueError(f"{kind}: v_threshold must be above 0 with the soft reset, got {lowest}")
        if isinstance(v_reset, float) and v_reset >= lowest:
            raise ValueError(f"{kind}: v_reset must be below v_threshold={lowest}, got {v_reset}")

    @property
    def recordable(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys((*super().recordable, "h")))

    def record(self, *names: str) -> None:
        super().record(*names)
        keeps_h = any(name == "h" for name, _ in self._recorders)
        self.state_names = tuple(name for name in self.state_names if name != "h")
        self.__dict__.pop("h", None)
        if keeps_h:
            self.register_state("h")

    @property
    def store_v_seq(self) -> bool:
        return "v" in self._records

    @store_v_seq.setter
    def store_v_seq(self, value: bool) -> None:
        value = check_flag(f"{type(self).__name__}: store_v_seq", value)
        self.record(*[name for name in self._records if name != "v"], *["v"] * value)

    def fire_fields(self, like: Tensor | Like) -> dict[str, Any]:
        """Return the fields that the cells of all these neurons have."""
        surrogate_function = self._modules.get("surrogate_function")
        return {
            "v_threshold": self.number("v_threshold", like),
            "v_reset": self.v_reset,
            "surrogate_function": surrogate_function or self.surrogate_function,
            "detach_reset": self.detach_reset,
            "refractory": self.refractory,
            "keeps_h": "h" in self.state_names,
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


class LeakyNeuron(SpikingNeuron):
    """Base of the neurons that fire and have a membrane time constant, see :class:`LIFNode`."""

    checked = SpikingNeuron.checked | {"decay_input": check_flag}
    taus = {"tau": "w"}

    def __init__(self, tau: Numbers, decay_input: bool, *others: Any, **options: Any) -> None:
        super().__init__(*others, **options)
        self.tau, self.decay_input = tau, decay_input

    def leaky_fields(self, like: Tensor | Like) -> dict[str, Any]:
        """Return the fields that the cells of neurons have that leak by 1/tau."""
        return self.fire_fields(like) | {
            "inv_tau": self.inv_tau("tau", like),
            "decay_input": self.decay_input,
        }

    def extra_repr(self) -> str:
        return f"{super().extra_repr()}, {self.shown('tau')}, decay_input={self.decay_input}"


class IFNode(SpikingNeuron):
    r"""Integrate-and-fire neuron, one step at a time: :math:`h[t] = v[t-1] + x[t]`.

    See :class:`SpikingNeuron` for the arguments, :class:`snn_core.cells.IF` for the equations.
    """

    def cell(self, like: Tensor | Like) -> IF:
        return IF(**self.fire_fields(like))


class LIFNode(LeakyNeuron):
    r"""Leaky integrate-and-fire neuron, one step at a time.

    .. math:: h[t] = v[t-1] + \tfrac{1}{\tau}(x[t] - (v[t-1] - v_{rest}))

    Args:
        tau: membrane time constant in time steps, one of :data:`~snn_core.module.Numbers`. A fixed one may be 1, a
            membrane without memory, or ``math.inf``, a perfect integrator (with ``decay_input=False``, else it has no
            input). A trained one is above 1 and kept as ``w``, as :class:`ParametricLIFNode` does.
        decay_input: whether the input is divided by ``tau`` too (as above), see
            :func:`snn_core.functional.lif_charge`.
        v_threshold, v_reset, surrogate_function, detach_reset, store_v_seq, backend, refractory: see
            :class:`SpikingNeuron`.

    Raises:
        TypeError, ValueError: a ``tau`` out of its range, or as :class:`SpikingNeuron`.
    """

    def __init__(
        self,
        tau: Numbers = 2.0,
        decay_input: bool = True,
        v_threshold: Numbers = 1.0,
        v_reset: Reset = 0.0,
        surrogate_function: nn.Module | None = None,
        detach_reset: bool = False,
        store_v_seq: bool = False,
        backend: str = "auto",
        *,
        refractory: int = 0,
    ) -> None:
        super().__init__(
            tau,
            decay_input,
            v_threshold,
            v_reset,
            surrogate_function,
            detach_reset,
            store_v_seq,
            backend,
            refractory=refractory,
        )

    def cell(self, like: Tensor | Like) -> LIF | ParametricLIF:
        if self._trained("tau") is not None:
            return ParametricLIF(**self.leaky_fields(like))
        tau = self.number("tau", like)
        return LIF(**self.fire_fields(like), tau=tau, decay_input=self.decay_input)


class ParametricLIFNode(LIFNode):
    r"""Leaky integrate-and-fire neuron whose time constant is trained, one step at a time.

    .. math:: h[t] = v[t-1] + \tfrac{1}{\tau}(x[t] - (v[t-1] - v_{rest})), \qquad 1/\tau = \sigma(w)

    Args:
        init_tau: first membrane time constant in time steps, > 1: one number for all neurons, or one for each in the
            shape of a sample, as ``[2.0] * 32`` for steps ``[N, 32]``.
        decay_input: see :class:`LIFNode`.
        v_threshold, v_reset, surrogate_function, detach_reset, store_v_seq, backend, refractory: see
            :class:`SpikingNeuron`.

    Attributes:
        w: the parameter, 0-dim or one for each neuron, so that tau stays above 1.
        tau: the time constant, which follows from ``w``.

    Raises:
        TypeError, ValueError: an ``init_tau`` that is not made of numbers above 1, or as :class:`SpikingNeuron`.

    Source: W. Fang et al., "Incorporating learnable membrane time constant to enhance learning of spiking neural
    networks", ICCV 2021. https://arxiv.org/abs/2007.05785
    """

    def __init__(
        self,
        init_tau: float | Sequence[float] | Tensor = 2.0,
        v_threshold: Numbers = 1.0,
        v_reset: Reset = 0.0,
        surrogate_function: nn.Module | None = None,
        detach_reset: bool = False,
        store_v_seq: bool = False,
        backend: str = "auto",
        *,
        decay_input: bool = True,
        refractory: int = 0,
    ) -> None:
        taus = check_taus(f"{type(self).__name__}: init_tau", init_tau, is_trained=True)
        super().__init__(
            nn.Parameter(torch.as_tensor(taus).detach()),
            decay_input,
            v_threshold,
            v_reset,
            surrogate_function,
            detach_reset,
            store_v_seq,
            backend,
            refractory=refractory,
        )


class LINode(CellModule):
    r"""Leaky integrator, one step at a time: a membrane that never fires, for a read-out. Its output is v.

    .. math::
        v[t] &= v[t-1] + \tfrac{1}{\tau}(x[t] - v[t-1]) \quad\text{(decay\_input)} \\
        v[t] &= v[t-1] - \tfrac{1}{\tau} v[t-1] + x[t] \quad\text{(else)}

    Args:
        tau: membrane time constant in time steps, see :class:`LIFNode`; kept as ``w`` if it
            is trained.
        decay_input: whether the input is divided by ``tau`` too.
        backend: how sequences run, one of :data:`snn_core.kernels.BACKENDS`.

    Attributes:
        v: membrane potential ``[N, *]``; None before the first step.

    Raises:
        TypeError, ValueError: a ``tau`` out of its range, a ``decay_input`` that is not a bool, or an unknown backend.

    Source: the read-out of G. Bellec et al., "A solution to the learning dilemma for recurrent networks of spiking
    neurons", Nature Communications 11, 2020. https://doi.org/10.1038/s41467-020-17236-y
    """

    states: tuple[str, ...] = ("v",)
    checked = CellModule.checked | {"decay_input": check_flag}
    taus = {"tau": "w"}

    def __init__(self, tau: Numbers = 2.0, decay_input: bool = True, backend: str = "auto") -> None:
        super().__init__(backend)
        self.tau, self.decay_input = tau, decay_input

    def cell(self, like: Tensor | Like) -> LI:
        return LI(self.inv_tau("tau", like), self.decay_input)

    def extra_repr(self) -> str:
        return f"{self.shown('tau')}, decay_input={self.decay_input}"


class MultiStepIFNode(MultiStep, IFNode):
    """Integrate-and-fire neuron for a sequence: ``[T, N, *]`` to spikes ``[T, N, *]``. See :class:`IFNode`."""


class MultiStepParametricLIFNode(MultiStep, ParametricLIFNode):
    """Neuron with a learnable time constant for a sequence, ``[T, N, *]``. See :class:`ParametricLIFNode`."""


class MultiStepLIFNode(MultiStep, LIFNode):
    """Leaky integrate-and-fire neuron for a sequence: ``[T, N, *]`` to ``[T, N, *]``. See :class:`LIFNode`."""


class MultiStepLINode(MultiStep, LINode):
    """Leaky integrator for a sequence: ``[T, N, *]`` to potentials ``[T, N, *]``. See :class:`LINode`."""
