"""snnTorch: its Leaky neuron with beta = 1 and reset to zero is our IF neuron, in the time loop of its tutorials.

The linear layers that see no feedback are applied to all time steps at once, which is faster than inside the loop.
Its faster neurons (LeakyParallel, StateLeaky, AssociativeLeaky) have no reset. Its RLeaky, where it resets to zero,
also drops the input of that step, and evaluates its recurrent layer twice; so the recurrence is a linear layer in the
loop.
"""

from __future__ import annotations

import snntorch
import torch
from snntorch import surrogate
from torch import Tensor, nn

from benchmarks.config import Config
from benchmarks.peers import Inputs
from benchmarks.peers.torch_session import SequenceNetwork, TorchSession

PACKAGES = ("snntorch", "torch", "numpy")


class _Neurons(nn.Module):
    """Neurons in a loop over time; with ``rc_y``, spikes come back through it one step later."""

    def __init__(self, recurrent: int = 0) -> None:
        super().__init__()
        self.leaky = snntorch.Leaky(beta=1.0, spike_grad=surrogate.atan(alpha=2.0), reset_mechanism="zero")
        self.rc_x = nn.Linear(recurrent, recurrent) if recurrent else None
        self.rc_y = nn.Linear(recurrent, recurrent, bias=False) if recurrent else None

    def forward(self, x_seq: Tensor) -> Tensor:
        if self.rc_x:
            x_seq = self.rc_x(x_seq)
        mem = self.leaky.reset_mem()
        spikes: list[Tensor] = []
        for x in x_seq:
            if self.rc_y and spikes:
                x = x + self.rc_y(spikes[-1])
            spike, mem = self.leaky(x, mem)
            spikes.append(spike)
        return torch.stack(spikes)


def session(variant: str, config: Config, inputs: Inputs) -> TorchSession:
    """Return a session."""
    return TorchSession(SequenceNetwork(_Neurons, config.model, config.hidden), config, inputs)


def note(variant: str, model: str) -> str:
    """Say which parts are not the library's own."""
    if model == "feedback":
        return (
            "Leaky (beta 1, reset to zero) with a torch linear layer around it, in a time loop; same network"
        )
    filtered = ", synapse filter written in torch" if model == "stateful-synapse" else ""
    return f"Leaky (beta 1, reset to zero) in a time loop{filtered}; same network"
