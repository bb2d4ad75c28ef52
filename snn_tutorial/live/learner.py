"""Networks that are trained on a page: their cells, loss and optimizers as JavaScript, with equations from torch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from sequential_fmnist.networks import make_network
from snn_core.cells import Cell, State, Synapse, synapse_filter_step
from snn_core.checks import Like
from snn_core.kernels import program
from snn_core.kernels.record.equations import Recorded
from snn_core.layer import MultiStepContainer, SynapseFilter
from snn_core.spiking import SpikingNeuron
from snn_tutorial.live import literal
from snn_tutorial.live.javascript import (
    Code,
    back_function,
    cell_function,
    network_stages,
    places,
    step_function,
)

#: Where the gradient through the reset is cut: ``detach_reset`` of the hidden and of the read-out neurons.
CUTS: dict[str, tuple[bool, bool]] = {
    "in all neurons": (True, True),
    "in hidden neurons": (True, False),
    "nowhere": (False, False),
}
#: The names of optimizers, and their first learning rates.
OPTIMIZERS = {"SGD with momentum": 0.1, "Adam": 0.005}


@dataclass(eq=False)
class LearnedSynapse(Synapse):
    """The cell of a synapse filter with what is trained, w of 1/tau = sigmoid(w), for its parameter."""

    def step(self, x: Tensor, state: State) -> tuple[Tensor, State]:
        i = synapse_filter_step(x, state[0], torch.sigmoid(self.inv_tau))
        return i, (i,)


class LearnedFilter(SynapseFilter):
    """A synapse filter whose gradient reaches w within its cell."""

    def cell(self, like: Tensor | Like) -> LearnedSynapse:
        return LearnedSynapse(self.w)


@dataclass(eq=False)
class Stateless(Cell):
    """An equation without state."""

    @property
    def initial(self) -> tuple[float | Tensor, ...]:
        return ()


@dataclass(eq=False)
class SquaredError(Stateless):
    """Of an output, summed over time steps, its share in the mean squared error of all firing rates."""

    target: Tensor
    steps: Tensor
    count: Tensor

    def step(self, x: Tensor, state: State) -> tuple[Tensor, State]:
        return (x / self.steps - self.target) ** 2 / self.count, ()


@dataclass(eq=False)
class Limit(Stateless):
    """The scale that limits a gradient's norm as ``torch.nn.utils.clip_grad_norm_`` does; x is the norm squared."""

    norm: Tensor

    def step(self, x: Tensor, state: State) -> tuple[Tensor, State]:
        return (self.norm / (torch.sqrt(x) + 1e-6)).clamp(max=1.0), ()


@dataclass(eq=False)
class SGD(Cell):
    """A step of ``torch.optim.SGD``: x is a gradient, the states are the weight and its momentum."""

    lr: Tensor
    scale: Tensor
    momentum: float = 0.9

    @property
    def initial(self) -> tuple[float | Tensor, ...]:
        return 0.0, 0.0

    def step(self, x: Tensor, state: State) -> tuple[Tensor, State]:
        weight, moment = state
        moment = self.momentum * moment + self.scale * x
        return moment, (weight - self.lr * moment, moment)


@dataclass(eq=False)
class Adam(Cell):
    """A step of ``torch.optim.Adam``: states are the weight, its moments, and the powers of both betas."""

    lr: Tensor
    scale: Tensor
    beta1: float = 0.9
    beta2: float = 0.999
    eps: float = 1e-8

    @property
    def initial(self) -> tuple[float | Tensor, ...]:
        return 0.0, 0.0, 0.0, 1.0, 1.0

    def step(self, x: Tensor, state: State) -> tuple[Tensor, State]:
        weight, mean, square, power1, power2 = state
        x, power1, power2 = self.scale * x, self.beta1 * power1, self.beta2 * power2
        mean = mean + (1 - self.beta1) * (x - mean)
        square = self.beta2 * square + (1 - self.beta2) * x * x
        change = mean / (torch.sqrt(square / (1 - power2)) + self.eps)
        return change, (weight - self.lr / (1 - power1) * change, mean, square, power1, power2)


def equations(cells: dict[str, Recorded]) -> dict[str, Any]:
    """Return all equations of training as ``learner.js`` takes them, see ``Equations`` there.

    Args:
        cells: programs of the networks' cells by their names.
    """
    one = torch.tensor(1.0)
    loss = SquaredError(one, one, one)
    recorded = program(loss)
    if isinstance(recorded, str):
        raise ValueError(recorded)
    optimizers = SGD(one, one), Adam(one, one)
    return {
        "cells": {name: Code(step_function(found)) for name, found in cells.items()},
        "backs": {name: Code(back_function(found)) for name, found in cells.items()},
        "loss": Code(cell_function(loss)),
        "lossBack": Code(back_function(recorded)),
        "limit": Code(cell_function(Limit(one))),
        "optimizers": [
            {"step": Code(cell_function(cell)), "initial": list(cell.initial)} for cell in optimizers
        ],
    }


#: Hidden neurons of the networks that are written as JavaScript for any number of them.
_HIDDEN = 32


def _sized(size: int) -> Code | int:
    """Return a size as JavaScript, in terms of the number of hidden neurons."""
    share, rest = divmod(size, _HIDDEN)
    return size if rest else Code("hidden" if share == 1 else f"{share} * hidden")


def with_cut(net: nn.Module, cut: str) -> nn.Module:
    """Cut the gradient through the reset where one of :data:`CUTS` says, and return the network."""
    for name, is_cut in zip(("sn1", "sn2"), CUTS[cut], strict=True):
        for part in net.get_submodule(name).modules():
            if isinstance(part, SpikingNeuron):
                part.detach_reset = is_cut
    return net


def kind_of(kind: str, cells: dict[str, Recorded]) -> dict[str, Any]:
    """Return a network for any number of hidden neurons, as ``Kind`` in ``learner.js``.

    Args:
        kind: one of :data:`~sequential_fmnist.networks.NETWORKS`.
        cells: programs of cells by their names; those of the network are added.
    """
    net = make_network(kind, _HIDDEN)
    if kind == "stateful-synapse":
        net.sy1 = MultiStepContainer(LearnedFilter(2.0, learnable=True))
    net.double()
    tensors = dict(net.named_parameters())
    stages = [network_stages(with_cut(net, cut), tensors, cells, _sized) for cut in CUTS]
    return {
        "name": kind.replace("-", " "),
        **places(net),
        "tensors": Code(f"(hidden) => {literal(_tensors(net))}"),
        "stages": Code(f"(tensors, hidden) => {literal(stages)}"),
    }


def _tensors(net: nn.Module) -> list[list[Any]]:
    """Return name, size and inputs of each tensor that is trained."""
    found = []
    for name, weight in net.named_parameters():
        owner = net.get_submodule(name.rpartition(".")[0])
        inputs = _sized(owner.in_features) if isinstance(owner, nn.Linear) else None
        sizes = [str(_sized(size)) for size in weight.shape]
        found.append([name, Code(" * ".join(sizes) or "1"), inputs])
    return found
