"""The stateful synapse, wrappers that turn a single step into a sequence, and the recurrent containers.

The containers are those of :mod:`snn_core.element_wise`, :mod:`snn_core.recurrent`, :mod:`snn_core.more.convolution`
and :mod:`snn_core.more.delays`.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from snn_core import fuse, runs
from snn_core.checks import takes_sequences
from snn_core.element_wise import ElementWiseRecurrentContainer
from snn_core.functional import seq_to_ann_forward
from snn_core.more.convolution import ConvRecurrentContainer
from snn_core.more.delays import DelayedRecurrentContainer
from snn_core.recurrent import LinearRecurrentContainer, check_single_step
from snn_core.state import check_sequence
from snn_core.synapse import SynapseFilter

__all__ = [
    "ConvRecurrentContainer",
    "DelayedRecurrentContainer",
    "ElementWiseRecurrentContainer",
    "LinearRecurrentContainer",
    "MultiStepContainer",
    "SeqToANNContainer",
    "SynapseFilter",
]


class MultiStepContainer(nn.Sequential):
    """Turns modules that take one time step into a module that takes a sequence ``[T, N, *]``.

    Modules are applied one after the other, as in ``nn.Sequential``. Neighbours that can be fused, ``nn.Linear`` among
    them, run in one scan. Each of the others runs its own ``forward_sequence``; one that has none, or has hooks, or
    whose class overrides ``forward``, is called step by step.

    Attributes:
        backend: how its ``nn.Linear`` run, see :func:`~snn_core.functional.set_backend`.

    Raises:
        TypeError, ValueError: from ``forward``, if the input is not a floating-point ``[T, N, *]`` with T >= 1.
    """

    takes_sequences = is_chain = True
    backend = "auto"

    def forward(self, x_seq: Tensor) -> Tensor:
        check_sequence(self, x_seq)
        return runs.scan(x_seq, list(self), self._sequence, self.backend)

    def _sequence(self, module: Any, x_seq: Tensor) -> Tensor:
        if takes_sequences(module) and not isinstance(module, (MultiStepContainer, SeqToANNContainer)):
            return module(x_seq)
        if fuse.defines(module, "forward_sequence"):
            return module.forward_sequence(x_seq)
        check_single_step(self, module)
        return torch.stack([module(x) for x in x_seq])


class SeqToANNContainer(nn.Sequential):
    """Applies modules without state to all time steps at once, see :func:`~snn_core.functional.seq_to_ann_forward`."""

    takes_sequences = is_chain = True
    backend = "auto"

    def forward(self, x_seq: Tensor) -> Tensor:
        return seq_to_ann_forward(x_seq, list(self), self.backend)
