"""Networks, inputs and measures that several test modules share.

A :class:`Library` has the parts of snn_core or of SpikingJelly under the same names, so that the same network can be
built from either. Weights and inputs come from numpy's RandomState, whose numbers are the same in every version.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from sequential_fmnist import networks as network
from snn_core import layer, neuron, surrogate, synapse
from snn_core.cells import IF, LIF, Cell
from snn_core.functional import scan, seq_to_ann_forward
from snn_core.module import CellModule, MemoryModule
from snn_core.more import convolution, delays
from snn_core.more import neuron as more_neuron
from snn_core.more import surrogate as more_surrogate
from snn_core.more import synapse as more_synapse

ElementWise = Callable[[Tensor, Tensor], Tensor]


def random_currents(*shape: int) -> Tensor:
    """Return fp64 currents that make a neuron with threshold 1 fire now and then."""
    return torch.from_numpy(np.random.RandomState(3).normal(0.5, 3.0, shape))


def random_spikes(*shape: int) -> Tensor:
    """Return fp64 spikes at a rate of about 0.3."""
    return torch.from_numpy((np.random.RandomState(4).uniform(size=shape) < 0.3).astype(np.float64))


def random_images(n: int, columns: int = 28) -> Tensor:
    """Return fp64 images ``[n, 1, 28, columns]`` of noise in [0, 1)."""
    return torch.from_numpy(np.random.RandomState(5).uniform(size=(n, 1, 28, columns)))


def step_by_step(module: nn.Module, x_seq: Tensor) -> Tensor:
    """Call a module for one time step T times: ``[T, N, *]`` to ``[T, N, *]``."""
    return torch.stack([module(x) for x in x_seq])


def if_step(x: Tensor, v: Tensor, **fields: Any) -> tuple[Tensor, Tensor]:
    """Take an integrate-and-fire neuron, or with ``tau`` a leaky one, through a step; return s[t] and v[t]."""
    s, (v,) = (LIF if "tau" in fields else IF)(**fields).step(x, (v,))
    return s, v


def weighted_sum(output: Tensor) -> Tensor:
    """Return a loss whose gradient differs from element to element."""
    weights = torch.linspace(-1, 2, output.numel(), dtype=output.dtype)
    return (output * weights.reshape(output.shape)).sum()


def output_and_gradients(
    function: Callable[[Tensor], Tensor], x: Tensor, parameters: Iterable[Tensor] = ()
) -> list[Tensor]:
    """Return ``function(x)`` and the gradients of its :func:`weighted_sum` to ``x`` and to ``parameters``."""
    x = x.detach().clone().requires_grad_()
    output = function(x)
    return [output.detach(), *torch.autograd.grad(weighted_sum(output), [x, *parameters])]


class Node(CellModule):
    """A neuron of one's own with the state v; ``make`` builds its cell from its parameters."""

    states = ("v",)

    def __init__(self, make: Callable[..., Cell], **parameters: Tensor) -> None:
        super().__init__()
        self.make, self.given = make, list(parameters)
        for name, value in parameters.items():
            setattr(self, name, nn.Parameter(value))

    def cell(self, like: Any) -> Cell:
        return self.make(*(getattr(self, name) for name in self.given))


class Traces(MemoryModule):
    """A module of one's own without a cell; one of its two states has more dimensions than its input."""

    def __init__(self) -> None:
        super().__init__()
        self.register_state("sum")
        self.register_state("outer")

    def forward(self, x: Tensor) -> Tensor:
        total = self.checked_state("sum", x, 1.0) + x
        outer = self.checked_state("outer", x.new_empty(()).expand(*x.shape, x.shape[-1]), 0.0)
        outer = outer / 2 + x[..., None] * total[..., None, :]
        self.keep_state("sum", total)
        self.keep_state("outer", outer)
        return outer.sum(-1)


def all_equal(actual: Iterable[Tensor], expected: Iterable[Tensor]) -> bool:
    """Say whether two lists hold the same tensors bit for bit."""
    return all(torch.equal(a, b) for a, b in zip(actual, expected, strict=True))


@dataclass(frozen=True)
class Library:
    """The parts of one library, under names that do not depend on it."""

    neurons: Mapping[str, Callable[..., nn.Module]]  # one time step
    sequence_neurons: Mapping[str, Callable[..., nn.Module]]  # [T, N, *]
    surrogates: Mapping[str, Callable[..., nn.Module]]
    element_wise_recurrent: Callable[[nn.Module, ElementWise], nn.Module]
    linear_recurrent: Callable[..., nn.Module]
    synapse_filter: Callable[..., nn.Module]
    multi_step_container: Callable[..., nn.Module]
    linear: Callable[..., nn.Module]  # [T, N, *]
    network: Callable[[str, int], nn.Module]  # model, hidden
    chain: Callable[..., nn.Module] | None = None  # modules for one time step, one after the other
    synapses: Mapping[str, Callable[..., nn.Module]] = field(default_factory=dict)  # one time step
    delayed_recurrent: Callable[..., nn.Module] | None = None
    conv_recurrent: Callable[..., nn.Module] | None = None


class OverTime(nn.Module):
    """A linear layer for sequences, applied by a library's function."""

    def __init__(self, function: Callable[[Tensor, nn.Module], Tensor], *sizes: int) -> None:
        super().__init__()
        self.function, self.layer = function, nn.Linear(*sizes)

    def forward(self, x_seq: Tensor) -> Tensor:
        return self.function(x_seq, self.layer)


