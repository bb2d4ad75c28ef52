r"""Cells: the equations of everything with a state, one time step at a time, as pure functions.

A cell takes the input x[t] and the states before the step to the output and the states after it. What it holds are its
numbers and parameters; the state is the caller's. The modules of :mod:`snn_core.neuron` and :mod:`snn_core.layer` build
one for each sequence, and everything else reads it: the single step, the readable loop, and the plan of a fused scan.

A neuron does three things in each time step, in this order (tutorial.txt and [1]_):

.. math::
    \text{charge:}\quad & h[t] = f(v[t-1], x[t]) \\
    \text{fire:}\quad   & s[t] = \Theta(h[t] - v_{threshold}) \\
    \text{reset:}\quad  & v[t] = (1 - s[t])\,h[t] + s[t]\,v_{reset} \text{ (hard)},\quad
                          v[t] = h[t] - s[t]\,v_{threshold} \text{ (soft)}

Shapes: input, states and output share one shape, ``[N, *]`` or any other down to 0-dim. Quantities are dimensionless;
time is counted in steps. Nothing is checked here; bare arithmetic raises what torch raises.

The kernels for the CPU and for CUDA are made from these equations, see ``backend/equations.py``.

.. [1] W. Fang et al., "Incorporating learnable membrane time constant to enhance learning of spiking neural
   networks", ICCV 2021, eq. 2-4. https://arxiv.org/abs/2007.05785
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor

SpikeFunction = Callable[[Tensor], Tensor]
State = tuple[Tensor, ...]


def if_charge(x: Tensor, v: Tensor) -> Tensor:
    r"""Charge an integrate-and-fire neuron: :math:`h[t] = v[t-1] + x[t]`."""
    return v + x


def lif_charge(
    x: Tensor, v: Tensor, tau: float, v_reset: float | None = 0.0, decay_input: bool = True
) -> Tensor:
    r"""Charge a leaky integrate-and-fire neuron.

    .. math::
        h[t] = v[t-1] + \tfrac{1}{\tau}(x[t] - (v[t-1] - v_{rest})) \quad\text{(decay\_input)}, \qquad
        h[t] = v[t-1] - \tfrac{1}{\tau}(v[t-1] - v_{rest}) + x[t] \quad\text{(else)}

    with :math:`v_{rest} = v_{reset}` for the hard reset and 0 for the soft one (``v_reset=None``). ``tau`` is the
    membrane time constant in time steps.
    """
    leak = v if v_reset is None else v - v_reset
    return v + (x - leak) / tau if decay_input else v - leak / tau + x


def fire(h: Tensor, v_threshold: float, surrogate_function: SpikeFunction) -> Tensor:
    r"""Return the spikes :math:`s[t] = \Theta(h[t] - v_{threshold})`: 1 where ``h >= v_threshold``, else 0."""
    return surrogate_function(h - v_threshold)


def reset(h: Tensor, s: Tensor, v_threshold: float, v_reset: float | None, detach_reset: bool) -> Tensor:
    """Return v[t]: hard reset to ``v_reset`` where ``s`` is 1, or soft reset (``v_reset=None``) by subtraction.

    ``detach_reset=True`` cuts the gradient through ``s`` here, and only here.
    """
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
    surrogate function, other cells, and None, flags and words, on which equations may branch. Equations are arithmetic
    on each neuron by itself and depend on nothing but fields, input and states. What goes beyond runs in the loop.
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
    """Integrate-and-fire neuron; its state is the membrane potential v."""

    v_threshold: float
    v_reset: float | None
    surrogate_function: SpikeFunction
    detach_reset: bool

    @property
    def v_rest(self) -> float:
        return 0.0 if self.v_reset is None else self.v_reset

    @property
    def initial(self) -> tuple[float | Tensor, ...]:
        return (self.v_rest,)

    def charge(self, x: Tensor, v: Tensor) -> Tensor:
        return if_charge(x, v)

    def step(self, x: Tensor, state: State) -> tuple[Tensor, State]:
        h = self.charge(x, state[0])
        s = fire(h, self.v_threshold, self.surrogate_function)
        return s, (reset(h, s, self.v_threshold, self.v_reset, self.detach_reset),)


@dataclass(eq=False)
class LIF(IF):
    """Leaky integrate-and-fire neuron; see :func:`lif_charge`."""

    tau: float
    decay_input: bool

    def charge(self, x: Tensor, v: Tensor) -> Tensor:
        return lif_charge(x, v, self.tau, self.v_reset, self.decay_input)


@dataclass(eq=False)
class ParametricLIF(IF):
    r"""LIF neuron with a learnable time constant: :math:`h[t] = v[t-1] + (x[t] - (v[t-1] - v_{rest})) / \tau`."""

    inv_tau: Tensor

    def charge(self, x: Tensor, v: Tensor) -> Tensor:
        return v + (x - (v - self.v_rest)) * self.inv_tau


@dataclass(eq=False)
class Synapse(Cell):
    """Synapse filter; its state is its output, the current I, and ``inv_tau`` broadcasts to a step."""

    inv_tau: Tensor

    def step(self, x: Tensor, state: State) -> tuple[Tensor, State]:
        i = synapse_filter_step(x, state[0], self.inv_tau)
        return i, (i,)


@dataclass(eq=False)
class ElementWiseFeedback(Cell):
    """A cell with the input f(x[t], y[t-1]); its last state is y."""

    cell: Cell
    function: Callable[[Tensor, Tensor], Tensor]

    @property
    def initial(self) -> tuple[float | Tensor, ...]:
        return *self.cell.initial, 0.0

    def step(self, x: Tensor, state: State) -> tuple[Tensor, State]:
        *own, y = state
        y, after = self.cell.step(self.function(x, y), tuple(own))
        return y, (*after, y)
