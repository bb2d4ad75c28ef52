"""snnTorch: its neurons in the time loop of its tutorials."""

from __future__ import annotations

import inspect
from typing import Any

import snntorch
import torch
from snntorch import surrogate
from torch import Tensor, nn

from benchmarks.cells import LARGE
from benchmarks.cells.torch_layer import Fed, InLoop, TorchLayer

PACKAGES = ("snntorch", "torch", "numpy")
NOTES = {
    "LIF": "Leaky; the input is not divided by tau",
    "parametric LIF": "Leaky with learn_beta; the input is not divided by tau",
    "CUBA-LIF": "Synaptic",
    LARGE: "Leaky; the input is not divided by tau",
}


class _Cell(nn.Module):
    """A neuron of snnTorch, which takes and gives one tensor for each of its states."""

    def __init__(self, neuron: Any) -> None:
        super().__init__()
        self.neuron = neuron

    def forward(self, x: Tensor, states: tuple[Tensor, ...] | None) -> tuple[Tensor, tuple[Tensor, ...]]:
        if states is None:
            number = len(inspect.signature(type(self.neuron).forward).parameters) - 2
            states = (torch.zeros_like(x),) * number
        spike, *after = self.neuron(x, *states)
        return spike, tuple(after)


def cell_of(kind: Any, *decays: float, **more: Any) -> _Cell:
    """Return a neuron with our surrogate and reset, for a loop."""
    fires = {"spike_grad": surrogate.atan(alpha=2.0), "reset_mechanism": "zero"}
    return _Cell(kind(*decays, **fires, **more))


CELLS = {
    "IF": lambda H, _: InLoop(cell_of(snntorch.Leaky, 1.0)),
    "LIF": lambda H, _: InLoop(cell_of(snntorch.Leaky, 0.5)),
    "parametric LIF": lambda H, _: InLoop(cell_of(snntorch.Leaky, 0.5, learn_beta=True)),
    "CUBA-LIF": lambda H, _: InLoop(cell_of(snntorch.Synaptic, 0.5, 0.5)),
    "element-wise": lambda H, _: InLoop(cell_of(snntorch.Leaky, 1.0), nn.Identity()),
    "linear": lambda H, _: Fed(cell_of(snntorch.Leaky, 1.0), H),
    LARGE: lambda H, _: nn.Sequential(nn.Linear(H, H), InLoop(cell_of(snntorch.Leaky, 0.5))),
}
session = TorchLayer
