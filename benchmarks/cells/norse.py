"""Norse: its modules for sequences, which loop in torch, with the SuperSpike surrogate; the reset is not detached."""

from __future__ import annotations

import torch
from norse.torch import IAF, LI, LIF, LSNN, IAFCell, LIFParameters
from norse.torch.functional.iaf import IAFParameters
from norse.torch.functional.leaky_integrator import LIParameters
from norse.torch.functional.lsnn import LSNNParameters
from torch import Tensor, nn

from benchmarks.cells.torch_layer import InLoop, TorchLayer, fed_back

PACKAGES = ("norse", "torch", "numpy")
NOTES = {
    "CUBA-LIF": "LIF, which has a synaptic current",
    "adaptive LIF": "LSNN without recurrence, with a synaptic current besides",
    "leaky integrator": "LI, which has a synaptic current",
}

#: Half of a quantity decays in a step of 1 ms.
HALF = torch.tensor(500.0)


class _First(nn.Module):
    """The output of a module that also gives its state."""

    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        self.module = module

    def forward(self, x_seq: Tensor) -> Tensor:
        return self.module(x_seq)[0]


_IAF = IAFParameters(method="super")

CELLS = {
    "IF": lambda H, _: _First(IAF(_IAF)),
    "CUBA-LIF": lambda H, _: _First(LIF(LIFParameters(HALF, HALF))),
    "adaptive LIF": lambda H, _: _First(LSNN(LSNNParameters(HALF, HALF, torch.tensor(100.0)))),
    "leaky integrator": lambda H, _: _First(LI(LIParameters(HALF, HALF))),
    "element-wise": lambda H, _: InLoop(IAFCell(_IAF), nn.Identity()),
    "linear": lambda H, _: fed_back(IAFCell(_IAF), H),
}
session = TorchLayer
