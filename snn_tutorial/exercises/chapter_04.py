"""Answers of chapter 04: three networks."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from sequential_fmnist.networks import make_network
from snn_core.functional import reset_net, states
from snn_core.layer import LinearRecurrentContainer, SynapseFilter
from snn_tutorial.exercises import Exercise, like
from snn_tutorial.probe import record

with torch.random.fork_rng(devices=[]):
    _PLAIN, _LOOP, _IMAGES = make_network("plain"), make_network("feedback"), torch.rand(5, 1, 28, 28)
_SPIKES = record(_PLAIN, _IMAGES).hidden_spikes.sum().item()
_FC1, _RC = _LOOP.fc1, _LOOP.sn1[0].rc
_W, _C = (_RC.weight[:, :32] @ each for each in (_FC1.weight, _FC1.bias))


def _counts(spikes: float) -> Callable[[Any], bool]:
    return like(lambda net, images: spikes, [(_PLAIN, _IMAGES)])


def _merges(*wanted: Tensor) -> Callable[[Any], bool]:
    return lambda answer: all((a - b).abs().max() < 1e-5 for a, b in zip(answer(_LOOP), wanted, strict=True))


def _calls_filter(net: Any) -> bool:
    """Say whether the filter keeps a current for 32 hidden neurons once the network has seen images."""
    rates = net(_IMAGES)
    currents = [i.shape for name, i in states(net).items() if name.endswith("out_i")]
    reset_net(net)
    return rates.shape == (5, 10) and currents == [(5, 32)]


def _parts(net: Any) -> tuple[int, int, int]:
    """Return the numbers of synapse filters, of recurrent containers and of parameters of a network."""
    kinds = [type(module) for module in net.modules()]
    size = sum(p.numel() for p in net.parameters())
    return kinds.count(SynapseFilter), kinds.count(LinearRecurrentContainer), size


EXERCISES: dict[str, Exercise] = {
    "04.1": Exercise(
        right=86,
        hint="how many weights and biases does one more hidden neuron bring?",
        mistakes=[
            (85, "that gives 3,325, which is 13 too few."),
            (88, "that leaves out the bias of each hidden neuron."),
            (64, "twice the neurons have 2,506 parameters."),
        ],
        because="39 * 86 + 10 = 3,364.",
    ),
    "04.2": Exercise(
        right=0.28304,
        tolerance=0.02,
        hint="differentiate v = h - s v_threshold; ds/dh is g'(h - v_threshold), with g' from section 3.",
        mistakes=[
            (1, "that is the slope with detach_reset=True."),
            (-0.86035, "that is the reset to 0, v = (1 - s) h."),
            (-0.71696, "h itself has the slope 1, which is missing."),
            (0.71696, "that is g'(0.2) alone; v has two terms."),
            (0.13965, "here the spike subtracts the threshold, not h."),
        ],
        because="1 - g'(0.2) = 1 - 0.717: the threshold that is subtracted does not depend on h.",
    ),
    "04.3": Exercise(
        right=_counts(_SPIKES / 5),
        hint="record(net, images).hidden_spikes is [T, N, hidden]: which axes are summed, which averaged?",
        mistakes=[(_counts(_SPIKES), "that is all images.")],
        because="spikes are summed over time and neurons, and averaged over images.",
    ),
    "04.4": Exercise(
        right=lambda net: _parts(net) == (1, 1, 3339) and _calls_filter(net),
        hint="start from FeedBackNet, and call a learnable SynapseFilter between sn1 and fc2.",
        mistakes=[
            (lambda net: 0 in _parts(net), "SynapseFilter or LinearRecurrentContainer is missing."),
            (lambda net: _parts(net)[2] == 3338, "the time constant is fixed: learnable=True."),
            (lambda net: not _calls_filter(net), "forward does not call the filter between sn1 and fc2."),
        ],
        because="it has both parts, and 3,338 + 1 parameters.",
    ),
    "04.5": Exercise(
        right=_merges(_W, _C + _RC.bias),
        hint="write i = W_x (W_1 x + b_1) + b, with fc1's W_1 and b_1, and multiply it out.",
        mistakes=[
            (_merges(_W, _C), "rc's bias is missing."),
            (_merges(_W, _RC.bias), "fc1's bias passes rc."),
        ],
        because="two linear layers without anything between them are one.",
    ),
}
