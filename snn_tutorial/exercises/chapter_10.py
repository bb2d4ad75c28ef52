"""Answers of chapter 10: a leak in continuous time, a threshold, and a reset."""

from snn_tutorial.exercises import Between, Exercise

_STEP = "write one step of Euler's method, and compare the factors of v and of i with ours."
_TIES = "simulate each rounded graph with both neurons; an image counts if any of its spikes differs."
_PULSE = "write down h[t] and what is left after each spike, step by step, for either reset."
_INPUT: tuple = ([1, 1], "then the input would be divided by 10: dt R / tau must be 1.")
_SECONDS: tuple = ([0.001, 10], "give tau in milliseconds.")
_RATIO: tuple = ([10, 10], "that is tau in steps.")
_SHARES: tuple = ([Between(0.6, 0.75), Between(0.07, 0.14)], "those are shares of 1; give percent.")
_CHANCES: tuple = ([Between(2, 4), Between(0, 0.2)], "that is of all chances to fire: count images.")
_TURNED: tuple = ([Between(7, 14), Between(60, 75)], "that is 1/64 first.")
_SOFT: tuple = ([1, 1], "the soft reset leaves 1.5 after the first spike, which is above the threshold.")
_HARD: tuple = ([2, 2], "NIR's neurons are set to 0: after the first spike nothing is left.")
_ONE_BIAS = "A sum of trained weights is hardly ever exactly 1; a rounded bias can be."
_SHARE = [Between(60, 75), Between(7, 14)]
EXERCISES: dict[str, Exercise] = {
    "10.1": Exercise([1, 10], _STEP, [_INPUT, _SECONDS, _RATIO], "So tau and R contain the time step."),
    "10.2": Exercise(_SHARE, _TIES, [_SHARES, _CHANCES, _TURNED], _ONE_BIAS),
    "10.3": Exercise([2, 1], _PULSE, [_SOFT, _HARD], "The soft reset leaves 1.5, then 0.5."),
}
