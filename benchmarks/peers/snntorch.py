"""snnTorch: its Leaky neuron with beta = 1 and reset to zero is our IF neuron, in the time loop of its tutorials.

The linear layers that see no feedback are applied to all time steps at once, which is faster than inside the loop.
Its faster neurons (LeakyParallel, StateLeaky, AssociativeLeaky) have no reset. Its RLeaky, where it resets to zero,
also drops the input of that step, and evaluates its recurrent layer twice; so the recurrence is a linear layer in the
loop.
"""

from __future__ import annotations

import snntorch
from torch import nn

from benchmarks.cells.snntorch import PACKAGES, cell_of
from benchmarks.cells.torch_layer import Fed, InLoop
from benchmarks.config import Config
from benchmarks.peers import Inputs
from benchmarks.peers.torch_session import SequenceNetwork, TorchSession

__all__ = ["PACKAGES", "note", "session"]


def _neurons(recurrent: int) -> nn.Module:
    cell = cell_of(snntorch.Leaky, 1.0)
    return Fed(cell, recurrent) if recurrent else InLoop(cell)


def session(variant: str, config: Config, inputs: Inputs) -> TorchSession:
    """Return a session."""
    return TorchSession(SequenceNetwork(_neurons, config.model, config.hidden), config, inputs)


def note(variant: str, model: str) -> str:
    """Say which parts are not the library's own."""
    if model == "feedback":
        return (
            "Leaky (beta 1, reset to zero) with a torch linear layer around it, in a time loop; same network"
        )
    filtered = ", synapse filter written in torch" if model == "stateful-synapse" else ""
    return f"Leaky (beta 1, reset to zero) in a time loop{filtered}; same network"
