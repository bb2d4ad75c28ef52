"""Norse: its modules for sequences, which loop in torch, with the SuperSpike surrogate; the reset is not detached."""

from __future__ import annotations

import torch
from norse.torch import IAF, LI, LIF, LSNN, IAFCell, LIFBoxCell, LIFBoxParameters, LIFParameters
from norse.torch.functional.iaf import IAFParameters
from norse.torch.functional.leaky_integrator import LIParameters
from norse.torch.functional.lsnn import LSNNParameters
from torch import Tensor, nn

from benchmarks.cells import LARGE
from benchmarks.cells.torch_layer import Fed, InLoop, TorchLayer

PACKAGES = ("norse", "torch", "numpy")
NOTES = {
    "CUBA-LIF": "LIF, which has a synaptic current",
    "adaptive LIF": "LSNN without recurrence, with a synaptic current besides",
    "leaky integrator": "LI, which has a synaptic current",
    LARGE: "LIFBoxCell in a time loop; SuperSpike surrogate, reset not detached",
}

#: Half of a quantity decays in a step of 1 ms.
HALF = torch.tensor(500.0)


class First(nn.Module):
    """The output of a module that also gives its state."""

    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        self.module = module

    def forward(self, x_seq: Tensor) -> Tensor:
        return self.module(x_seq)[0]


IAF_PARAMETERS = IAFParameters(method="super")

CELLS = {
    "IF": lambda H, _: First(IAF(IAF_PARAMETERS)),
    "CUBA-LIF": lambda H, _: First(LIF(LIFParameters(HALF, HALF))),
    "adaptive LIF": lambda H, _: First(LSNN(LSNNParameters(HALF, HALF, torch.tensor(100.0)))),
    "leaky integrator": lambda H, _: First(LI(LIParameters(HALF, HALF))),
    "element-wise": lambda H, _: InLoop(IAFCell(IAF_PARAMETERS), nn.Identity()),
    "linear": lambda H, _: Fed(IAFCell(IAF_PARAMETERS), H),
    LARGE: lambda H, _: nn.Sequential(nn.Linear(H, H), InLoop(LIFBoxCell(LIFBoxParameters(HALF)))),
}
session = TorchLayer
