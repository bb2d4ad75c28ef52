"""Neurons: one step at a time (``IFNode``, ``LIFNode``, ...) or a whole sequence (``MultiStep...``).

The equations are those of :mod:`snn_core.cells`; a module holds the state and the parameters, and checks them.
Thresholds, time constants and all other :data:`~snn_core.numbers.Numbers` are given as a number, fixed; as a list or
tensor in the shape of a sample, such as ``[2.0] * 32`` for steps ``[N, 32]``, one for each neuron and fixed; or as an
``nn.Parameter``, 0-dim or one for each neuron, which is trained.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import Tensor, nn

from snn_core.cells import CUBALIF, IF, LI, LIF, AdaptiveLIF, ParametricLIF, Reset
from snn_core.checks import Like
from snn_core.fuse import Part
from snn_core.numbers import Numbers, NumbersModule
from snn_core.spiking import Leaky, SpikingNeuron
from snn_core.spiking import NotRecordedError as NotRecordedError

__all__ = [
    "AdaptiveLIFNode",
    "CUBALIFNode",
    "IFNode",
    "LIFNode",
    "LINode",
    "MultiStepAdaptiveLIFNode",
    "MultiStepCUBALIFNode",
    "MultiStepIFNode",
    "MultiStepLIFNode",
    "MultiStepLINode",
    "MultiStepParametricLIFNode",
    "ParametricLIFNode",
    "SpikingNeuron",
]


class IFNode(SpikingNeuron):
    r"""Integrate-and-fire neuron, one step at a time: :math:`h[t] = v[t-1] + x[t]`.

    See :class:`SpikingNeuron` for the arguments, :func:`snn_core.functional.if_step` for the equations.
    """

    def cell(self, like: Tensor | Like) -> IF:
        return IF(**self.fire_fields(like))


class LIFNode(Leaky, SpikingNeuron):
    r"""Leaky integrate-and-fire neuron, one step at a time.

    .. math:: h[t] = v[t-1] + \tfrac{1}{\tau}(x[t] - (v[t-1] - v_{rest}))

    Args:
        tau: membrane time constant in time steps, one of :data:`~snn_core.numbers.Numbers`. A fixed one may be 1, a
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
            v_threshold,
            v_reset,
            surrogate_function,
            detach_reset,
            store_v_seq,
            backend,
            refractory=refractory,
        )
        self._keep_leak(tau, decay_input)

    def cell(self, like: Tensor | Like) -> LIF | ParametricLIF:
        if "tau" in self._trained:
            return ParametricLIF(**self.fire_fields(like), **self._leak(like))
        return LIF(**self.fire_fields(like), tau=self.number("tau", like), decay_input=self.decay_input)


class ParametricLIFNode(Leaky, SpikingNeuron):
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

    _tau_argument = "init_tau"

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
        super().__init__(
            v_threshold,
            v_reset,
            surrogate_function,
            detach_reset,
            store_v_seq,
            backend,
            refractory=refractory,
        )
        self._keep_leak(init_tau, decay_input, is_trained=True)

    def cell(self, like: Tensor | Like) -> ParametricLIF:
        return ParametricLIF(**self.fire_fields(like), **self._leak(like))


