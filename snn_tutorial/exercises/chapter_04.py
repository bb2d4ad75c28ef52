"""Answers of chapter 04: three networks."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from sequential_fmnist.networks import PlainNet
from snn_core.functional import reset_net
from snn_core.layer import LinearRecurrentContainer, SynapseFilter
from snn_tutorial.exercises import Exercise
from snn_tutorial.probe import record


def _counts_as(count: Callable[[Tensor], float]) -> Callable[[Any], bool]:
    """Return whether a function of a network and images counts its hidden spikes ``[T, N, hidden]`` as ``count``."""

    def is_it(answer: Any) -> bool:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            net, images = PlainNet(hidden=6), torch.rand(5, 1, 28, 28)
        wanted = torch.as_tensor(count(record(net, images).hidden_spikes))
        found = torch.as_tensor(answer(net, images), dtype=wanted.dtype).detach()
        return found.shape == wanted.shape and torch.allclose(found, wanted, rtol=1e-4)

    return is_it


def _parts(net: nn.Module, kind: type[nn.Module]) -> int:
    return sum(isinstance(module, kind) for module in net.modules())


def _size(net: nn.Module) -> int:
    return sum(p.numel() for p in net.parameters())


def _output(net: nn.Module) -> Tensor:
    """Return the output for two images, with the state reset before and after."""
    reset_net(net)
    with torch.no_grad():
        output = net(torch.full((2, 1, 28, 28), 0.5))
    reset_net(net)
    return output


def _has_both(net: Any) -> bool:
    parts = _parts(net, SynapseFilter), _parts(net, LinearRecurrentContainer)
    output = _output(net)
    is_rate = output.shape == (2, 10) and bool(((output >= 0) & (output <= 1)).all())
    return parts == (1, 1) and _size(net) == 3339 and is_rate


EXERCISES: dict[str, Exercise] = {
    "04.1": Exercise(
        right=10762,
        hint="add up fc1, the recurrent layer, which sees 64 inputs and 64 spikes, and fc2; each has a bias.",
        mistakes=[
            (10624, "that leaves out the biases: 64 + 64 + 10 of them."),
            (6666, "the recurrent layer sees the 64 inputs and the 64 last spikes: 128 features."),
            (6676, "that is twice the number for 32; the recurrent weights grow with the square."),
            (2506, "that is the plain network; the recurrent layer is missing."),
        ],
        because="1,856 + 8,256 + 650; the recurrent layer grows with the square of the number of neurons.",
    ),
    "04.2": Exercise(
        right=-0.561,
        hint="write down m after each step, then subtract 0.1 times each of the three.",
        mistakes=[
            (0.561, "the sign: a positive gradient makes the weight smaller."),
            (-0.3, "that is without momentum: m keeps 0.9 of its last value in each step."),
            (-0.271, "that is the change in the third step alone."),
            (-0.0561, "here the new gradient enters m whole, not with the factor 1 - 0.9."),
        ],
        because="m is 1, 1.9 and 2.71, and 0.1 times their sum is subtracted.",
        tolerance=1e-4,
    ),
    "04.3": Exercise(
        right=_counts_as(lambda spikes: spikes.sum((0, 2)).mean()),
        hint="record(net, images).hidden_spikes has the shape [T, N, hidden]; which axes are summed, which averaged?",
        mistakes=[
            (
                _counts_as(lambda spikes: spikes.mean()),
                "that is the rate, spikes per step and neuron: sum over time steps and neurons.",
            ),
            (
                _counts_as(lambda spikes: spikes.sum()),
                "that is the number for all images together: divide by the number of images.",
            ),
            (
                _counts_as(lambda spikes: spikes.sum(0).mean()),
                "that is the number for one neuron: sum over the neurons too.",
            ),
            (
                _counts_as(lambda spikes: spikes.sum((0, 2))),
                "that is a number for each image: take their mean.",
            ),
        ],
        because="spikes are summed over time and neurons, and averaged over images.",
    ),
    "04.4": Exercise(
        right=_has_both,
        hint="start from FeedBackNet and call a learnable SynapseFilter between sn1 and fc2.",
        mistakes=[
            (
                lambda net: _parts(net, LinearRecurrentContainer) == 0,
                "it has no feedback: the hidden neurons belong in a LinearRecurrentContainer.",
            ),
            (lambda net: _parts(net, SynapseFilter) == 0, "it has no SynapseFilter."),
            (
                lambda net: _size(net) == 3338,
                "the time constant is fixed: SynapseFilter needs learnable=True.",
            ),
            (
                lambda net: _output(net).dim() == 3,
                "the output still has an axis of time: take the mean over it.",
            ),
        ],
        because="it has both parts, firing rates, and 3,338 + 1 parameters.",
    ),
}
