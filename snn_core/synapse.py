"""Stateful synapses: currents that spikes leave behind, with time constants for the whole layer or for each channel.

Put one after a stateless synapse, ``nn.Sequential(nn.Conv2d(...), SynapseFilter(...))``, or after spikes. They take one
time step, as neurons do; ``MultiStepContainer`` and :func:`snn_core.functional.scan` take them through a sequence.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from snn_core.cells import LI, DoubleExponential, Synapse
from snn_core.checks import Like, check_flag, check_place, check_taus
from snn_core.numbers import Numbers, inverse_of, weight_of
from snn_core.state import CellModule

__all__ = ["DoubleExponentialSynapse", "LowPassSynapse", "StatefulSynapse", "SynapseFilter"]


#: Largest (tau_rise - 1) / (tau_decay - 1) of a rise and a decay, whose difference must be more than rounding.
CLOSEST = 0.999


class StatefulSynapse(CellModule):
    """Base of the synapses: their time constants, fixed or trained.

    A fixed time constant ``tau`` is the buffer ``fixed_tau``. A trained one follows from the parameter ``w``, so that
    it stays valid whatever the optimizer does. A subclass names its states, passes its time constants by their names,
    and builds the cell from what :meth:`inverse` returns.

    Args:
        learnable: whether the time constants are trained; an ``nn.Parameter`` among them asks for it, too.
        backend: how sequences run, one of :data:`snn_core.kernels.BACKENDS`.
        taus: time constants in time steps, from 1 to infinity, trained ones between: for each name one number, or one
            for each channel (dimension 1 of ``[N, C, *]``). Kept in torch's default dtype.

    Raises:
        TypeError: a tau that is not made of numbers, or a ``learnable`` that is not a bool.
        ValueError: a tau out of its range, or not a number or a flat list of them; an unknown backend.
    """

    def __init__(self, learnable: bool = False, backend: str = "auto", **taus: Numbers) -> None:
        super().__init__(backend)
        name = type(self).__name__
        self.learnable = check_flag(f"{name}: learnable", learnable) or any(
            isinstance(tau, nn.Parameter) for tau in taus.values()
        )
        self._taus = {
            argument: argument.replace("tau", "w" if self.learnable else "fixed_tau") for argument in taus
        }
        for argument, tau in taus.items():
            checked = check_taus(f"{name}: {argument}", tau, self.learnable)
            first = torch.as_tensor(checked, dtype=torch.get_default_dtype()).detach().clone()
            if first.dim() > 1:
                raise ValueError(
                    f"{name}: {argument} must be a number or one number for each channel, got shape {list(first.shape)}"
                )
            self.set_numbers(self._taus[argument], weight_of(first) if self.learnable else first)

    def time_constant(self, name: str) -> Tensor:
        """Return a time constant, 0-dim or ``[C]``."""
        kept = getattr(self, self._taus[name])
        return 1 / inverse_of(kept) if self.learnable else kept

    def inverse(self, name: str, x: Tensor | Like) -> Tensor:
        """Return 1/tau in the dtype of ``x``, ``[N, C, *]``, and in a shape that broadcasts to it.

        Raises:
            ValueError: ``x`` is on another device, or does not have as many channels as there are time constants.
        """
        kept = getattr(self, self._taus[name])
        check_place(f"{type(self).__name__}: x", x, kept, dtype=False)
        return self._per_channel(name, inverse_of(kept) if self.learnable else 1 / kept, x)

    def _per_channel(self, name: str, values: Tensor, x: Tensor | Like) -> Tensor:
        values = values.to(x.dtype)
        if values.dim() == 0:
            return values
        channels = values.numel()
        if len(x.shape) < 2 or x.shape[1] != channels:
            raise ValueError(
                f"{type(self).__name__}: {name} has {channels} channels, so a time step must have shape "
                f"[N, {channels}, *], got {list(x.shape)}"
            )
        return values.view(channels, *[1] * (len(x.shape) - 2))

    def extra_repr(self) -> str:
        shown = []
        for name in self._taus:
            tau = self.time_constant(name).detach()
            shown.append(f"{name}={f'<{tau.numel()} channels>' if tau.dim() else tau.item()}")
        return f"{', '.join(shown)}, learnable={self.learnable}"


class _SingleTau(StatefulSynapse):
    """Base of the synapses with one time constant, whose state is their output."""

    states = ("out_i",)

    def __init__(self, tau: Numbers = 100.0, learnable: bool = False, backend: str = "auto") -> None:
        super().__init__(learnable, backend, tau=tau)

    @property
    def tau(self) -> Tensor:  # 0-dim or [C]
        return self.time_constant("tau")


class SynapseFilter(_SingleTau):
    r"""Stateful synapse: a current that jumps with each spike and decays in steps without one.

    .. math:: I[t] = I[t-1] - (1 - s[t])\,\tfrac{1}{\tau}\,I[t-1] + s[t]

    A learnable tau is kept as ``w`` with 1/tau = sigmoid(w), so that it stays above 1 whatever the optimizer does.

    Args:
        tau: time constant in time steps, from 1 to infinity: one number, or one for each channel (dimension 1 of
            ``[N, C, *]``). Kept in torch's default dtype.
        learnable: whether tau is trained; a tau that is an ``nn.Parameter`` always is.
        backend: how sequences run, one of :data:`snn_core.kernels.BACKENDS`.

    Attributes:
        out_i: current I[t], shape of the input; None before the first step.
        tau: the time constant(s) as a tensor, 0-dim or ``[C]``.

    Raises:
        TypeError, ValueError: as :class:`StatefulSynapse`.

    Source: SpikingJelly's ``SynapseFilter``. Its tutorial names two papers with stateful synapses: P. Diehl and M. Cook
    2015, https://doi.org/10.3389/fncom.2015.00099, and H. Fang et al. 2020, https://arxiv.org/abs/2003.02944.
    """

    w: nn.Parameter
    fixed_tau: Tensor

    def cell(self, like: Tensor | Like) -> Synapse:
        return Synapse(self.inverse("tau", like))


class LowPassSynapse(_SingleTau):
    r"""Stateful synapse: a current that jumps with each spike and decays in every step.

    .. math:: I[t] = (1 - \tfrac{1}{\tau})\,I[t-1] + s[t]

    Args:
        tau, learnable, backend: see :class:`SynapseFilter`.

    Attributes:
        out_i: current I[t], shape of the input; None before the first step.
        tau: the time constant(s) as a tensor, 0-dim or ``[C]``.

    Raises:
        TypeError, ValueError: as :class:`StatefulSynapse`.

    Source: W. Gerstner, W. M. Kistler, R. Naud, L. Paninski, "Neuronal Dynamics", Cambridge University Press 2014,
    section 3.1. https://neuronaldynamics.epfl.ch/online/Ch3.S1.html
    """

    def cell(self, like: Tensor | Like) -> LI:
        return LI(self.inverse("tau", like), decay_input=False)


class DoubleExponentialSynapse(StatefulSynapse):
    r"""Stateful synapse: a current that rises after each spike and then decays.

    .. math::
        r[t] &= q\,r[t-1] + s[t], \quad q = 1 - 1/\tau_{rise} \\
        d[t] &= p\,d[t-1] + s[t], \quad p = 1 - 1/\tau_{decay} \\
        I[t] &= c\,(d[t] - r[t])

    n steps after a single spike the current is :math:`c\,(p^n - q^n)`: 0 in the step of the spike, and largest at
    :math:`n = \lceil \ln(\tau_{decay} / \tau_{rise}) / \ln(p / q) \rceil`, where c makes it 1.
    Learnable time constants are kept as ``w_decay`` and ``w_rise`` with :math:`1/\tau_{decay} = \sigma(w_{decay})` and
    :math:`\tau_{rise} = 1 + (\tau_{decay} - 1)\,\sigma(w_{rise})`, so that 1 < tau_rise < tau_decay whatever the
    optimizer does.

    Args:
        tau_rise: time constant of the rise in time steps, from 1 on, one number or one for each channel.
        tau_decay: that of the decay, above ``tau_rise``.
        learnable: whether both are trained; if one of them is an ``nn.Parameter``, both are.
        backend: how sequences run, one of :data:`snn_core.kernels.BACKENDS`.

    Attributes:
        i_rise: r[t], shape of the input; None before the first step.
        i_decay: d[t], as ``i_rise``.
        tau_rise: the time constant(s) as a tensor, 0-dim or ``[C]``.
        tau_decay: as ``tau_rise``.

    Raises:
        TypeError, ValueError: a ``tau_rise`` that is not below ``tau_decay``, other numbers of channels for both, or as
            :class:`StatefulSynapse`.

    Source: A. Roth, M. C. W. van Rossum, "Modeling synapses", in "Computational Modeling Methods for Neuroscientists",
    MIT Press 2009, eq. 6.4, here for time steps. https://doi.org/10.7551/mitpress/9780262013277.003.0007
    """

    states = ("i_rise", "i_decay")

    def __init__(
        self,
        tau_rise: Numbers = 2.0,
        tau_decay: Numbers = 10.0,
        learnable: bool = False,
        backend: str = "auto",
    ) -> None:
        super().__init__(learnable, backend, tau_rise=tau_rise, tau_decay=tau_decay)
        rise, decay = (
            super(DoubleExponentialSynapse, self).time_constant(name).detach() for name in self._taus
        )
        if rise.dim() and decay.dim() and rise.shape != decay.shape:
            raise ValueError(
                f"DoubleExponentialSynapse: tau_rise has {rise.numel()} channels, tau_decay {decay.numel()}"
            )
        share = (rise - 1) / (decay - 1)  # [C] if one of them is
        if not share.is_meta and not bool((share <= CLOSEST).all()):
            raise ValueError(
                "DoubleExponentialSynapse: tau_rise must be below tau_decay, (tau_rise - 1) / (tau_decay - 1) at most "
                f"{CLOSEST}, got {tau_rise} and {tau_decay}"
            )
        if self.learnable:
            self.w_rise = nn.Parameter(torch.logit(share))

    def time_constant(self, name: str) -> Tensor:
        if not self.learnable or name == "tau_decay":
            return super().time_constant(name)
        return 1 + (self.tau_decay - 1) * torch.sigmoid(self.w_rise).clamp(max=CLOSEST)

    @property
    def tau_rise(self) -> Tensor:  # 0-dim or [C]
        return self.time_constant("tau_rise")

    @property
    def tau_decay(self) -> Tensor:  # 0-dim or [C]
        return self.time_constant("tau_decay")

    def cell(self, like: Tensor | Like) -> DoubleExponential:
        check_place("DoubleExponentialSynapse: x", like, self.time_constant("tau_decay"), dtype=False)
        rise, decay = self.tau_rise, self.tau_decay
        q, p = 1 - 1 / rise, 1 - 1 / decay
        with torch.no_grad():
            n = torch.ceil(torch.log(decay / rise) / torch.log(p / q)).clamp(min=1)  # q may round to 0
        scale = 1 / (p**n - q**n)
        return DoubleExponential(
            self._per_channel("tau_rise", q, like),
            self._per_channel("tau_decay", p, like),
            self._per_channel("tau_decay", scale, like),
        )
