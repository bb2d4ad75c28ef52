"""Answers of chapter 01: one neuron, and its feedback."""

from __future__ import annotations

from typing import Any

import numpy as np

from snn_tutorial.exercises import Exercise, like

#: Inputs x[0] and thresholds that floating point holds exactly, so that no spike depends on rounding.
_CASES = ((3.0, 1.25), (1.5, 1.25), (3.0, 1.5), (0.5, 1.25), (1.25, 1.25), (5.0, 2.0))


def _intervals(w: Any) -> list[set[int]]:
    """Return the intervals between the late spikes of each neuron, hard reset, after x = [1, 0, 0] in step 0."""
    w = np.asarray(w, float).reshape(3, 6)
    v, y, s_seq = np.zeros(3), np.zeros(3), []
    for t in range(48):
        h = v + w @ [t == 0, 0, 0, *y]
        y = (h >= 1).astype(float)
        v = (1 - y) * h
        s_seq.append(y)
    return [{*np.diff(16 + np.flatnonzero(s)).tolist()} for s in np.transpose(s_seq[16:])]


def _turned(w: Any) -> np.ndarray:
    own, back = np.hsplit(np.asarray(w, float), 2)
    return np.hstack([own, back.T])


def _spikes(a: float, theta: float) -> float:  # soft reset, the spike fed back
    return (a - theta) // (theta - 1) + 1 if a >= theta else 0


EXERCISES: dict[str, Exercise] = {
    "01.1": Exercise(
        right=-0.75,
        mistakes=(
            (-0.5, "h[4] is then exactly 1, which reaches the threshold."),
            (-0.25, "h[4] is 1.5 without it, and 1.25 with it."),
            (0.75, "the input must be below 0."),
            (-1, "this silences it, too, but is not the weakest."),
            (-1.5, "this silences it, and clears v as well; a weaker one is enough."),
        ),
        hint="h[4] = v[3] + x[4] + y[3]. What are v[3] and y[3]?",
        because="h[4] is 0.75, so no spike comes back, and v stays there.",
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
        right=lambda w: _intervals(w) == [{1}, {2}, {4}],
        mistakes=(
            (lambda w: _intervals(_turned(w)) == [{1}, {2}, {4}], "row k says what neuron k receives."),
            (
                lambda w: _intervals(np.roll(w, 3, axis=1)) == [{1}, {2}, {4}],
                "the halves are exchanged: the left one weights the input.",
            ),
            (lambda w: _intervals(w)[0] != {1}, "neuron 0 must hear itself, with a weight of at least 1."),
            (
                lambda w: _intervals(w)[:2] == [{1}, {2}],
                "neurons 0 and 1 are right. Neuron 2 counts those of 1.",
            ),
        ),
        hint="with which weight do two spikes charge a neuron to its threshold?",
        because="Each neuron counts to two.",
    ),
    "01.4": Exercise(
        right=[3, 4],
        mistakes=(
            ([4, 3], "these are the right numbers in the wrong order."),
            ([3, 3], "detach_net keeps v: it cuts only the graph."),
            ([4, 4], "reset_net clears v, so the second piece is as the first."),
            ([3, 7], "7 is the number of both pieces together."),
        ),
        hint="what is v after the first piece, and which of the two functions keeps it?",
        because="detach_net continues the sequence, reset_net begins a new one.",
    ),
    "01.5": Exercise(
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