class AdaptiveLIFNode(Leaky, SpikingNeuron):
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
        tau: membrane time constant in time steps, see :class:`LIFNode`; kept as ``w`` if it is trained.
        tau_adaptation: time constant of the adaptation, as tau; kept as ``w_adaptation`` if it is trained.
        beta: rise of the threshold by a spike. These three are :data:`~snn_core.numbers.Numbers`.
        decay_input: see :class:`LIFNode`.
        options: the arguments of :class:`SpikingNeuron`.

    Attributes:
        a: adaptation ``[N, *]``; None before the first step.

    Raises:
        TypeError, ValueError: a time constant out of its range, one that is not finite, or as :class:`SpikingNeuron`.

    Source: G. Bellec et al., "Long short-term memory and learning-to-learn in networks of spiking neurons", NeurIPS
    2018. https://arxiv.org/abs/1803.09574. G. Bellec et al., "A solution to the learning dilemma for recurrent networks
    of spiking neurons", Nature Communications 11, 2020. https://doi.org/10.1038/s41467-020-17236-y
    """

    states = ("v", "a")

    def __init__(
        self,
        tau: Numbers = 2.0,
        tau_adaptation: Numbers = 20.0,
        beta: Numbers = 0.2,
        decay_input: bool = True,
        **options: Any,
    ) -> None:
        super().__init__(**options)
        self._keep_leak(tau, decay_input)
        self.keep_tau("tau_adaptation", tau_adaptation, trained="w_adaptation")
        self.keep("beta", beta)

    def cell(self, like: Tensor | Like) -> AdaptiveLIF:
        rho, beta = 1 - self.inv_tau("tau_adaptation", like), self.number("beta", like)
        return AdaptiveLIF(**self.fire_fields(like), **self._leak(like), rho=rho, beta=beta)

    def extra_repr(self) -> str:
        return f"{super().extra_repr()}, {self.shown('tau_adaptation')}, {self.shown('beta')}"


class CUBALIFNode(Leaky, SpikingNeuron):
    r"""Current-based LIF neuron, one step at a time: the input charges a synaptic current, which charges the membrane.

    .. math::
        i[t] &= (1 - 1/\tau_{synapse})\,i[t-1] + x[t] \\
        h[t] &= v[t-1] + \tfrac{1}{\tau}(i[t] - (v[t-1] - v_{rest})) \quad\text{(decay\_input)} \\
        h[t] &= v[t-1] - \tfrac{1}{\tau}(v[t-1] - v_{rest}) + i[t] \quad\text{(else)}

    Other libraries' numbers: with ``decay_input=False``, ``1 - 1/tau_synapse`` and ``1 - 1/tau`` are alpha and beta of
    snnTorch's ``Synaptic`` (whose ``reset_delay=False`` resets as we do) and of Spyx's ``CuBaLIF`` (whose spikes come
    one step later), and c_decay and v_decay of SpikingJelly's CUBA-LIF nodes; with ``decay_input=True``, ``1/tau`` is
    dt tau_mem_inv and ``1/tau_synapse`` dt tau_syn_inv of Norse's ``LIF``; ``nir.CubaLIF`` is either, with
    tau_syn = dt tau_synapse, tau_mem = dt tau, w_in = tau_synapse, and r = 1 or, without ``decay_input``, r = tau.

    Args:
        tau: membrane time constant in time steps, see :class:`LIFNode`; kept as ``w`` if it is trained.
        tau_synapse: time constant of the current in time steps, as tau; kept as ``w_synapse`` if trained. Both are
            :data:`~snn_core.numbers.Numbers`.
        decay_input: whether the current is divided by ``tau`` too.
        options: the arguments of :class:`SpikingNeuron`.

    Attributes:
        i: synaptic current ``[N, *]``; None before the first step.

    Raises:
        TypeError, ValueError: a time constant out of its range, or as :class:`SpikingNeuron`.

    Source: W. Gerstner, W. M. Kistler, R. Naud, L. Paninski, "Neuronal Dynamics", Cambridge University Press 2014,
    section 1.3. https://neuronaldynamics.epfl.ch/online/Ch1.S3.html
    """

    states = ("v", "i")

    def __init__(
        self,
        tau: Numbers = 2.0,
        tau_synapse: Numbers = 2.0,
        decay_input: bool = True,
        **options: Any,
    ) -> None:
        super().__init__(**options)
        self._keep_leak(tau, decay_input)
        self.keep_tau("tau_synapse", tau_synapse, trained="w_synapse")

    def cell(self, like: Tensor | Like) -> CUBALIF:
        decay = 1 - self.inv_tau("tau_synapse", like)
        return CUBALIF(**self.fire_fields(like), **self._leak(like), decay=decay)

    def extra_repr(self) -> str:
        return f"{super().extra_repr()}, {self.shown('tau_synapse')}"


class LINode(Leaky, NumbersModule):
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

    states = ("v",)

    def __init__(self, tau: Numbers = 2.0, decay_input: bool = True, backend: str = "auto") -> None:
        super().__init__(backend)
        self._keep_leak(tau, decay_input)

    def cell(self, like: Tensor | Like) -> LI:
        return LI(**self._leak(like))


class _MultiStep(NumbersModule):
    """Makes the whole sequence ``[T, N, *]`` the input of ``forward``."""

    takes_sequences = True

    def part(self, like: Like) -> Part | str:
        return super().part(like)

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


class MultiStepAdaptiveLIFNode(_MultiStep, AdaptiveLIFNode):
    """Neuron with an adaptive threshold for a sequence, ``[T, N, *]``. See :class:`AdaptiveLIFNode`."""


class MultiStepCUBALIFNode(_MultiStep, CUBALIFNode):
    """Current-based LIF neuron for a sequence, ``[T, N, *]``. See :class:`CUBALIFNode`."""


class MultiStepLINode(_MultiStep, LINode):
    """Leaky integrator for a sequence: ``[T, N, *]`` to potentials ``[T, N, *]``. See :class:`LINode`."""
