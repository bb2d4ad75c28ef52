"""snn_core: fused, and in the readable loop that defines the kernels."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor, nn

from benchmarks.cells import LARGE
from benchmarks.cells.torch_layer import TorchLayer
from snn_core.functional import reset_net, scan
from snn_core.layer import (
    ConvRecurrentContainer,
    DelayedRecurrentContainer,
    ElementWiseRecurrentContainer,
    LinearRecurrentContainer,
    MultiStepContainer,
)
from snn_core.neuron import (
    AdaptiveLIFNode,
    CUBALIFNode,
    IFNode,
    LIFNode,
    LINode,
    MultiStepLIFNode,
    ParametricLIFNode,
)
from snn_core.surrogate import ATan
from snn_core.synapse import DoubleExponentialSynapse, LowPassSynapse, SynapseFilter

PACKAGES = ("snn-core", "torch", "numba", "numpy")
NOTES: dict[str, str] = {}

TAU = 2.0


@dataclass(frozen=True)
class Row:
    """A line of the table.

    Attributes:
        make: takes the number H of neurons of a sample and a backend, gives the layer for single steps.
        kind: "neuron", "synapse" or "feedback"; synapses are fed spikes, all others currents.
        side: height and width of a sample ``[H / side^2, side, side]``; 0 for ``[H]``.
    """

    make: Callable[[int, str], nn.Module]
    kind: str
    side: int = 0

    def shape(self, features: int) -> list[int]:
        """Return the shape of a sample of about ``features`` numbers."""
        return [features // self.side**2, self.side, self.side] if self.side else [features]


def _fires(backend: str) -> dict[str, object]:
    return {"surrogate_function": ATan(), "detach_reset": True, "backend": backend}


def _weighted(H: int, backend: str) -> nn.Module:
    return ElementWiseRecurrentContainer(_if(backend), torch.add, nn.Parameter(torch.full((H,), 0.5)))


def _if(backend: str) -> nn.Module:
    return IFNode(**_fires(backend))


ROWS: dict[str, Row] = {
    "IF": Row(lambda H, backend: _if(backend), "neuron"),
    "LIF": Row(lambda H, backend: LIFNode(TAU, **_fires(backend)), "neuron"),
    "parametric LIF": Row(lambda H, backend: ParametricLIFNode(TAU, **_fires(backend)), "neuron"),
    "adaptive LIF": Row(lambda H, backend: AdaptiveLIFNode(TAU, **_fires(backend)), "neuron"),
    "CUBA-LIF": Row(lambda H, backend: CUBALIFNode(TAU, **_fires(backend)), "neuron"),
    "leaky integrator": Row(lambda H, backend: LINode(TAU, backend=backend), "neuron"),
    "refractory LIF": Row(lambda H, backend: LIFNode(TAU, refractory=2, **_fires(backend)), "neuron"),
    "low-pass synapse": Row(
        lambda H, backend: LowPassSynapse(TAU, learnable=True, backend=backend), "synapse"
    ),
    "double exponential synapse": Row(
        lambda H, backend: DoubleExponentialSynapse(learnable=True, backend=backend), "synapse"
    ),
    "synapse filter": Row(lambda H, backend: SynapseFilter(TAU, True, backend), "synapse"),
    "element-wise": Row(
        lambda H, backend: ElementWiseRecurrentContainer(_if(backend), torch.add), "feedback"
    ),
    "weighted element-wise": Row(_weighted, "feedback"),
    "off-diagonal": Row(
        lambda H, backend: LinearRecurrentContainer(_if(backend), H, H, True, False), "feedback"
    ),
    "convolutional": Row(
        lambda H, backend: ConvRecurrentContainer(_if(backend), H // 16, H // 16, 3), "feedback", 4
    ),
    "delayed": Row(
        lambda H, backend: DelayedRecurrentContainer(_if(backend), H, H, 8, learn_delays=True), "feedback"
    ),
    "linear": Row(lambda H, backend: LinearRecurrentContainer(_if(backend), H, H), "feedback"),
}


class _Scan(nn.Module):
    """A linear layer and LIF neurons in one scan."""

    def __init__(self, H: int, backend: str) -> None:
        super().__init__()
        self.linear, self.neurons = nn.Linear(H, H), MultiStepLIFNode(TAU, **_fires(backend))
        self.backend = backend

    def forward(self, x_seq: Tensor) -> Tensor:
        return scan(x_seq, self.linear, self.neurons, backend=self.backend)


CELLS = {
    name: lambda H, backend, row=row: MultiStepContainer(row.make(H, backend)) for name, row in ROWS.items()
} | {LARGE: _Scan}
session = partial(TorchLayer, reset=reset_net)
