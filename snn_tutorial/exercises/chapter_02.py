"""Answers of chapter 02: the synapse filter, its time constant, and its mean."""

from __future__ import annotations

import math

from snn_tutorial.exercises import Exercise, like

_TAU = 1 / (1 - 0.5**0.1)  # with a half-life of 10 steps
_CASES = ((10.0, 0.1), (2.0, 0.75), (7.0, 0.9))  # tau and p


EXERCISES: dict[str, Exercise] = {
    "02.1": Exercise(
        right=[2.5, 0.5],
        mistakes=(
            ([0.5, 2.5], "these are the right numbers in the wrong order."),
            ([2.5, 2.5], "the filter is not linear: its factor depends on its input."),
            ([2.5, 1.5], "in step 1 the factor is 1 - (1 - x)/2 with x = -1, which is 0."),
            ([2.5, 1], "in step 2 the factor is 1 - (1 - x)/2 with x = 2, which is 1.5."),
        ),
        hint="after the weights the input is 2, -1, 2, and the factor before I[t-1] is 1 - (1 - x[t])/2.",
        because="Only a linear filter may change places with the weights.",
    ),
    "02.2": Exercise(
        right=0.128,
        mistakes=(
            (0, "in step 3 a spike meets a current, so that only the low-pass decays."),
            (0.2, "1/tau of the current, but only 0.64 of it are left by then."),
            (0.16, "two silent steps lie between the spikes: 0.64 is left, not 0.8."),
        ),
        hint="what is left of the first spike after step 2, and what does each filter do with it in step 3?",
        because="The low-pass loses a fifth of the 0.64 that are left, the synapse filter nothing.",
        tolerance=1e-4,
    ),
    "02.3": Exercise(
        right=-math.log(_TAU - 1),
        mistakes=(
            (math.log(_TAU - 1), "the sign: a large tau belongs to a negative w."),
            (-math.log(_TAU), "tau is 1 + exp(-w), so exp(-w) is tau - 1."),
            (_TAU, "this is tau. Solve tau = 1 + exp(-w) for w."),
            (-math.log(10 / math.log(2) - 1), "10 / ln 2 is tau only where tau is large."),
        ),
        hint="solve (1 - 1/tau)**10 = 1/2 for tau, then tau = 1 + exp(-w) for w.",
        because="tau is 14.93.",
        tolerance=2e-3,
    ),
    "02.4": Exercise(
        right=like(lambda tau, p: tau * p / (1 - p), _CASES),
        mistakes=(
            (like(lambda tau, p: tau * p, _CASES), "this is the low-pass, which decays in every step."),
            (like(lambda tau, p: p / (1 - p), _CASES), "what does a silent step remove? It depends on tau."),
        ),
        hint="take the mean of both sides; s[t] does not depend on I[t-1]. Both means of I are the same.",
        because="What silent steps remove, (1 - p) E[I] / tau, is what spikes add, p.",
    ),
}
