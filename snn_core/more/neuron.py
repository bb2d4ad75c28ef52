"""Neurons with a second state: an adaptive threshold, or a synaptic current that charges the membrane."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from torch import Tensor

from snn_core.cells import Number, ParametricLIF, State
from snn_core.checks import Like, check_numbers
from snn_core.module import MultiStep, Numbers
from snn_core.neuron import LeakyNeuron

__all__ = [
    "CUBALIF",
    "AdaptiveLIF",
    "AdaptiveLIFNode",
    "CUBALIFNode",
    "MultiStepAdaptiveLIFNode",
    "MultiStepCUBALIFNode",
]


@dataclass(eq=False)
class AdaptiveLIF(ParametricLIF):
    r"""LIF neuron whose threshold rises with each spike; its second state is the adaptation a.

    .. math:: s[t] = \Theta(h[t] - (v_{threshold} + \beta\,a[t-1])), \qquad a[t] = \rho\,a[t-1] + s[t]

    The soft reset subtracts the threshold that h crossed, :math:`v_{threshold} + \beta\,a[t-1]`.
    """

    rho: Number
    beta: Number

    others = (0.0,)

    def step(self, x: Tensor, state: State) -> tuple[Tensor, State]:
        v, a = state[:2]
        s, v, more = self.spike(self.charge(x, v), state, self.v_threshold + self.beta * a)
        return s, (v, self.rho * a + s, *more)


@dataclass(eq=False)
class CUBALIF(ParametricLIF):
    r"""LIF neuron charged by a synaptic current, its second state: :math:`i[t] = d\,i[t-1] + x[t]`."""

    decay: Number

    others = (0.0,)

    def step(self, x: Tensor, state: State) -> tuple[Tensor, State]:
        i = self.decay * state[1] + x
        s, v, more = self.spike(self.charge(i, state[0]), state, self.v_threshold)
        return s, (v, i, *more)


class AdaptiveLIFNode(LeakyNeuron):
    r"""LIF neuron whose threshold rises with each spike of its own and falls back, one step at a time.

    .. math::
        h[t] &= v[t-1] + \tfrac{1}{\tau}(x[t] - (v[t-1] - v_{rest})) \\
        s[t] &= \Theta(h[t] - \theta[t]), \qquad \theta[t] = v_{threshold} + \beta\,a[t-1] \\
        a[t] &= \rho\,a[t-1] + s[t], \qquad \rho = 1 - 1/\tau_{adaptation}

    This is the form of Bellec et al. 2020. That of 2018, :math:`b[t] = \rho\,b[t-1] + (1 - \rho)\,s[t]` with
    :math:`\beta_{2018}`, is the same with :math:`\beta = (1 - \rho)\,\beta_{2018}`. The :math:`\rho` of both,
    :math:`e^{-\delta t/\tau_a}`, is that of :math:`\tau_{adaptation} = 1 / (1 - \rho)`. The soft reset subtracts the
    threshold that h crossed, :math:`\theta[t]`, as in 2018 and in Spyx; in 2020 it subtracted :math:`v_{threshold}`
    alone. ``detach_reset`` does not cut the gradient through a.

    Args:
        tau: membrane time constant in steps, see :class:`~snn_core.neuron.LIFNode`; kept as ``w`` if trained.
        tau_adaptation: time constant of the adaptation, as tau; kept as ``w_adaptation`` if it is trained.
        beta: rise of the threshold by a spike. These three are :data:`~snn_core.module.Numbers`.
        decay_input: see :class:`~snn_core.neuron.LIFNode`.
        options: the arguments of :class:`~snn_core.neuron.SpikingNeuron`.

    Attributes:
        a: adaptation ``[N, *]``; None before the first step.

    Raises:
        TypeError, ValueError: a time constant out of its range, or as :class:`~snn_core.neuron.SpikingNeuron`.

    Source: G. Bellec et al., "Long short-term memory and learning-to-learn in networks of spiking neurons", NeurIPS
    2018. https://arxiv.org/abs/1803.09574. G. Bellec et al., "A solution to the learning dilemma for recurrent networks
    of spiking neurons", Nature Communications 11, 2020. https://doi.org/10.1038/s41467-020-17236-y
    """

    states = ("v", "a")
    checked = LeakyNeuron.checked | {"beta": check_numbers}
    taus = {"tau": "w", "tau_adaptation": "w_adaptation"}

    def __init__(
        self,
        tau: Numbers = 2.0,
        tau_adaptation: Numbers = 20.0,
        beta: Numbers = 0.2,
        decay_input: bool = True,
        **options: Any,
    ) -> None:
        super().__init__(tau, decay_input, **options)
        self.tau_adaptation, self.beta = tau_adaptation, beta

    def cell(self, like: Tensor | Like) -> AdaptiveLIF:
        rho, beta = 1 - self.inv_tau("tau_adaptation", like), self.number("beta", like)
        return AdaptiveLIF(**self.leaky_fields(like), rho=rho, beta=beta)

    def extra_repr(self) -> str:
        return f"{super().extra_repr()}, {self.shown('tau_adaptation')}, {self.shown('beta')}"


class CUBALIFNode(LeakyNeuron):
    r"""Current-based LIF neuron, one step at a time: the input charges a synaptic current, which charges the membrane.

    .. math::
        i[t] &= (1 - 1/\tau_{synapse})\,i[t-1] + x[t] \\
        h[t] &= v[t-1] + \tfrac{1}{\tau}(i[t] - (v[t-1] - v_{rest})) \quad\text{(decay\_input)} \\
        h[t] &= v[t-1] - \tfrac{1}{\tau}(v[t-1] - v_{rest}) + i[t] \quad\text{(else)}

    Other libraries' numbers: with ``decay_input=False``, ``1 - 1/tau_synapse`` and ``1 - 1/tau`` are alpha and beta of
    snnTorch's ``Synaptic`` (whose ``reset_delay=False`` resets as our hard reset does) and of Spyx's ``CuBaLIF`` (whose
    spikes come one step later), and c_decay and v_decay of SpikingJelly's CUBA-LIF nodes; with ``decay_input=True``,
    ``1/tau`` is dt tau_mem_inv and ``1/tau_synapse`` dt tau_syn_inv of Norse's ``LIF``; ``nir.CubaLIF`` is either, with
    tau_syn = dt tau_synapse, tau_mem = dt tau, w_in = tau_synapse, and r = 1 or, without ``decay_input``, r = tau.

    Args:
        tau: membrane time constant in steps, see :class:`~snn_core.neuron.LIFNode`; kept as ``w`` if trained.
        tau_synapse: time constant of the current in time steps, as tau; kept as ``w_synapse`` if trained. Both are
            :data:`~snn_core.module.Numbers`.
        decay_input: whether the current is divided by ``tau`` too.
        options: the arguments of :class:`~snn_core.neuron.SpikingNeuron`.

    Attributes:
        i: synaptic current ``[N, *]``; None before the first step.

    Raises:
        TypeError, ValueError: a time constant out of its range, or as :class:`~snn_core.neuron.SpikingNeuron`.

    Source: W. Gerstner, W. M. Kistler, R. Naud, L. Paninski, "Neuronal Dynamics", Cambridge University Press 2014,
    section 1.3. https://neuronaldynamics.epfl.ch/online/Ch1.S3.html
    """

    states = ("v", "i")
    taus = {"tau": "w", "tau_synapse": "w_synapse"}

    def __init__(
        self,
        tau: Numbers = 2.0,
        tau_synapse: Numbers = 2.0,
        decay_input: bool = True,
        **options: Any,
    ) -> None:
        super().__init__(tau, decay_input, **options)
        self.tau_synapse = tau_synapse

    def cell(self, like: Tensor | Like) -> CUBALIF:
        decay = 1 - self.inv_tau("tau_synapse", like)
        return CUBALIF(**self.leaky_fields(like), decay=decay)

    def extra_repr(self) -> str:
        return f"{super().extra_repr()}, {self.shown('tau_synapse')}"


class MultiStepAdaptiveLIFNode(MultiStep, AdaptiveLIFNode):
    """Neuron with an adaptive threshold for a sequence, ``[T, N, *]``. See :class:`AdaptiveLIFNode`."""


class MultiStepCUBALIFNode(MultiStep, CUBALIFNode):
    """Current-based LIF neuron for a sequence, ``[T, N, *]``. See :class:`CUBALIFNode`."""
