"""Answers of chapter 10: a time step, a threshold, a reset, and a neuron for the simulator."""

from collections.abc import Callable
from typing import Any

import numpy as np

from snn_tutorial.exercises import Exercise


def _share(low: float, high: float) -> Callable[[Any], bool]:
    """Return whether an answer is 0 and a number between these."""
    return lambda answer: float(answer[0]) == 0 and low <= float(answer[1]) <= high


def _lif(leak: float = 1, drive: float = 1, resets: bool = True, at: Any = np.greater) -> Callable:
    """Return whether a function takes a step of nir.LIF, with its parts weighted like this."""

    def fits(answer: Callable) -> bool:
        import nir  # which nothing else here needs

        tau, r, v_leak, v_reset = np.array(
            [[4, 4, 8, 2, 4], [2, 3, 2, 1, 2], [0, 0.5, -0.5, 0, 0], [0, -0.25, 0.125, 0, 0]]
        )
        v_threshold = np.array([1, 1, 1, 0.5, 1])
        node = nir.LIF(tau=tau, r=r, v_leak=v_leak, v_threshold=v_threshold, v_reset=v_reset)
        # With dt = 1, in exact arithmetic: the last neuron comes to lie on its threshold.
        i, v = np.array([3, -1, 6, 0.25, 1.25]), np.array([0.5, 0.75, 0.25, 1, 0.5])
        after = v + (leak * (v_leak - v) + np.where(drive, r, 1) * i) / tau
        z = at(after, v_threshold)
        after = np.where(z & resets, v_reset, after)
        return all(
            np.allclose(a, b, 1e-6, 1e-6) for a, b in zip(answer(node, i, v, 1.0), (z, after), strict=True)
        )

    return fits


_STEP = "what is added to v in one step, and what are dt and r in it?"
_TIES = "simulate the same graph with both thresholds, trained and then rounded, and give percent."
_PULSE = "write down h[t] and what is left after each spike, step by step, for either reset."
_EULER = "a step of Euler's method, a spike above the threshold, then the reset to v_reset; return both."
_SAME: tuple = (1, "that holds where both use the same step.")
_INVERSE: tuple = (0.1, "a shorter step adds less in one step, so the input must be larger, not smaller.")
_R: tuple = (1000, "that is r; the step adds dt r times the input.")
_BOTH: tuple = (_share(3.9, 5.5), "rounding adds to that: compare two graphs that are both rounded.")
_FRACTION: tuple = (_share(0.02, 0.06), "that is a share of 1; give percent.")
_BIAS: tuple = ([0, 0], "the bias of fc1 must be rounded too.")
_SOFT: tuple = ([1, 1], "the soft reset leaves 1.5 after the first spike, which is above the threshold.")
_HARD: tuple = ([2, 2], "NIR's neurons are set to 0: after the first spike nothing is left.")
_AT: tuple = (_lif(at=np.greater_equal), "NIR's neurons fire above the threshold, not at it.")
_LEAK: tuple = (_lif(leak=0), "the leak v_leak - v is missing.")
_DRIVE: tuple = (_lif(drive=0), "the input must be multiplied by r.")
_RESET: tuple = (_lif(resets=False), "where it fired, the state must be v_reset.")
_ONE_BIAS = "A sum of trained weights is hardly ever exactly 1; a rounded bias can be."
EXERCISES: dict[str, Exercise] = {
    "10.1": Exercise(10, _STEP, [_SAME, _INVERSE, _R], "dt r is 0.1, so the input must be 10."),
    "10.2": Exercise(_share(2.7, 3.02), _TIES, [_BOTH, _FRACTION, _BIAS], _ONE_BIAS),
    "10.3": Exercise([2, 1], _PULSE, [_SOFT, _HARD], "The soft reset leaves 1.5, then 0.5."),
    "10.4": Exercise(_lif(), _EULER, [_AT, _LEAK, _DRIVE, _RESET], "The simulator runs the dialect with it."),
}
