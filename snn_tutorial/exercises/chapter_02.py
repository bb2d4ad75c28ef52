"""Answers of chapter 02: the synapse filter, its mean, and its time constant."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import cache
from typing import Any

import torch

from snn_core.layer import SynapseFilter
from snn_tutorial.exercises import Exercise


def _whole(wanted: Callable[[int], bool]) -> Callable[[Any], bool]:
    """Return a function that says whether an answer is a whole number with a property."""
    return lambda answer: float(answer).is_integer() and wanted(int(answer))


@cache
def _taus(lr: float, steps: int = 60) -> list[float]:
    """Return tau after each step of gradient descent, as in section 6: from 2 to a hidden 12."""
    spikes = torch.bernoulli(torch.full((100, 16), 0.2), generator=torch.Generator().manual_seed(0))
    target = SynapseFilter(tau=12.0).forward_sequence(spikes)
    synapse = SynapseFilter(tau=2.0, learnable=True)
    optimizer = torch.optim.SGD(synapse.parameters(), lr=lr)
    taus = []
    for _ in range(steps):
        synapse.reset()
        loss = (synapse.forward_sequence(spikes) - target).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        taus.append(synapse.tau.item())
    return taus


def _settles(lr: float, after: int = 25) -> bool:
    """Say whether tau stays within 0.1 of 12 from step ``after`` on."""
    return all(abs(tau - 12) <= 0.1 for tau in _taus(lr)[after - 1 :])


EXERCISES: dict[str, Exercise] = {
    "02.1": Exercise(
        right=2.5,
        mistakes=(
            (1.984375, "this is the low-pass, which decays in every step, with a spike or without."),
            (1.5, "a silent step removes a quarter of the current; it does not leave a quarter."),
            (3, "the silent step removes a quarter of the current."),
            (1, "the current is kept from step to step: a spike adds 1 to it."),
        ),
        hint="write down the current after each of the four steps; only one of them is silent.",
        because="The currents are 1, 2, 1.5 and 2.5.",
    ),
    "02.2": Exercise(
        right=_whole(lambda n: n == 45),
        mistakes=(
            (_whole(lambda n: n == 44), "after 44 steps 10.5 % are left: round up."),
            (_whole(lambda n: n in (46, 47)), "this is tau ln 10. A silent step leaves 1 - 1/20 = 0.95."),
            (_whole(lambda n: n in (18, 19)), "each step removes 5 % of what is left, not 5 % of the start."),
            (_whole(lambda n: n in (1, 2)), "a step leaves the fraction 1 - 1/tau, not 1/tau."),
            (lambda answer: 44.8 < float(answer) < 45, "the number of steps is whole: round up."),
        ),
        hint="solve 0.95**n < 0.1 for n.",
        because="0.95**44 is 10.5 %, and 0.95**45 is 9.9 %.",
    ),
    "02.3": Exercise(
        right=-math.log(99),
        mistakes=(
            (-math.log(100), "tau is 1 + exp(-w), so exp(-w) is tau - 1."),
            (math.log(99), "the sign: a large tau belongs to a negative w."),
            (math.log(100), "the sign, and tau is 1 + exp(-w), so exp(-w) is tau - 1."),
            (1 / (1 + math.exp(-100)), "this is sigmoid(100). Solve sigmoid(w) = 1/100 for w."),
            (0.01, "this is 1/tau, the value of sigmoid(w)."),
        ),
        hint="solve tau = 1 + exp(-w) for w.",
        because="exp(-w) = tau - 1 = 99.",
        tolerance=5e-4,
    ),
    "02.4": Exercise(
        right=0.5,
        mistakes=(
            (1, "this is the low-pass, whose mean is tau p."),
            (0.1, "this is 1/tau of the filter with tau = 10. The answer does not depend on tau."),
            (2, "a probability is at most 1."),
        ),
        hint="set tau p / (1 - p) equal to tau.",
        because="p / (1 - p) = 1, whatever tau is.",
        tolerance=1e-3,
    ),
    "02.5": Exercise(
        right=20,
        mistakes=(
            (10, "with the same tau the mean of the low-pass is tau p = 5."),
            (5, "this is the mean of a low-pass with tau = 10; a larger tau is needed to reach 10."),
            (40, "p enters once: the mean of the low-pass is tau p."),
        ),
        hint="the mean of the synapse filter is tau p / (1 - p) = 10; that of the low-pass is tau p.",
        because="The means agree, but in silence the low-pass decays only half as fast.",
        tolerance=1e-3,
    ),
    "02.6": Exercise(
        right=lambda answer: float(answer) > 0 and _settles(float(answer)),
        mistakes=(
            (lambda answer: float(answer) <= 0, "a learning rate is above 0."),
            (
                lambda answer: max(_taus(float(answer))) < 12.1,
                "too small: tau gets there, but not within 25 steps.",
            ),
            (
                lambda answer: min(_taus(float(answer))) < 1.9,
                "too large: tau overshoots and is thrown close to 1.",
            ),
            (lambda answer: True, "too large: tau still oscillates around 12."),
        ),
        hint="print tau in each step for rates between 0.03 and 0.5.",
        because="The steps are large enough to arrive, and small enough not to overshoot for long.",
    ),
}
