"""SpikingJelly in its multi-step mode, where it has one; containers step by step, as its documentation shows."""

from __future__ import annotations

from functools import partial

import torch
from spikingjelly.activation_based import functional, layer, neuron, surrogate
from torch import Tensor, nn

from benchmarks.cells import LARGE
from benchmarks.cells.torch_layer import TorchLayer

PACKAGES = ("spikingjelly", "torch", "numpy")
NOTES: dict[str, str] = {}

TAU = 2.0


def _fires() -> dict[str, object]:
    return {"surrogate_function": surrogate.ATan(), "detach_reset": True}


def _steps(module: object) -> layer.MultiStepContainer:
    return layer.MultiStepContainer(module)


class _Stacked(nn.Module):
    """The outputs of a module that gives them as a list, in one tensor."""

    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        self.module = module

    def forward(self, x_seq: Tensor) -> Tensor:
        return torch.stack(self.module(x_seq))


CELLS = {
    "IF": lambda H, _: neuron.IFNode(**_fires(), step_mode="m"),
    "LIF": lambda H, _: neuron.LIFNode(TAU, **_fires(), step_mode="m"),
    "parametric LIF": lambda H, _: neuron.ParametricLIFNode(TAU, **_fires(), step_mode="m"),
    "CUBA-LIF": lambda H, _: _steps(neuron.CUBALIFNode(0.5, 0.5, 1.0, surrogate_function=surrogate.ATan())),
    "leaky integrator": lambda H, _: _Stacked(neuron.NonSpikingLIFNode(TAU)),
    "synapse filter": lambda H, _: _steps(layer.SynapseFilter(TAU, learnable=True)),
    "element-wise": lambda H, _: _steps(
        layer.ElementWiseRecurrentContainer(neuron.IFNode(**_fires()), torch.add)
    ),
    "linear": lambda H, _: _steps(layer.LinearRecurrentContainer(neuron.IFNode(**_fires()), H, H)),
    LARGE: lambda H, _: nn.Sequential(
        layer.Linear(H, H, step_mode="m"), neuron.LIFNode(TAU, **_fires(), step_mode="m")
    ),
}
session = partial(TorchLayer, reset=functional.reset_net)
