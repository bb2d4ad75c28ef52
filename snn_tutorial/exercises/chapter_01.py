"""Answers of chapter 01: one neuron, and its feedback."""

from __future__ import annotations

import numpy as np

from snn_tutorial.exercises import Exercise, like

#: Inputs x[0] and thresholds that floating point holds exactly, so that no spike depends on rounding.
_CASES = ((3.0, 1.25), (1.5, 1.25), (3.0, 1.5), (0.5, 1.25), (1.25, 1.25), (5.0, 2.0))
_OWN = np.eye(3)
_BEFORE = np.roll(_OWN, 1, axis=0)  # row k has its 1 in the column of neuron k - 1


def _spikes(a: float, theta: float) -> float:  # soft reset, the spike fed back
    return (a - theta) // (theta - 1) + 1 if a >= theta else 0


EXERCISES: dict[str, Exercise] = {
    "01.1": Exercise(
        right=0.6,
        mistakes=(
            (0.8, "this is the soft reset, which keeps the surplus. The hard reset sets v to 0."),
            (2.8, "this is the sum of all inputs. After a spike the membrane potential is reset."),
        ),
        hint="go through charge, fire and reset for each of the five inputs, and write down v after each.",
        because="The neuron fires in steps 1 and 3, and is set to 0 both times. The last input is left.",
    ),
    "01.2": Exercise(
        right=[9, 5],
        mistakes=(
            ([5, 9], "these are the right numbers in the wrong order."),
            ([9, 11], "the spike was added: f(x, y) = x - y subtracts it."),
            ([9, 0], "f was called as y - x, which is SpikingJelly's order."),
            ([6, 4], "this is the hard reset: build the neurons with v_reset=None."),
        ),
        hint="torch.sub is the f of the container; trace(...).s has the spikes.",
        because="A spike costs 2 instead of 1, so the neuron fires about half as often.",
    ),
    "01.3": Exercise(
        right=np.hstack([_OWN, _BEFORE]),
        mistakes=(
            (
                np.hstack([_OWN, _BEFORE.T]),
                "the ring turns the other way: row k says what neuron k receives.",
            ),
            (np.hstack([_BEFORE, _OWN]), "the halves are exchanged: the left one weights the input."),
            (np.hstack([_OWN, _OWN]), "each neuron listens to itself: the spike stays in neuron 0."),
        ),
        hint="i[k] is the sum of W[k, 3 + j] y[j] over j, beside the input's part.",
        because="Neuron k listens to the one before it.",
    ),
    "01.4": Exercise(
        right=like(_spikes, _CASES),
        mistakes=(
            (like(lambda a, t: max(_spikes(a, t) - 1, 0), _CASES), "one is missing: it fires at t = 0, too."),
            (like(lambda a, t: (a - t) // (t - 1) + 1, _CASES), "right for a >= theta. Return 0 below it."),
            (
                like(lambda a, t: a // t, _CASES),
                "this ignores the feedback: each spike costs theta and returns 1.",
            ),
        ),
        hint="write down h[0], h[1], h[2] as long as the neuron fires. By how much does h fall in each step?",
        because="h[t] = a - t (theta - 1), and the neuron fires as long as that is at least theta.",
    ),
}
