"""Answers of chapter 10: a time step, a threshold, and a reset."""

from collections.abc import Callable
from typing import Any

from snn_tutorial.exercises import Exercise


def _share(low: float, high: float) -> Callable[[Any], bool]:
    """Return whether an answer is 0 and a number between these."""
    return lambda answer: float(answer[0]) == 0 and low <= float(answer[1]) <= high


_STEP = "what is added to v in one step, and what are dt and r in it?"
_TIES = "simulate the same graph with both thresholds, trained and then rounded, and give percent."
_PULSE = "write down h[t] and what is left after each spike, step by step, for either reset."
_SAME: tuple = (1, "that holds where both use the same step.")
_INVERSE: tuple = (0.1, "a shorter step adds less in one step, so the input must be larger, not smaller.")
_R: tuple = (1000, "that is r; the step adds dt r times the input.")
_BOTH: tuple = (_share(3.9, 5.5), "rounding adds to that: compare two graphs that are both rounded.")
_FRACTION: tuple = (_share(0.02, 0.06), "that is a share of 1; give percent.")
_BIAS: tuple = ([0, 0], "the bias of fc1 must be rounded too.")
_SOFT: tuple = ([1, 1], "the soft reset leaves 1.5 after the first spike, which is above the threshold.")
_HARD: tuple = ([2, 2], "NIR's neurons are set to 0: after the first spike nothing is left.")
_ONE_BIAS = "A sum of trained weights is hardly ever exactly 1; a rounded bias can be."
EXERCISES: dict[str, Exercise] = {
    "10.1": Exercise(10, _STEP, [_SAME, _INVERSE, _R], "dt r is 0.1, so the input must be 10."),
    "10.2": Exercise(_share(2.7, 3.02), _TIES, [_BOTH, _FRACTION, _BIAS], _ONE_BIAS),
    "10.3": Exercise([2, 1], _PULSE, [_SOFT, _HARD], "The soft reset leaves 1.5, then 0.5."),
}
