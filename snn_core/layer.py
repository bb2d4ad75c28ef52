"""The stateful synapse, wrappers that turn a single step into a sequence, and the recurrent containers.

The containers are those of :mod:`snn_core.element_wise`, :mod:`snn_core.recurrent` and :mod:`snn_core.delays`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from snn_core.backend import plan
from snn_core.base import CellModule, check_sequence
from snn_core.cells import Synapse
from snn_core.checks import Like, check_flag, check_place, check_taus
from snn_core.delays import DelayedRecurrentContainer
from snn_core.element_wise import ElementWiseRecurrentContainer
from snn_core.functional import seq_to_ann_forward
from snn_core.recurrent import ConvRecurrentContainer, LinearRecurrentContainer, check_single_step

__all__ = [
    "ConvRecurrentContainer",
    "DelayedRecurrentContainer",
    "ElementWiseRecurrentContainer",
    "LinearRecurrentContainer",
    "MultiStepContainer",
    "SeqToANNContainer",
    "SynapseFilter",
]


class SynapseFilter(CellModule):
    r"""Stateful synapse: a current that jumps with each spike and decays in steps without one.

    .. math:: I[t] = I[t-1] - (1 - s[t])\,\tfrac{1}{\tau}\,I[t-1] + s[t]

    Put it after a stateless synapse, ``nn.Sequential(nn.Conv2d(...), SynapseFilter(...))``, or after spikes. A
    learnable tau is kept as ``w`` with 1/tau = sigmoid(w), so that it stays above 1 whatever the optimizer does.

    Args:
        tau: time constant in time steps, > 1: one number, or one for each channel (dimension 1 of ``[N, C, *]``).
            Kept in torch's default dtype.
        learnable: whether tau is trained.
        backend: how sequences run, one of :data:`snn_core.backend.BACKENDS`.

    Attributes:
        out_i: current I[t], shape of the input; None before the first step.
        tau: the time constant(s) as a tensor, 0-dim or ``[C]``.

    Raises:
        TypeError: a tau that is not made of numbers, or a ``learnable`` that is not a bool.
        ValueError: a tau that is not finite or not above 1, or not a number or a flat list of them; an unknown
            backend.

    Source: H. Fang et al., "Exploiting neuron and synapse filter dynamics in spatial temporal learning of deep
    spiking neural network", IJCAI 2020. https://arxiv.org/abs/2003.02944
    """

    states = ("out_i",)
    w: nn.Parameter
    fixed_tau: Tensor

    def __init__(
        self, tau: float | Sequence[float] | Tensor = 100.0, learnable: bool = False, backend: str = "auto"
    ) -> None:
        super().__init__(backend)
        initial = check_taus("SynapseFilter: tau", tau)
        if initial.dim() > 1:
            raise ValueError(
                f"SynapseFilter: tau must be a number or one number for each channel, got shape {list(initial.shape)}"
            )
        self.learnable = check_flag("SynapseFilter: learnable", learnable)
        initial = initial.to(tau.device if isinstance(tau, Tensor) else torch.get_default_device())
        if learnable:
            self.w = nn.Parameter(-torch.log(initial - 1))
        else:
            self.register_buffer("fixed_tau", initial)

    def _load_from_state_dict(self, state_dict: dict[str, Any], prefix: str, *arguments: Any) -> None:
        name = "w" if self.learnable else "fixed_tau"
        saved, own = state_dict.get(prefix + name), getattr(self, name)
        # Of several numbers for one, some releases of torch silently take the first.
        if isinstance(saved, Tensor) and saved.dim() == 1 and own.dim() == 0:
            errors = arguments[-1]
            errors.append(
                f"size mismatch for {prefix}{name}: {list(saved.shape)} saved, {list(own.shape)} here"
            )
            return
        super()._load_from_state_dict(state_dict, prefix, *arguments)

    @property
    def tau(self) -> Tensor:  # 0-dim or [C]
        return 1 / torch.sigmoid(self.w) if self.learnable else self.fixed_tau

    def _inv_tau(self, x: Tensor | Like) -> Tensor:
        """Return 1/tau in a shape that broadcasts to ``x``, ``[N, C, *]``."""
        check_place("SynapseFilter: x", x, self.w if self.learnable else self.fixed_tau, dtype=False)
        inv_tau = torch.sigmoid(self.w) if self.learnable else 1 / self.fixed_tau
        inv_tau = inv_tau.to(x.dtype)
        if inv_tau.dim() == 0:
            return inv_tau
        channels = inv_tau.numel()
        if len(x.shape) < 2 or x.shape[1] != channels:
            raise ValueError(
                f"SynapseFilter: tau has {channels} channels, so a time step must have shape [N, {channels}, *], "
                f"got {list(x.shape)}"
            )
        return inv_tau.view(channels, *[1] * (len(x.shape) - 2))

    def cell(self, like: Tensor | Like) -> Synapse:
        return Synapse(self._inv_tau(like))

    def extra_repr(self) -> str:
        tau = self.tau.detach()
        shown = tau.item() if tau.dim() == 0 else f"<{tau.numel()} channels>"
        return f"tau={shown}, learnable={self.learnable}"


class MultiStepContainer(nn.Sequential):
    """Turns modules that take one time step into a module that takes a sequence ``[T, N, *]``.

    Modules are applied one after the other, as in ``nn.Sequential``. Those in a row that kernels know, ``nn.Linear``
    among them, run in one fused scan. Of the others, each is asked for its own ``forward_sequence``; one that has none,
    or has hooks, or whose class overrides ``forward``, is called step by step.

    Raises:
        TypeError, ValueError: from ``forward``, if the input is not a floating-point ``[T, N, *]`` with T >= 1.
    """

    takes_sequences = is_chain = True

    def forward(self, x_seq: Tensor) -> Tensor:
        check_sequence(self, x_seq)
        return plan.scan(x_seq, list(self), self._sequence)

    def _sequence(self, module: Any, x_seq: Tensor) -> Tensor:
        if getattr(type(module), "takes_sequences", False) and not isinstance(
            module, (MultiStepContainer, SeqToANNContainer)
        ):
            return module(x_seq)
        if plan.defines(module, "forward_sequence"):
            return module.forward_sequence(x_seq)
        check_single_step(self, module)
        return torch.stack([module(x) for x in x_seq])


class SeqToANNContainer(nn.Sequential):
    """Applies modules without state to all time steps at once, see :func:`~snn_core.functional.seq_to_ann_forward`."""

    takes_sequences = is_chain = True

    def forward(self, x_seq: Tensor) -> Tensor:
        return seq_to_ann_forward(x_seq, list(self))
