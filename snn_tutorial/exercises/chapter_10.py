"""Answers of chapter 10: a time step, a threshold, a reset, and a neuron for the simulator."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from snn_tutorial.exercises import Exercise

__all__ = ["EXERCISES"]

#: Percent of the chances to fire, among 300 or 1,000 test images of either thousand.
_ROUNDED = (2.7, 3.02)


def _shares(low: float, high: float) -> Callable[[Any], bool]:
    """Return whether an answer is 0 and a number between these."""

    def fits(answer: Any) -> bool:
        first, second = (float(value) for value in answer)
        return first == 0 and low <= second <= high

    return fits


def _lif(
    node: Any,
    i: np.ndarray,
    v: np.ndarray,
    dt: float,
    at: Callable[[np.ndarray, np.ndarray], np.ndarray] = np.greater,
    leaks: bool = True,
    resistance: bool = True,
    resets: bool = True,
) -> tuple[np.ndarray, np.ndarray]:
    """Return the spikes and the state after a step: the right answer, and each wrong one."""
    drive = (node.r if resistance else 1) * i
    v = v + dt / node.tau * ((node.v_leak - v if leaks else 0) + drive)
    z = at(v, node.v_threshold)
    return z.astype(np.float32), np.where(z, node.v_reset, v) if resets else v


def _steps_as(**how: Any) -> Callable[[Callable], bool]:
    """Return whether a function takes a step as :func:`_lif` does with these options."""

    def fits(answer: Callable) -> bool:
        import nir  # which nothing else here needs

        def numbers(*values: float) -> np.ndarray:
            return np.array(values, np.float64)

        node = nir.LIF(
            tau=numbers(4, 4, 8, 2, 4),
            r=numbers(2, 3, 2, 1, 2),
            v_leak=numbers(0, 0.5, -0.5, 0, 0),
            v_threshold=numbers(1, 1, 1, 0.5, 1),
            v_reset=numbers(0, -0.25, 0.125, 0, 0),
        )
        # With dt = 1, in exact arithmetic: the last neuron comes to lie on its threshold.
        i, v = numbers(3, -1, 6, 0.25, 1.25), numbers(0.5, 0.75, 0.25, 1, 0.5)
        found, expected = answer(node, i, v, 1.0), _lif(node, i, v, 1.0, **how)
        return len(found) == 2 and all(
            np.allclose(np.asarray(a, float), np.asarray(b, float), rtol=1e-6, atol=1e-6)
            for a, b in zip(found, expected, strict=True)
        )

    return fits


EXERCISES: dict[str, Exercise] = {
    "10.1": Exercise(
        1000,
        "section 2 derives r from one step of Euler's method: which r makes dt r equal to 1?",
        [
            (1e-3, "that is the step itself; r is its inverse."),
            (1e4, "that is the r of the usual step, 1e-4 seconds."),
            (1, "the product of dt and r is 1, not r."),
            (10, "r follows from dt alone; the usual step does not matter."),
        ],
        "dt r must be 1, so r = 1 / dt.",
    ),
    "10.2": Exercise(
        _shares(*_ROUNDED),
        "simulate the same graph with both thresholds, for the trained and for the rounded weights, and give percent.",
        [
            (_shares(3.02, 3.2), "the recurrent weights must be rounded too."),
            (
                _shares(4.5, 5.5),
                "that includes what rounding changes: compare two graphs that are both rounded.",
            ),
            (_shares(3.9, 4.5), "that is what rounding changes, with the same threshold."),
            (_shares(0.02, 0.04), "that is a share of 1; give percent."),
            (_shares(1000, 1e9), "those are spikes; divide by the chances to fire and give percent."),
            ([0, 0], "the bias of fc1 must be rounded too."),
        ],
        "A trained weight hardly ever leads to a sum of exactly 1; a rounded bias does, before the first bright pixel.",
    ),
    "10.3": Exercise(
        [2, 1],
        "write down h[t] and what is left after each spike, step by step, for either reset.",
        [
            ([1, 1], "with the soft reset 1.5 is left after the first spike, and it is above the threshold."),
            ([2, 2], "NIR's neurons are set to 0: after the first spike nothing is left."),
            ([3, 1], "after two spikes 0.5 is left, which is below the threshold."),
            ([1, 2], "the soft reset comes first in the list."),
        ],
        "The soft reset leaves 1.5 and then 0.5, the reset to a value leaves nothing.",
    ),
    "10.4": Exercise(
        _steps_as(),
        "one step of Euler's method, then a spike above the threshold, then the reset to v_reset; return both.",
        [
            (_steps_as(at=np.greater_equal), "NIR's neurons fire above the threshold, not at it."),
            (_steps_as(leaks=False), "the leak v_leak - v is missing."),
            (_steps_as(resistance=False), "the input must be multiplied by r."),
            (_steps_as(resets=False), "where it fired, the state must be v_reset."),
        ],
        "With it the simulator runs the graph for snnTorch, with the spikes of snn_core.",
    ),
}
