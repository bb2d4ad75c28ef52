"""Answers of chapter 02: the synapse filter, its time constant, and its mean."""

from __future__ import annotations

import math

from snn_tutorial.exercises import Between, Exercise, like

_TAU = 1 / (1 - 0.5**0.1)  # with a half-life of 10 steps
_CASES = ((10.0, 0.1, 1.0), (2.0, 0.75, 1.25), (7.0, 0.25, 2.0))  # tau, p and w


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
        right=Between(14.5, 16.5),
        mistakes=(
            (
                Between(11.5, 12.5),
                "that is the tau of the synapse filter. The low-pass decays in more steps.",
            ),
            (
                Between(9, 10.5),
                "the other way round: the low-pass decays in more steps, so it must lose less in each.",
            ),
            (Between(1.9, 2.1), "that is where it starts: call optimizer.step() after backward()."),
        ),
        hint="replace SynapseFilter in the training loop of section 7, and read synapse.tau at its end.",
        because="A wrong model fits best with a wrong time constant.",
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
        right=like(lambda tau, p, w: tau * p * w / (1 - p * w), _CASES),
        mistakes=(
            (
                like(lambda tau, p, w: tau * p * w, _CASES),
                "this is the low-pass, which decays in every step.",
            ),
            (
                like(lambda tau, p, w: p * w / (1 - p * w), _CASES),
                "what does a silent step remove? It depends on tau.",
            ),
            (like(lambda tau, p, w: tau * p / (1 - p), _CASES), "this is the mean for a weight of 1."),
            (
                like(lambda tau, p, w: tau * p * w / (1 - p), _CASES),
                "the weight changes the factor before I[t-1], too.",
            ),
        ),
        hint="take the mean of both sides, with x[t] = w s[t], which does not depend on I[t-1].",
        because="The decay, (1 - p w) E[I] / tau, is in balance with the input, p w.",
    ),
}
