"""SpikingJelly: networks and layers that give the same spikes and gradients as ours.

Neurons run in its multi-step mode, for which version 2 has ops of its own also on the CPU. The recurrent layer and the
synapse filter run in its containers step by step, as its documentation shows.
"""

from __future__ import annotations

import torch
from spikingjelly.activation_based import functional, neuron, surrogate
from spikingjelly.activation_based import layer as layers
from support_networks import spikingjelly_library
from torch import Tensor, nn

from benchmarks.cases import LARGE, Inputs, Layer, Network
from benchmarks.torch_loop import OneLayer, Training

PACKAGES = ("spikingjelly", "torch", "numpy")
NOTES = {"CUBA-LIF": "the current is not divided by tau, the reset is not detached"}


def network(variant: str, network: Network, inputs: Inputs) -> Training:
    """Return one of the three networks."""
    net = spikingjelly_library().network(network.model, network.hidden)
    return Training(net, network, inputs, functional.reset_net, lambda x: x.permute(1, 2, 0).unsqueeze(1))


class _Stacked(nn.Module):
    """The outputs of a module that gives them as a list, in one tensor."""

    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        self.module = module

    def forward(self, x_seq: Tensor) -> Tensor:
        return torch.stack(self.module(x_seq))


def _fires() -> dict[str, object]:
    return {"surrogate_function": surrogate.ATan(), "detach_reset": True}


LAYERS = {
    "IF": lambda H: neuron.IFNode(**_fires(), step_mode="m"),
    "LIF": lambda H: neuron.LIFNode(2.0, **_fires(), step_mode="m"),
    "parametric LIF": lambda H: neuron.ParametricLIFNode(2.0, **_fires(), step_mode="m"),
    "CUBA-LIF": lambda H: layers.MultiStepContainer(
        neuron.CUBALIFNode(0.5, 0.5, 1.0, surrogate_function=surrogate.ATan())
    ),
    "leaky integrator": lambda H: _Stacked(neuron.NonSpikingLIFNode(2.0)),
    "synapse filter": lambda H: layers.MultiStepContainer(layers.SynapseFilter(2.0, learnable=True)),
    "element-wise feedback": lambda H: layers.MultiStepContainer(
        layers.ElementWiseRecurrentContainer(neuron.IFNode(**_fires()), torch.add)
    ),
    "linear feedback": lambda H: layers.MultiStepContainer(
        layers.LinearRecurrentContainer(neuron.IFNode(**_fires()), H, H)
    ),
    LARGE: lambda H: nn.Sequential(
        layers.Linear(H, H, step_mode="m"), neuron.LIFNode(2.0, **_fires(), step_mode="m")
    ),
}


def layer(variant: str, layer: Layer) -> OneLayer:
    """Return a layer."""
    return OneLayer(LAYERS[layer.name], layer, functional.reset_net)
