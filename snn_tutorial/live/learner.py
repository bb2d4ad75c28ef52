"""Networks that are trained on a page: their cells, loss and optimizers as JavaScript, with equations from torch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from sequential_fmnist.networks import make_network
from snn_core.cells import Cell, State, Synapse, synapse_filter_step
from snn_core.checks import Like
from snn_core.layer import MultiStepContainer, SynapseFilter
from snn_tutorial.live.javascript import cell_code, network_code

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


def equations(cells: dict[str, Any]) -> dict[str, Any]:
    """Return all equations of training as ``Equations`` in ``learner.js``, with the networks' ``cells``."""
    one = torch.tensor(1.0)
    return {
        "cells": cells,
        "loss": cell_code(SquaredError(one, one, one)),
        "limit": cell_code(Limit(one)),
        "optimizers": [cell_code(SGD(one, one)), cell_code(Adam(one, one))],
    }


def kind_of(kind: str, hidden: Sequence[int], cells: dict[str, Any]) -> dict[str, Any]:
    """Return a network as ``Kind`` in ``learner.js``.

    Args:
        kind: one of :data:`~sequential_fmnist.networks.TUTORIAL_NETWORKS`.
        hidden: the numbers of hidden neurons that a reader may choose.
        cells: cells by their names; those of the network are added.
    """
    net = make_network(kind)
    if kind == "stateful-synapse":
        net.sy1 = MultiStepContainer(LearnedFilter(2.0, learnable=True))
    tensors = {size: _tensors(make_network(kind, size)) for size in hidden}
    return {**network_code(kind.replace("-", " "), net.double(), cells), "tensors": tensors}


def _tensors(net: nn.Module) -> list[tuple[str, int, int | None]]:
    """Return name, size and inputs of each tensor that is trained."""
    found = []
    for name, weight in net.named_parameters():
        owner = net.get_submodule(name.rpartition(".")[0])
        found.append((name, weight.numel(), getattr(owner, "in_features", None)))
    return found
