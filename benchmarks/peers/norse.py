"""Norse: its integrate-and-fire neuron, IAF for sequences and IAFCell in a loop where spikes come back.

It offers no ATan surrogate and no detached reset for this neuron: the SuperSpike surrogate is taken, which like ours is
1 at the threshold, and the gradient also flows through the reset. Spikes in forward are the same. It has no recurrent
integrate-and-fire layer, so the recurrence is a linear layer around its cell, as in the loop of its documentation. Its
C++ extension of former versions is gone.
"""

from __future__ import annotations

from norse.torch import IAF, IAFCell
from torch import nn

from benchmarks.cells.norse import IAF_PARAMETERS, PACKAGES, First
from benchmarks.cells.torch_layer import Fed
from benchmarks.config import Config
from benchmarks.peers import Inputs
from benchmarks.peers.torch_session import SequenceNetwork, TorchSession

__all__ = ["PACKAGES", "note", "session"]


def _neurons(recurrent: int) -> nn.Module:
    return Fed(IAFCell(IAF_PARAMETERS), recurrent) if recurrent else First(IAF(IAF_PARAMETERS))


def session(variant: str, config: Config, inputs: Inputs) -> TorchSession:
    """Return a session."""
    return TorchSession(SequenceNetwork(_neurons, config.model, config.hidden), config, inputs)


def note(variant: str, model: str) -> str:
    """Say where the network differs."""
    difference = "SuperSpike surrogate, reset not detached"
    if model == "feedback":
        return f"IAFCell with a torch linear layer around it, in a time loop; {difference}"
    filtered = ", synapse filter written in torch" if model == "stateful-synapse" else ""
    return f"IAF{filtered}; {difference}"
