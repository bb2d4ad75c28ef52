"""snn_core: in the ordinary loop of torch, many steps in one call, and as the readable loop, also compiled."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from benchmarks.cases import LARGE, Inputs, Layer, Network
from benchmarks.peers.own_neuron import Resonator
from benchmarks.torch_loop import OneLayer, SequenceNetwork, Training
from sequential_fmnist.networks import columns_as_sequence, make_network
from snn_core import layer as containers
from snn_core import neuron, reference, synapse
from snn_core.cells import IF
from snn_core.functional import reset_net, scan, train_steps
from snn_core.more import convolution, delays
from snn_core.more import neuron as more_neuron
from snn_core.more import synapse as more_synapse
from snn_core.surrogate import ATan

PACKAGES = ("snn-core", "torch", "llvmlite", "numpy")
NOTES: dict[str, str] = {}


class _ManySteps(Training):
    """Many steps in one explicit call."""

    def steps(self, count: int) -> float:
        index = torch.arange(len(self.labels)).expand(count, -1).contiguous()
        x_seq = columns_as_sequence(self.x)
        return train_steps(self.net.chain, x_seq, self.labels, self.optimizer, index=index).losses[-1].item()


class _Loop(nn.Module):
    """Integrate-and-fire neurons in the loop that defines the kernels; ``recurrent`` of them hear each other.

    Their states are values and not attributes of modules, so all time steps can be one graph.
    """

    def __init__(self, recurrent: int) -> None:
        super().__init__()
        self.cell = IF(1.0, 0.0, ATan(), detach_reset=True)
        self.rc = nn.Linear(2 * recurrent, recurrent) if recurrent else None

    def forward(self, x_seq: Tensor) -> Tensor:
        zero = torch.zeros_like(x_seq[0])
        if self.rc is None:
            return reference.loop(self.cell.step, x_seq, (zero,))[0]
        return reference.loop(self._step_with_feedback, x_seq, (zero, zero))[0]

    def _step_with_feedback(self, x: Tensor, state: reference.State) -> tuple[Tensor, reference.State]:
        v, y = state
        y, (v,) = self.cell.step(self.rc(torch.cat([x, y], dim=-1)), (v,))
        return y, (v, y)


def _compiled(compiler: str, network: Network, inputs: Inputs) -> Training:
    """Return what a user with a C++ compiler can do instead: the loop and the loss, compiled in one graph.

    Compiling takes most of a minute for 28 steps, and much longer for more.
    """
    import torch._inductor.config

    training = Training(SequenceNetwork(_Loop, network), network, inputs)
    torch._inductor.config.compile_threads = 1  # there is one large graph, and no process stays behind
    training.loss = torch.compile(training.loss, backend=compiler, fullgraph=True, dynamic=False)
    return training


def network(variant: str, network: Network, inputs: Inputs) -> Training:
    """Return one of the three networks; ``variant`` is a backend, "train_steps", or a compiler of torch."""
    if variant in ("inductor", "aot_eager"):
        return _compiled(variant, network, inputs)
    kind = _ManySteps if variant == "train_steps" else Training
    net = make_network(network.model, network.hidden, "torch" if variant == "torch" else "auto")
    return kind(net, network, inputs, reset_net, lambda x: x.permute(1, 2, 0).unsqueeze(1))


class _Scan(nn.Module):
    """A linear layer and LIF neurons in one scan."""

    def __init__(self, H: int, backend: str, fires: dict[str, Any]) -> None:
        super().__init__()
        self.linear, self.neurons = nn.Linear(H, H), neuron.MultiStepLIFNode(2.0, **fires)
        self.backend = backend

    def forward(self, x_seq: Tensor) -> Tensor:
        return scan(x_seq, self.linear, self.neurons, backend=self.backend)


def layers(backend: str) -> dict[str, Callable[[int], nn.Module]]:
    """Return functions from H to a layer for sequences, by the names of the tables."""
    fires: dict[str, Any] = {"surrogate_function": ATan(), "detach_reset": True, "backend": backend}

    def node() -> neuron.IFNode:
        return neuron.IFNode(**fires)

    one_step = {
        "IF": lambda H: node(),
        "LIF": lambda H: neuron.LIFNode(2.0, **fires),
        "parametric LIF": lambda H: neuron.ParametricLIFNode(2.0, **fires),
        "adaptive LIF": lambda H: more_neuron.AdaptiveLIFNode(2.0, **fires),
        "CUBA-LIF": lambda H: more_neuron.CUBALIFNode(2.0, **fires),
        "leaky integrator": lambda H: neuron.LINode(2.0, backend=backend),
        "refractory LIF": lambda H: neuron.LIFNode(2.0, refractory=2, **fires),
        "own equations (resonate and fire)": lambda H: Resonator(backend),
        "low-pass synapse": lambda H: synapse.LowPassSynapse(2.0, learnable=True, backend=backend),
        "double exponential synapse": lambda H: more_synapse.DoubleExponentialSynapse(
            learnable=True, backend=backend
        ),
        "synapse filter": lambda H: synapse.SynapseFilter(2.0, True, backend),
        "element-wise feedback": lambda H: containers.ElementWiseRecurrentContainer(node(), torch.add),
        "weighted element-wise feedback": lambda H: containers.ElementWiseRecurrentContainer(
            node(), torch.add, nn.Parameter(torch.full((H,), 0.5))
        ),
        "convolutional feedback": lambda H: convolution.ConvRecurrentContainer(node(), H // 16, H // 16, 3),
        "delayed feedback": lambda H: delays.DelayedRecurrentContainer(node(), H, H, 8, learn_delays=True),
        "linear feedback": lambda H: containers.LinearRecurrentContainer(node(), H, H),
    }

    def over_time(name: str, H: int) -> nn.Module:
        layer = containers.MultiStepContainer(one_step[name](H))
        if name != "convolutional feedback":
            return layer
        return nn.Sequential(
            nn.Unflatten(2, (H // 16, 4, 4)), layer, nn.Flatten(2)
        )  # channels of 4 x 4 neurons

    return {name: partial(over_time, name) for name in one_step} | {LARGE: lambda H: _Scan(H, backend, fires)}


LAYERS = layers("auto")


def layer(variant: str, layer: Layer) -> OneLayer:
    """Return a layer on the backend ``variant``."""
    return OneLayer(layers(variant)[layer.name], layer, reset_net)
