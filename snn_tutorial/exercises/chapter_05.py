"""Answers of chapter 05."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from snn_tutorial.exercises import Exercise, like

#: Labels, and what two networks take them for.
_CASE = tuple(np.array(list(map(int, digits))) for digits in ("0123456789", "0123400000", "0100050001"))


def _is(formula: Callable[[np.ndarray, np.ndarray], Any]) -> Callable[[Any], bool]:
    """Return whether an answer gives what a formula of where each network is right gives."""
    return like(lambda y, a, b: formula(a == y, b == y), [_CASE])


EXERCISES = {
    "05.1": Exercise(
        right=85,
        hint="the number of parameters is 39 h + 10; which h comes closest to 3,338?",
        mistakes=[
            (86, "3,364 parameters are 26 too many; is one neuron less closer?"),
            (64, "twice the neurons are not the same number of parameters: count weights and biases."),
        ],
        because="85 neurons have 3,325 parameters, 13 fewer; 86 have 26 more.",
    ),
    "05.2": Exercise(
        right=_is(lambda a, b: (a != b).mean()),
        hint="compare each network's guesses with the labels, and take the mean of where the results differ.",
        mistakes=[
            (_is(lambda a, b: (a != b).sum()), "that is a number of images; divide by how many there are."),
            (like(lambda y, a, b: (a != b).mean(), [_CASE]), "there the guesses differ; both may be wrong."),
            (_is(lambda a, b: (a == b).mean()), "that is where both are right, or both wrong."),
            (_is(lambda a, b: (a & ~b).mean()), "the second network may be the one that is right, too."),
            (_is(lambda a, b: (b & ~a).mean()), "the first network may be the one that is right, too."),
            (_is(lambda a, b: abs(a.mean() - b.mean())), "that compares accuracies; compare image by image."),
        ],
        because="For two seeds of one network it is much more than their accuracies differ.",
    ),
    "05.3": Exercise(
        right=[0.04, 0.52],
        hint="draw 25 squares; mark the 18 and 19 that are right, overlapping as much, then as little, as possible.",
        mistakes=[
            ([0.52, 0.04], "first the smallest, then the largest."),
            ([0, 0.52], "if they were right on the same images, their accuracies would be equal."),
            ([0.04, 0.28], "where the second is right and the first wrong; the other way round counts too."),
            ([0.04, 0.48], "that is the fraction on which both must be right."),
        ],
        because="The accuracies alone leave everything from 4 % to 52 % open.",
        tolerance=1e-3,
    ),
    "05.4": Exercise(
        right=131_072,
        hint="write down the scale after each skip, and count the updates between skips in steps of 2,000.",
        mistakes=[
            (
                65_536 / 8,
                "three skips halve it, but 8,099 good updates lie between the second and the third.",
            ),
            (262_144, "that is the scale before the last skip."),
            (65_536, "four times 2,000 good updates fit between the second skip and the third, not three."),
        ],
        because="two skips halve 65,536 to 16,384, four doublings give 262,144, and the last skip halves it.",
    ),
}
