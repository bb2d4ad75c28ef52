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
        right=300,
        tolerance=0.01,
        hint="tau must be D/10 or more for the longest distance, and at most 10 D for the shortest.",
        mistakes=[
            (200, "for D = 3,000 that is D/15, and D/10 is the smallest that recalls."),
            (3000, "for D = 30 that is 100 D, which no run asked for."),
            (30, "for D = 3,000 that is D/100, which leaves guessing."),
            (1515, "that is the mean of the ends; for D = 30 it is 50 D, which no run asked for."),
        ],
        because="It covers a factor of 100. A fixed tau, which has to begin at D/3, covers a factor of 30.",
    ),
    "08.3": Exercise(
        right=100 * (1 - (399 / 400) ** 6),
        tolerance=0.02,
        hint="a current keeps 1 - 1/tau in each step; the first symbol ends 6 steps before the last.",
        mistakes=[
            (100 * (399 / 400) ** 6, "that is how large it still is, compared with the last."),
            (1 - (399 / 400) ** 6, "in per cent."),
            (100 * (1 - (399 / 400) ** 3), "each symbol is shown for two steps."),
            (100 * (1 - (99 / 100) ** 6), "tau is 400 steps."),
        ],
        because="So the order of first and last is in 1.5 % of the current.",
    ),
}
