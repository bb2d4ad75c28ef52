"""The stateful synapse, the recurrent containers, and wrappers that turn a single step into a sequence."""

from __future__ import annotations

from torch import Tensor, nn

from snn_core import fuse
from snn_core.checks import check_sequence
from snn_core.functional import seq_to_ann_forward
from snn_core.recurrent import ElementWiseRecurrentContainer, LinearRecurrentContainer
from snn_core.synapse import SynapseFilter

__all__ = [
    "ElementWiseRecurrentContainer",
    "LinearRecurrentContainer",
    "MultiStepContainer",
    "SeqToANNContainer",
    "SynapseFilter",
]


class MultiStepContainer(nn.Sequential):
    """Turns modules that take one time step into a module that takes a sequence ``[T, N, *]``.

    It calls :func:`~snn_core.functional.scan` with its modules: torch's own layers without a state and
    ``SeqToANNContainer`` take all steps in one call, all others, also those of other libraries, one step after the
    other, in one fused scan where that is possible.

    Raises:
        TypeError, ValueError: from ``forward``, as :func:`~snn_core.functional.scan`.
    """

    takes_sequences = is_chain = True

    def forward(self, x_seq: Tensor) -> Tensor:
        return fuse.scan(check_sequence("MultiStepContainer: x_seq", x_seq), list(self))


class SeqToANNContainer(nn.Sequential):
    """Applies modules to all time steps at once, see :func:`~snn_core.functional.seq_to_ann_forward`.

    It says that they have no state, which of torch's own layers is known.
    """

    takes_sequences = is_chain = is_stateless = True

    def forward(self, x_seq: Tensor) -> Tensor:
        return seq_to_ann_forward(x_seq, list(self))
