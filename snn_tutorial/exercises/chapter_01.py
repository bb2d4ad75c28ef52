"""Answers of chapter 01: one neuron, its feedback, and its state."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from snn_tutorial.exercises import Exercise

#: Inputs x[0] and thresholds that floating point holds exactly, so that no spike depends on rounding.
_CASES = ((3.0, 1.25), (1.5, 1.25), (3.0, 1.5), (0.5, 1.25), (1.25, 1.25), (5.0, 2.0))


def _spikes(a: float, theta: float) -> int:
    """Count the spikes after x[0] = a, with the soft reset and the spike fed back; ``theta`` is above 1."""
    h, spikes = a, 0
    while h >= theta:
        h, spikes = h - theta + 1, spikes + 1
    return spikes


def _counts_like(formula: Callable[[float, float], float]) -> Callable[[Any], bool]:
    """Return a function that says whether an answer, itself a function, gives what ``formula`` gives."""
    return lambda answer: all(float(answer(*case)) == formula(*case) for case in _CASES)


def _lif_spikes(weight: float, steps: int = 100) -> int:
    """Count the spikes of an LIF neuron, tau = 2 and soft reset, after x[0] = 4 with its spike fed back."""
    v, s, spikes = 0.0, 0.0, 0
    for t in range(steps):
        h = v + ((4.0 if t == 0 else 0.0) + weight * s - v) / 2
        s = float(h >= 1)
        v, spikes = h - s, spikes + int(s)
    return spikes


EXERCISES: dict[str, Exercise] = {
    "01.1": Exercise(
        right=0.6,
        mistakes=(
            (
                0.8,
                "this is the soft reset, which keeps the surplus. The hard reset sets v to 0 after a spike.",
            ),
            (2.8, "this is the sum of all inputs. After a spike the membrane potential is reset."),
            (1.1, "this is h, the membrane potential before the reset, of a step with a spike."),
            (0, "there is no spike in the last step, so nothing is reset there."),
        ),
        hint="go through charge, fire and reset for each of the five inputs, and write down v after each.",
        because="The neuron fires in steps 1 and 3, and is set to 0 both times, so only the last input is left.",
        tolerance=1e-4,
    ),
    "01.2": Exercise(
        right=lambda answer: answer.strip().split(".")[-1].partition("(")[0] == "detach_net",
        mistakes=(
            (
                lambda answer: "reset" in answer,
                "reset_net also clears the state, so each piece would start as if nothing came before it.",
            ),
            (
                lambda answer: "retain" in answer,
                "with retain_graph=True the graph grows with every piece, and does not match the new weights.",
            ),
            (
                lambda answer: "zero_grad" in answer,
                "zero_grad clears the gradients of the weights. The graph of the last piece stays attached.",
            ),
            (
                lambda answer: "detach" in answer,
                "the right idea; the function that does it for a whole network has another name.",
            ),
        ),
        hint="the state has to be carried over to the next piece, the gradient must not be.",
        because="The state continues, and the gradient stops at the border: truncated BPTT.",
    ),
    "01.3": Exercise(
        right=[9, 5],
        mistakes=(
            ([5, 9], "these are the right numbers in the wrong order."),
            ([9, 11], "the spike was added: f(x, y) = x - y subtracts it."),
            ([9, 9], "the inhibition had no effect: the container must hold the neuron, and f must use y."),
            ([6, 4], "this is the hard reset: build the neurons with v_reset=None."),
            (
                [9, 4],
                "the last spike needs no time to be paid for: count the spike in the last step as well.",
            ),
        ),
        hint="torch.sub is the f of the container; trace(...).s has the spikes.",
        because="A spike costs 2 instead of 1, so the neuron fires about half as often.",
    ),
    "01.4": Exercise(
        right=_counts_like(_spikes),
        mistakes=(
            (
                _counts_like(lambda a, theta: max(_spikes(a, theta) - 1, 0)),
                "one spike is missing: the neuron fires at t = 0 already, so the count is one more than the last t.",
            ),
            (
                _counts_like(lambda a, theta: (a - theta) // (theta - 1)),
                "one spike is missing, since the neuron fires at t = 0 already; and below the threshold there is none.",
            ),
            (
                _counts_like(lambda a, theta: (a - theta) // (theta - 1) + 1),
                "right for a >= theta. Below the threshold the formula is not a number of spikes; return 0.",
            ),
            (
                _counts_like(lambda a, theta: a // theta),
                "this ignores the feedback: each spike costs theta, but brings 1 back.",
            ),
            (
                _counts_like(lambda a, theta: (a - theta) / (theta - 1) + 1 if a >= theta else 0),
                "a number of spikes is whole: round down.",
            ),
        ),
        hint="write down h[0], h[1], h[2] as long as the neuron fires. By how much does h fall in each step?",
        because="h[t] = a - t (theta - 1), and the neuron fires as long as that is at least theta.",
    ),
    "01.5": Exercise(
        right=[0, 2],
        mistakes=(
            ([8, 8], "the input was not divided by tau: both x and y are scaled by 1/tau."),
            ([0, 3], "the leak is missing: subtract v / tau in each step."),
            ([0, 1], "this is the hard reset, or the spike was not fed back."),
            ([2, 0], "these are the right numbers in the wrong order."),
        ),
        hint="h = v + (x + y - v) / tau, where y is the spike of the last step.",
        because="An input of 1.5 charges to 0.75 only; with 4 the loop fades after two spikes.",
    ),
    "01.6": Exercise(
        right=lambda answer: _lif_spikes(float(answer)) == 100,
        mistakes=(
            (
                lambda answer: float(answer) == 1,
                "with w = 1 the input is halved by 1/tau, and the loop fades after two spikes.",
            ),
            (
                lambda answer: 1 < float(answer) < 2,
                "the neuron fires for some steps and then stops: what h does it approach while it fires?",
            ),
            (
                lambda answer: float(answer) < 0,
                "a negative weight inhibits: the spike has to charge the neuron.",
            ),
        ),
        hint="while the neuron fires, v becomes v/2 + w/2 - 1. Where does that settle, and is h then at least 1?",
        because="The membrane potential settles at w - 2, where h = w - 1 is at least the threshold for w >= 2.",
    ),
}
