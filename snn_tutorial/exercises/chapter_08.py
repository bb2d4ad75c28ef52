"""Answers of chapter 08."""

from __future__ import annotations

from snn_tutorial.exercises import Exercise

__all__ = ["EXERCISES"]


EXERCISES = {
    "08.1": Exercise(
        right=1 / (1 - (500 / 501) ** 0.5),
        tolerance=2e-2,
        hint="the cue leaves q^D, and the variance of the chance current is p (1 - p) (1 + q^2 + q^4 + ...).",
        mistakes=[
            (500, "that is best if variances are compared; the ratio is to a standard deviation."),
            ((500 / 501) ** 0.5, "that is q; tau is 1 / (1 - q)."),
        ],
        because="A shorter tau forgets the cue, a longer one adds up more chance spikes.",
    ),
    "08.2": Exercise(
        right=72,
        hint="if the true share is p, all n runs succeed with probability p^n; at the lower end that is 0.025.",
        mistakes=[
            (59, "that is for a probability of 0.05; the interval leaves 0.025 on each side."),
            (71, "with 71 runs the lower end is 0.9494."),
            (20, "20 of 20 runs leave a lower end of 0.83."),
        ],
        because="0.025^(1/72) is 0.9501.",
    ),
    "08.3": Exercise(
        right=lambda a: len(a) == 2 and float(a[0]) < 0.5 < 0.9 < float(a[1]) <= 1,
        hint="final gives a run; dataclasses.replace changes the start and tau of its network.",
        mistakes=[
            (lambda a: max(map(float, a)) > 1, "as fractions, not in per cent."),
            (lambda a: float(a[0]) > float(a[1]), "the one that starts at 10 steps comes first."),
        ],
        because="Both are a stateful synapse; only the start differs.",
    ),
}
