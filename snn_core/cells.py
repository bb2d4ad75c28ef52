r"""Cells: the equations of everything with a state, one time step at a time, as pure functions.

A cell maps the input x[t] and the states before a step to the output and the states after it. It holds numbers and
parameters; the state belongs to the caller. The modules of :mod:`snn_core.neuron`, :mod:`snn_core.synapse` and
:mod:`snn_core.layer` build one for each sequence, and everything else follows from it: the single step, the readable
loop, and the plan of a fused scan.

A neuron does three things in each time step, in this order:

.. math::
    \text{charge:}\quad & h[t] = f(v[t-1], x[t]) \\
    \text{fire:}\quad   & s[t] = \Theta(h[t] - v_{threshold}) \\
    \text{reset:}\quad  & v[t] = (1 - s[t])\,h[t] + s[t]\,v_{reset} \text{ (hard)} \\
                        & v[t] = h[t] - s[t]\,v_{threshold} \text{ (soft)} \\
                        & v[t] = h[t] \text{ (none)}

Shapes: input, states and output share one shape, ``[N, *]`` or any other down to 0-dim. Quantities are dimensionless;
time is counted in steps. Nothing is checked here; bare arithmetic raises what torch raises.

The kernels for the CPU and for CUDA and their gradients are derived from these equations, see
``kernels/record/equations.py``.

Source: W. Fang et al., "Incorporating learnable membrane time constant to enhance learning of spiking neural
networks", ICCV 2021, eq. 2-4. https://arxiv.org/abs/2007.05785
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import ClassVar, Literal

import torch
from torch import Tensor

SpikeFunction = Callable[[Tensor], Tensor]
State = tuple[Tensor, ...]
#: A number of a cell for all neurons, or a tensor, 0-dim or one number for each neuron of a sample.
Number = float | Tensor
#: The value after a spike (hard reset), or None (soft reset, by subtraction), or "none" (no reset).
Reset = float | Literal["none"] | None


def rest(v_reset: Reset) -> float:
    """Return where a neuron rests, and begins: at the value of a hard reset, else at 0."""
    return 0.0 if v_reset is None or isinstance(v_reset, str) else v_reset


def if_charge(x: Tensor, v: Tensor) -> Tensor:
    r"""Charge an integrate-and-fire neuron: :math:`h[t] = v[t-1] + x[t]`."""
    return v + x


def lif_charge(x: Tensor, v: Tensor, tau: Number, v_reset: Reset = 0.0, decay_input: bool = True) -> Tensor:
    r"""Charge a leaky integrate-and-fire neuron.

    .. math::
        h[t] &= v[t-1] + \tfrac{1}{\tau}(x[t] - (v[t-1] - v_{rest})) \quad\text{(decay\_input)} \\
        h[t] &= v[t-1] - \tfrac{1}{\tau}(v[t-1] - v_{rest}) + x[t] \quad\text{(else)}

    with :math:`v_{rest} = v_{reset}` for the hard reset and 0 for the soft one (``v_reset=None``) and for ``"none"``.
    ``tau`` is the membrane time constant in time steps.
    """
    leak = v if v_reset is None or isinstance(v_reset, str) else v - v_reset
    return v + (x - leak) / tau if decay_input else v - leak / tau + x


def leaky_charge(
    x: Tensor, v: Tensor, inv_tau: Number, v_reset: Reset = 0.0, decay_input: bool = True
) -> Tensor:
    """Charge as :func:`lif_charge`, times 1/tau, which is what is trained; it rounds otherwise than a division."""
    leak = v if v_reset is None or isinstance(v_reset, str) else v - v_reset
    return v + (x - leak) * inv_tau if decay_input else v - leak * inv_tau + x


def fire(h: Tensor, v_threshold: Number, surrogate_function: SpikeFunction) -> Tensor:
    r"""Return the spikes :math:`s[t] = \Theta(h[t] - v_{threshold})`: 1 where ``h >= v_threshold``, else 0."""
    return surrogate_function(h - v_threshold)


def reset(h: Tensor, s: Tensor, v_threshold: Number, v_reset: Reset, detach_reset: bool) -> Tensor:
    """Return v[t]: hard reset to ``v_reset`` where ``s`` is 1, soft reset (``v_reset=None``) by subtraction, or ``h``.

    ``detach_reset=True`` cuts the gradient through ``s`` here, and only here.
    """
    if isinstance(v_reset, str):
        return h
    if detach_reset:
        s = s.detach()
    return h - s * v_threshold if v_reset is None else (1 - s) * h + s * v_reset


def synapse_filter_step(s: Tensor, i: Tensor, inv_tau: Tensor | float) -> Tensor:
    r"""Take a synapse filter through one time step.

    .. math:: I[t] = I[t-1] - (1 - s[t])\,\tfrac{1}{\tau}\,I[t-1] + s[t]

    The current does not decay in a step that brings a spike, so the filter is bilinear in ``s`` and ``I`` and
    not a plain low-pass.

    Args:
        s: spikes s[t], ``[N, *]``.
        i: synaptic current I[t-1], same shape.
        inv_tau: 1/tau in 1/steps, a number or a tensor that broadcasts to ``s``.

    Returns:
        The synaptic current I[t], shape of ``s``.
    """
    return i - (1 - s) * i * inv_tau + s


class Cell:
    """Base of all cells.

    The fields of a cell are numbers, tensors (parameters of one number, or of one for each neuron of a sample), a
    surrogate function, other cells, and None, flags and strings, on which equations may branch. Equations depend on
    nothing but fields, input and states. Where they are arithmetic on each neuron by itself, sequences are fused; any
    others run in the loop.
    """

    @property
    def initial(self) -> tuple[float | Tensor, ...]:
        """The value of each state before the first step."""
        return (0.0,)

    def step(self, x: Tensor, state: State) -> tuple[Tensor, State]:
        """Return output y[t] and states after the step, for input x[t] and states before it."""
        raise NotImplementedError


@dataclass(eq=False)
class IF(Cell):
    """Integrate-and-fire neuron; its states are v and, with a refractory period, the steps left of it.

    In the ``refractory`` steps after a spike the neuron neither charges nor fires: v[t] = v[t-1] and s[t] = 0. No
    gradient passes through these spikes, all of it through v. Other states, such as a current, change as usual.
    """

    v_threshold: Number
    v_reset: Reset
    surrogate_function: SpikeFunction
    detach_reset: bool
    refractory: int = field(default=0, kw_only=True)
    #: Whether h[t] is a state, too, the last one.
    keeps_h: bool = field(default=False, kw_only=True)
    #: First values of the states that a neuron has behind v and before those that these options add.
    others: ClassVar[tuple[float, ...]] = ()

    @property
    def initial(self) -> tuple[float | Tensor, ...]:
        return (rest(self.v_reset), *self.others, *(0.0,) * ((self.refractory > 0) + self.keeps_h))

    def charge(self, x: Tensor, v: Tensor) -> Tensor:
        return if_charge(x, v)

    def spike(self, h: Tensor, state: State, v_threshold: Number) -> tuple[Tensor, Tensor, State]:
        """Fire and reset; return s[t], v[t] and the states that options add: refractory steps that are left, and h."""
        s = fire(h, v_threshold, self.surrogate_function)
        v = reset(h, s, v_threshold, self.v_reset, self.detach_reset)
        more = (h,) if self.keeps_h else ()
        if not self.refractory:
            return s, v, more
        left = state[-1 - self.keeps_h]
        s, v = torch.where(left > 0, 0.0, s), torch.where(left > 0, state[0], v)
        return s, v, (torch.where(left > 0, left - 1, self.refractory * s.detach()), *more)

    def step(self, x: Tensor, state: State) -> tuple[Tensor, State]:
        s, v, more = self.spike(self.charge(x, state[0]), state, self.v_threshold)
        return s, (v, *more)


@dataclass(eq=False)
class LIF(IF):
    """Leaky integrate-and-fire neuron; see :func:`lif_charge`."""

    tau: Number
    decay_input: bool

    def charge(self, x: Tensor, v: Tensor) -> Tensor:
        return lif_charge(x, v, self.tau, self.v_reset, self.decay_input)


@dataclass(eq=False)
class ParametricLIF(IF):
    """LIF neuron given by 1/tau, which may be trained; see :func:`leaky_charge`."""

    inv_tau: Number
    decay_input: bool = field(default=True, kw_only=True)

    def charge(self, x: Tensor, v: Tensor) -> Tensor:
        return leaky_charge(x, v, self.inv_tau, self.v_reset, self.decay_input)


@dataclass(eq=False)
class LI(Cell):
    """Leaky integrator, which never fires: its state is its output; see :func:`leaky_charge`."""

    inv_tau: Number
    decay_input: bool

    def step(self, x: Tensor, state: State) -> tuple[Tensor, State]:
        v = leaky_charge(x, state[0], self.inv_tau, None, self.decay_input)
        return v, (v,)


@dataclass(eq=False)
class Synapse(Cell):
    """Synapse filter; its state is its output, the current I, and ``inv_tau`` broadcasts to a step."""

    inv_tau: Number

    def step(self, x: Tensor, state: State) -> tuple[Tensor, State]:
        i = synapse_filter_step(x, state[0], self.inv_tau)
        return i, (i,)


@dataclass(eq=False)
class OwnSteps(Cell):
    """A cell that after a sample's own steps gives 0 and keeps its states; the last state counts the steps left."""

    cell: Cell

    @property
    def initial(self) -> tuple[float | Tensor, ...]:
        return *self.cell.initial, 0.0

    def step(self, x: Tensor, state: State) -> tuple[Tensor, State]:
        *before, left = state
        y, after = self.cell.step(x, tuple(before))
        is_own = left > 0
        kept = [torch.where(is_own, a, b) for a, b in zip(after, before, strict=True)]
        return torch.where(is_own, y, 0.0), (*kept, left - 1)


@dataclass(eq=False)
class ElementWiseFeedback(Cell):
    r"""A cell that is fed its own output, element by element: :math:`i[t] = f(x[t], w\,y[t-1])`.

    Its states are those of the cell within, and y.
    """

    cell: Cell
    function: Callable[[Tensor, Tensor], Tensor]
    weight: Number | None = None

    @property
    def initial(self) -> tuple[float | Tensor, ...]:
        return *self.cell.initial, 0.0

    def step(self, x: Tensor, state: State) -> tuple[Tensor, State]:
        *inner, y = state
        i = self.function(x, y if self.weight is None else self.weight * y)
        y, after = self.cell.step(i, tuple(inner))
        return y, (*after, y)
