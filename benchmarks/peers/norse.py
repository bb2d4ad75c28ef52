"""Norse: its modules for sequences, and its cells in a loop where spikes come back, as its documentation shows.

It offers no ATan surrogate and no detached reset for these neurons. Its SuperSpike surrogate is like ours 1 at the
threshold, and the gradient also flows through the reset; so spikes are the same, and gradients are not. It has no
recurrent integrate-and-fire layer, so the recurrence is a linear layer around its cell.
"""

from __future__ import annotations

import torch
from norse.torch import IAF, LI, LIF, LSNN, IAFCell, LIFBoxCell, LIFBoxParameters, LIFParameters
from norse.torch.functional.iaf import IAFParameters
from norse.torch.functional.leaky_integrator import LIParameters
from norse.torch.functional.lsnn import LSNNParameters
from torch import Tensor, nn

from benchmarks.cases import LARGE, Inputs, Layer, Network
from benchmarks.torch_loop import Fed, InLoop, OneLayer, SequenceNetwork, Training

PACKAGES = ("norse", "torch", "numpy")
NOTES = {
    "every layer": "SuperSpike surrogate, reset not detached",
    "adaptive LIF": "LSNN without recurrence, with a synaptic current besides",
    "leaky integrator": "LI, which has a synaptic current",
}

#: Half of a quantity decays in a step of 1 ms.
HALF = torch.tensor(500.0)
IAF_PARAMETERS = IAFParameters(method="super")


class _First(nn.Module):
    """The output of a module that also gives its state."""

    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        self.module = module

    def forward(self, x_seq: Tensor) -> Tensor:
        return self.module(x_seq)[0]


def _neurons(recurrent: int) -> nn.Module:
    return Fed(IAFCell(IAF_PARAMETERS), recurrent) if recurrent else _First(IAF(IAF_PARAMETERS))


def network(variant: str, network: Network, inputs: Inputs) -> Training:
    """Return one of the three networks."""
    return Training(SequenceNetwork(_neurons, network), network, inputs)


LAYERS = {
    "IF": lambda H: _neurons(0),
    "CUBA-LIF": lambda H: _First(LIF(LIFParameters(HALF, HALF))),
    "adaptive LIF": lambda H: _First(LSNN(LSNNParameters(HALF, HALF, torch.tensor(100.0)))),
    "leaky integrator": lambda H: _First(LI(LIParameters(HALF, HALF))),
    "element-wise feedback": lambda H: InLoop(IAFCell(IAF_PARAMETERS), nn.Identity()),
    "linear feedback": _neurons,
    LARGE: lambda H: nn.Sequential(nn.Linear(H, H), InLoop(LIFBoxCell(LIFBoxParameters(HALF)))),
}


def layer(variant: str, layer: Layer) -> OneLayer:
    """Return a layer."""
    return OneLayer(LAYERS[layer.name], layer)
