"""Stateful synapses: currents that spikes leave behind, with one time constant, or one for each neuron or channel.

Put one after a stateless synapse, ``nn.Sequential(nn.Conv2d(...), SynapseFilter(...))``, or after spikes. They take one
time step, as neurons do; ``MultiStepContainer`` and :func:`snn_core.functional.scan` take them through a sequence.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from snn_core.cells import LI, Synapse
from snn_core.checks import Like, check_flag
from snn_core.module import CellModule, Numbers, check_taus

__all__ = ["LowPassSynapse", "StatefulSynapse", "SynapseFilter"]


def trained(name: str, value: Any, learnable: bool) -> Any:
    """Return time constants as an ``nn.Parameter`` if they are learnable; errors call them ``name``."""
    if not check_flag(f"{name.split(':')[0]}: learnable", learnable) or isinstance(value, nn.Parameter):
        return value
    return nn.Parameter(torch.as_tensor(check_taus(name, value, True), dtype=torch.get_default_dtype()))


class StatefulSynapse(CellModule):
    """Base of the synapses with one time constant, whose state is their output.

    Args:
        tau: time constant in time steps, from 1 to infinity, one of :data:`~snn_core.module.Numbers`; a trained one is
            kept as ``w`` with 1/tau = sigmoid(w), so that it stays above 1 whatever the optimizer does.
        learnable: whether tau is trained; a tau that is an ``nn.Parameter`` always is.
        backend: how sequences run, one of :data:`snn_core.kernels.BACKENDS`.

    Attributes:
        out_i: current I[t], shape of the input; None before the first step.

    Raises:
        TypeError: a tau that is not made of numbers, or a ``learnable`` that is not a bool.
        ValueError: a tau out of its range, or an unknown backend; from ``forward``, time constants that do not fit the
            shape of a step.
    """

    states = ("out_i",)
    taus = {"tau": "w"}

    def __init__(self, tau: Numbers = 100.0, learnable: bool = False, backend: str = "auto") -> None:
        super().__init__(backend)
        self.tau = trained(f"{type(self).__name__}: tau", tau, learnable)

    @property
    def learnable(self) -> bool:
        """Whether tau is trained."""
        return "w" in self._parameters

    def extra_repr(self) -> str:
        return f"{self.shown('tau')}, learnable={self.learnable}"


class SynapseFilter(StatefulSynapse):
    r"""Stateful synapse: a current that jumps with each spike and decays in steps without one.

    .. math:: I[t] = I[t-1] - (1 - s[t])\,\tfrac{1}{\tau}\,I[t-1] + s[t]

    Arguments, attributes and what is raised are those of :class:`StatefulSynapse`.

    Source: SpikingJelly's ``SynapseFilter``. Its tutorial names two papers with stateful synapses: P. Diehl and M. Cook
    2015, https://doi.org/10.3389/fncom.2015.00099, and H. Fang et al. 2020, https://arxiv.org/abs/2003.02944.
    """

    def cell(self, like: Tensor | Like) -> Synapse:
        return Synapse(self.inv_tau("tau", like))


class LowPassSynapse(StatefulSynapse):
    r"""Stateful synapse: a current that jumps with each spike and decays in every step.

    .. math:: I[t] = (1 - \tfrac{1}{\tau})\,I[t-1] + s[t]

    Arguments, attributes and what is raised are those of :class:`StatefulSynapse`.

    Source: W. Gerstner, W. M. Kistler, R. Naud, L. Paninski, "Neuronal Dynamics", Cambridge University Press 2014,
    section 3.1. https://neuronaldynamics.epfl.ch/online/Ch3.S1.html
    """

    def cell(self, like: Tensor | Like) -> LI:
        return LI(self.inv_tau("tau", like), decay_input=False)
