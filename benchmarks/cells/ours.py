"""snn_core: fused, and in the readable loop that defines the kernels."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import torch
from torch import nn

from benchmarks.cells.torch_layer import TorchLayer
from snn_core.functional import reset_net
from snn_core.layer import (
    ElementWiseRecurrentContainer,
    LinearRecurrentContainer,
    MultiStepContainer,
    SynapseFilter,
)
from snn_core.neuron import IFNode, LIFNode, ParametricLIFNode
from snn_core.surrogate import ATan

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


def _if(backend: str) -> nn.Module:
    return IFNode(**_fires(backend))


ROWS: dict[str, Row] = {
    "IF": Row(lambda H, backend: _if(backend), "neuron"),
    "LIF": Row(lambda H, backend: LIFNode(TAU, **_fires(backend)), "neuron"),
    "parametric LIF": Row(lambda H, backend: ParametricLIFNode(TAU, **_fires(backend)), "neuron"),
    "synapse filter": Row(lambda H, backend: SynapseFilter(TAU, True, backend), "synapse"),
    "element-wise": Row(
        lambda H, backend: ElementWiseRecurrentContainer(_if(backend), torch.add), "feedback"
    ),
    "linear": Row(lambda H, backend: LinearRecurrentContainer(_if(backend), H, H), "feedback"),
}

CELLS = {
    name: lambda H, backend, row=row: MultiStepContainer(row.make(H, backend)) for name, row in ROWS.items()
}
session = partial(TorchLayer, reset=reset_net)