class Chain(nn.Sequential):
    """Modules that one scan takes a sequence through."""

    def __init__(self, backend: str, *modules: nn.Module) -> None:
        super().__init__(*modules)
        self.backend = backend

    def forward(self, x_seq: Tensor, lengths: Tensor | None = None) -> Tensor:
        return scan(x_seq, *self, backend=self.backend, lengths=lengths)


def our_library(backend: str = "auto") -> Library:
    """Return the parts of snn_core with one of its backends."""
    classes = vars(neuron) | vars(more_neuron)
    neurons = [name for name in classes if f"MultiStep{name}" in classes]
    return Library(
        neurons={name: partial(classes[name], backend=backend) for name in neurons},
        sequence_neurons={name: partial(classes[f"MultiStep{name}"], backend=backend) for name in neurons},
        surrogates={
            name: getattr(surrogate if hasattr(surrogate, name) else more_surrogate, name)
            for name in ("Sigmoid", "ATan", "Erf", "FastSigmoid", "Triangle", "Rectangle")
        },
        element_wise_recurrent=layer.ElementWiseRecurrentContainer,
        linear_recurrent=layer.LinearRecurrentContainer,
        synapse_filter=partial(layer.SynapseFilter, backend=backend),
        multi_step_container=layer.MultiStepContainer,
        linear=partial(OverTime, partial(seq_to_ann_forward, backend=backend)),
        network=partial(network.make_network, backend=backend),
        chain=partial(Chain, backend),
        synapses={
            name: partial(getattr(synapse if hasattr(synapse, name) else more_synapse, name), backend=backend)
            for name in ("SynapseFilter", "LowPassSynapse", "DoubleExponentialSynapse")
        },
        delayed_recurrent=delays.DelayedRecurrentContainer,
        conv_recurrent=convolution.ConvRecurrentContainer,
    )


def spikingjelly_library() -> Library:
    """Return the same parts from spikingjelly, whose names for some of them differ."""
    from spikingjelly.activation_based import functional as peer_functional
    from spikingjelly.activation_based import layer as peer_layer
    from spikingjelly.activation_based import neuron as peer_neuron
    from spikingjelly.activation_based import surrogate as peer_surrogate

    sequence_neurons = {
        "IFNode": partial(peer_neuron.IFNode, step_mode="m"),
        "LIFNode": partial(peer_neuron.LIFNode, step_mode="m"),
        "ParametricLIFNode": partial(peer_neuron.ParametricLIFNode, step_mode="m"),
    }

    def element_wise_recurrent(sub_module: nn.Module, function: ElementWise) -> nn.Module:
        return peer_layer.ElementWiseRecurrentContainer(sub_module, lambda y, x: function(x, y))

    class Network(nn.Module):
        """A network of the tutorial; its parameters have the names of those in sequential_fmnist.networks."""

        def __init__(self, model: str, hidden: int) -> None:
            super().__init__()
            options = {"surrogate_function": peer_surrogate.ATan(), "detach_reset": True}
            self.fc1 = nn.Linear(28, hidden)
            if model == "feedback":
                self.sn1 = peer_layer.MultiStepContainer(
                    peer_layer.LinearRecurrentContainer(peer_neuron.IFNode(**options), hidden, hidden)
                )
            else:
                self.sn1 = sequence_neurons["IFNode"](**options)
            self.sy1 = nn.Identity()
            if model == "stateful-synapse":
                self.sy1 = peer_layer.MultiStepContainer(peer_layer.SynapseFilter(tau=2.0, learnable=True))
            self.fc2 = nn.Linear(hidden, 10)
            self.sn2 = sequence_neurons["IFNode"](**options)

        def forward(self, images: Tensor) -> Tensor:
            x = images.squeeze(1).permute(2, 0, 1)
            x = self.sy1(self.sn1(peer_functional.seq_to_ann_forward(x, self.fc1)))
            return self.sn2(peer_functional.seq_to_ann_forward(x, self.fc2)).mean(0)

    return Library(
        neurons={name: getattr(peer_neuron, name) for name in ("IFNode", "LIFNode", "ParametricLIFNode")},
        sequence_neurons=sequence_neurons,
        surrogates={
            "Sigmoid": peer_surrogate.Sigmoid,
            "ATan": peer_surrogate.ATan,
            "Erf": peer_surrogate.Erf,
            "Triangle": peer_surrogate.PiecewiseQuadratic,
            "Rectangle": peer_surrogate.Rect,
        },
        element_wise_recurrent=element_wise_recurrent,
        linear_recurrent=peer_layer.LinearRecurrentContainer,
        synapse_filter=peer_layer.SynapseFilter,
        multi_step_container=peer_layer.MultiStepContainer,
        linear=partial(OverTime, peer_functional.seq_to_ann_forward),
        network=Network,
    )


def seeded_weights(module: nn.Module) -> dict[str, Tensor]:
    """Return fp64 values for every parameter, large enough that all layers of the networks fire."""
    random = np.random.RandomState(6)
    weights = {}
    for name, parameter in module.named_parameters():
        bound = 2 / parameter.shape[1] ** 0.5 if parameter.dim() == 2 else 0.4
        weights[name] = torch.as_tensor(random.uniform(-bound, bound, tuple(parameter.shape)))
    return weights
