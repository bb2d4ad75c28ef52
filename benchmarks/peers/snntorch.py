"""snnTorch: its neurons in the time loop of its tutorials.

Leaky with beta = 1 and reset to zero is our IF neuron. Linear layers that see no feedback are applied to all time steps
at once, which is faster than inside the loop. Its faster neurons (LeakyParallel, StateLeaky, AssociativeLeaky) have no
reset. Its RLeaky, where it resets to zero, also drops the input of that step, and evaluates its recurrent layer twice;
so the recurrence is a linear layer in the loop.
"""

from __future__ import annotations

import inspect
from typing import Any

import snntorch
import torch
from snntorch import surrogate
from torch import Tensor, nn

from benchmarks.cases import LARGE, Inputs, Layer, Network
from benchmarks.torch_loop import Fed, InLoop, OneLayer, SequenceNetwork, Training

PACKAGES = ("snntorch", "torch", "numpy")
NOTES = {
    "LIF": "Leaky; the input is not divided by tau",
    "parametric LIF": "Leaky with learn_beta; the input is not divided by tau",
    "CUBA-LIF": "Synaptic; the current is not divided by tau",
    LARGE: "Leaky; the input is not divided by tau",
}


class _Cell(nn.Module):
    """A neuron of snnTorch, which takes and gives one tensor for each of its states."""

    def __init__(self, neuron: Any) -> None:
        super().__init__()
        self.neuron = neuron
        self.number = len(inspect.signature(type(neuron).forward).parameters) - 2

    def forward(self, x: Tensor, states: tuple[Tensor, ...] | None) -> tuple[Tensor, tuple[Tensor, ...]]:
        spike, *after = self.neuron(x, *(states or (torch.zeros_like(x),) * self.number))
        return spike, tuple(after)


def _cell(kind: Any, *decays: float, **more: Any) -> _Cell:
    """Return a neuron with our surrogate and reset, for a loop."""
    return _Cell(kind(*decays, spike_grad=surrogate.atan(alpha=2.0), reset_mechanism="zero", **more))


def _if() -> _Cell:
    return _cell(snntorch.Leaky, 1.0)


def network(variant: str, network: Network, inputs: Inputs) -> Training:
    """Return one of the three networks."""
    net = SequenceNetwork(lambda recurrent: Fed(_if(), recurrent) if recurrent else InLoop(_if()), network)
    return Training(net, network, inputs)


LAYERS = {
    "IF": lambda H: InLoop(_if()),
    "LIF": lambda H: InLoop(_cell(snntorch.Leaky, 0.5)),
    "parametric LIF": lambda H: InLoop(_cell(snntorch.Leaky, 0.5, learn_beta=True)),
    "CUBA-LIF": lambda H: InLoop(_cell(snntorch.Synaptic, 0.5, 0.5)),
    "element-wise feedback": lambda H: InLoop(_if(), nn.Identity()),
    "linear feedback": lambda H: Fed(_if(), H),
    LARGE: lambda H: nn.Sequential(nn.Linear(H, H), InLoop(_cell(snntorch.Leaky, 0.5))),
}


def layer(variant: str, layer: Layer) -> OneLayer:
    """Return a layer."""
    return OneLayer(LAYERS[layer.name], layer)
