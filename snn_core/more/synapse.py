"""A synapse whose current rises and decays."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from snn_core.cells import Cell, Number, State
from snn_core.checks import Like, check_flag
from snn_core.module import CellModule, Numbers, check_taus, per_neuron
from snn_core.synapse import trained

__all__ = ["DoubleExponential", "DoubleExponentialSynapse"]

#: Largest (tau_rise - 1) / (tau_decay - 1) of a rise and a decay, whose difference must be more than rounding.
CLOSEST = 0.999


@dataclass(eq=False)
class DoubleExponential(Cell):
    r"""Synapse whose current rises and decays; its states are two low-pass filtered spike trains, the faster one first.

    .. math:: r[t] = q\,r[t-1] + s[t], \qquad d[t] = p\,d[t-1] + s[t], \qquad I[t] = c\,(d[t] - r[t])
    """

    rise: Number
    decay: Number
    scale: Number

    @property
    def initial(self) -> tuple[float | Tensor, ...]:
        return 0.0, 0.0

    def step(self, x: Tensor, state: State) -> tuple[Tensor, State]:
        r, d = self.rise * state[0] + x, self.decay * state[1] + x
        return self.scale * (d - r), (r, d)


def _tensor(tau: Number) -> Tensor:
    return tau if isinstance(tau, Tensor) else torch.tensor(tau, dtype=torch.float64, device="cpu")


class DoubleExponentialSynapse(CellModule):
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
        tau_rise: time constant of the rise in time steps, from 1 on, one of :data:`~snn_core.module.Numbers`.
        tau_decay: that of the decay, above ``tau_rise``.
        learnable: whether both are trained; if one of them is an ``nn.Parameter``, both are.
        backend: how sequences run, one of :data:`snn_core.kernels.BACKENDS`.

    Attributes:
        i_rise: r[t], shape of the input; None before the first step.
        i_decay: d[t], as ``i_rise``.

    Raises:
        TypeError, ValueError: a ``tau_rise`` that is not below ``tau_decay``, other numbers of channels for both, or as
            :class:`~snn_core.synapse.StatefulSynapse`.

    Source: A. Roth, M. C. W. van Rossum, "Modeling synapses", in "Computational Modeling Methods for Neuroscientists",
    MIT Press 2009, eq. 6.4, here for time steps. https://doi.org/10.7551/mitpress/9780262013277.003.0007
    """

    states = ("i_rise", "i_decay")
    taus = {"tau_decay": "w_decay"}

    def __init__(
        self,
        tau_rise: Numbers = 2.0,
        tau_decay: Numbers = 10.0,
        learnable: bool = False,
        backend: str = "auto",
    ) -> None:
        super().__init__(backend)
        learnable = check_flag("DoubleExponentialSynapse: learnable", learnable) or any(
            isinstance(tau, nn.Parameter) for tau in (tau_rise, tau_decay)
        )
        self.tau_decay = trained("DoubleExponentialSynapse: tau_decay", tau_decay, learnable)
        self.tau_rise = tau_rise

    @property
    def learnable(self) -> bool:
        """Whether both time constants are trained."""
        return "w_decay" in self._parameters

    def __setattr__(self, name: str, value: Any) -> None:
        if name != "tau_rise":
            return super().__setattr__(name, value)
        taus = check_taus("DoubleExponentialSynapse: tau_rise", value, self.learnable)
        rise, decay = _tensor(taus).detach(), _tensor(self.tau_decay).detach()
        if rise.dim() and decay.dim() and rise.shape != decay.shape:
            raise ValueError(
                f"DoubleExponentialSynapse: tau_rise has {rise.numel()} channels, tau_decay {decay.numel()}"
            )
        share = (rise - 1) / (decay - 1)  # [C] if one of them is
        if not share.is_meta and not bool((share <= CLOSEST).all()):
            raise ValueError(
                "DoubleExponentialSynapse: tau_rise must be below tau_decay, (tau_rise - 1) / (tau_decay - 1) at most "
                f"{CLOSEST}, got {rise.tolist()} and {decay.tolist()}"
            )
        if self.learnable:
            return self._set("w_rise", nn.Parameter(torch.logit(share).to(decay.dtype)))
        return self._set("tau_rise", taus)

    def __getattr__(self, name: str) -> Any:
        if name == "tau_rise" and self.learnable:
            return 1 + (self.tau_decay - 1) * torch.sigmoid(self.w_rise).clamp(max=CLOSEST)
        return super().__getattr__(name)

    def cell(self, like: Tensor | Like) -> DoubleExponential:
        rise, decay = map(_tensor, (self.tau_rise, self.tau_decay))
        q, p = 1 - 1 / rise, 1 - 1 / decay
        with torch.no_grad():
            n = torch.ceil(torch.log(decay / rise) / torch.log(p / q)).clamp(min=1)  # q may round to 0
        scale = 1 / (p**n - q**n)
        if not self.learnable and rise.dim() == decay.dim() == 0:
            return DoubleExponential(q.item(), p.item(), scale.item())
        names = ("tau_rise", "tau_decay", "tau_decay")
        pairs = zip(names, (q, p, scale), strict=True)
        return DoubleExponential(
            *[per_neuron(f"DoubleExponentialSynapse: {name}", one, like) for name, one in pairs]
        )

    def extra_repr(self) -> str:
        shown = [f"{name}={self.shown(name).partition('=')[2]}" for name in ("tau_rise", "tau_decay")]
        return f"{', '.join(shown)}, learnable={self.learnable}"
