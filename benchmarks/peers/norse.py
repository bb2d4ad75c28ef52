"""Norse: its integrate-and-fire neuron, IAF for sequences and IAFCell in a loop where spikes come back.

It offers no ATan surrogate and no detached reset for this neuron: the SuperSpike surrogate is taken, which like ours is
1 at the threshold, and the gradient also flows through the reset. Spikes in forward are the same. It has no recurrent
integrate-and-fire layer, so the recurrence is a linear layer around its cell, as in the loop of its documentation. Its
C++ extension of former versions is gone.
"""

from __future__ import annotations

import torch
from norse.torch import IAF, IAFCell
from norse.torch.functional.iaf import IAFParameters
from torch import Tensor, nn

from benchmarks.config import COLUMNS, Config
from benchmarks.peers import Inputs
from benchmarks.peers.torch_session import CLASSES, ExactSynapseFilter, TorchSession

PACKAGES = ("norse", "torch", "numpy")


class _Recurrent(nn.Module):
    """A cell in a loop over time, whose spikes come back through ``rc_y`` one step later."""

    def __init__(self, hidden: int) -> None:
        super().__init__()
        self.cell = IAFCell(IAFParameters(method="super"))
        self.rc_x = nn.Linear(hidden, hidden)
        self.rc_y = nn.Linear(hidden, hidden, bias=False)

    def forward(self, x_seq: Tensor) -> tuple[Tensor, object]:
        state = None
        spikes: list[Tensor] = []
        for x in self.rc_x(x_seq):
            if spikes:
                x = x + self.rc_y(spikes[-1])
            spike, state = self.cell(x, state)
            spikes.append(spike)
        return torch.stack(spikes), state


class _Network(nn.Module):
    def __init__(self, model: str, hidden: int) -> None:
        super().__init__()
        self.fc1 = nn.Linear(COLUMNS, hidden)
        self.sn1 = _Recurrent(hidden) if model == "feedback" else IAF(IAFParameters(method="super"))
        self.sy1 = ExactSynapseFilter() if model == "stateful-synapse" else nn.Identity()
        self.fc2 = nn.Linear(hidden, CLASSES)
        self.sn2 = IAF(IAFParameters(method="super"))

    def forward(self, x_seq: Tensor) -> Tensor:
        spikes, _ = self.sn1(self.fc1(x_seq))
        out, _ = self.sn2(self.fc2(self.sy1(spikes)))
        return out.mean(0)


def session(variant: str, config: Config, inputs: Inputs) -> TorchSession:
    """Return a session."""
    return TorchSession(_Network(config.model, config.hidden), config, inputs)


def note(variant: str, model: str) -> str:
    """Say where the network differs."""
    difference = "SuperSpike surrogate, reset not detached"
    if model == "feedback":
        return f"IAFCell with a torch linear layer around it, in a time loop; {difference}"
    filtered = ", synapse filter written in torch" if model == "stateful-synapse" else ""
    return f"IAF{filtered}; {difference}"
