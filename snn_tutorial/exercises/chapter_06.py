"""Answers of chapter 06: the gradient through time."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from snn_tutorial.exercises import Exercise

#: ATan's slope with alpha = 2 at h = 1.1, which is 0.1 above the threshold.
_SLOPE = 1 / (1 + (0.1 * math.pi) ** 2)


def _matrix(answer: Any) -> Tensor:
    matrix = torch.as_tensor(answer, dtype=torch.float64).detach()
    if matrix.shape != (32, 32) or not matrix.isfinite().all():
        raise ValueError(f"W_y must be a finite [32, 32], got {list(matrix.shape)}")
    return matrix


def _radius(matrix: Tensor) -> float:
    return torch.linalg.eigvals(matrix).abs().max().item()


def _is_small(answer: Any) -> bool:
    return torch.linalg.matrix_norm(_matrix(answer), 2).item() < 0.5 - 1e-6


def _loop_radius(answer: Any) -> float:
    """Return the spectral radius of I + W_y."""
    return _radius(torch.eye(32, dtype=torch.float64) + _matrix(answer))


EXERCISES: dict[str, Exercise] = {
    "06.1": Exercise(
        right=-1.1 * _SLOPE,
        hint="the neuron fires, so s = 1; the second term is -(h - v_reset) times the slope at h - 1.",
        mistakes=[
            (0, "that is the derivative with detach_reset=True; here the reset's gradient is attached."),
            (1 - 1.1 * _SLOPE, "1 - s is 0: the potential 1.1 is above the threshold."),
            (1.1 * _SLOPE, "the sign: a higher potential brings the reset nearer, which lowers v."),
            (-_SLOPE, "the factor h - v_reset = 1.1 is missing: that is how far the reset moves v."),
            (-1.1 / (1 + (1.1 * math.pi) ** 2), "the slope is taken at h - v_threshold = 0.1, not at h."),
        ],
        because="the first term is 0, and the reset would move the potential by 1.1 times the slope.",
        tolerance=1e-3,
    ),
    "06.2": Exercise(
        right=1.5,
        hint="write I[t] = I[t-1] - (1 - s[t]) I[t-1] / tau + s[t] and differentiate with respect to s[t].",
        mistakes=[
            (1, "the spike also stops the decay of its step: (1 - s[t]) multiplies I[t-1] / tau."),
            (0.5, "that is what the spared decay adds; the spike itself adds 1 more."),
            (3, "the decay in a step is I[t-1] / tau, not I[t-1]."),
            (0.75, "that is the factor from current to current in a step without a spike, 1 - 1/tau."),
            (9, "tau divides the current; it does not multiply it."),
        ],
        because="the spike adds 1 and spares the current a loss of 2 / 4.",
        tolerance=1e-4,
    ),
    "06.3": Exercise(
        right="grows",
        hint="build the network three times from the same seed, as in section 2, and print fc1.weight.grad.norm().",
        mistakes=[
            (
                "shrinks",
                "fewer potentials lie under the slope, but it gets as much higher as it gets narrower.",
            ),
            (
                lambda answer: str(answer).strip().lower().startswith(("stay", "same", "constant")),
                "the area below the slope stays the same; a few large slopes weigh more than many small ones.",
            ),
        ],
        because="a few potentials at the threshold get a slope of alpha / 2 and dominate the norm.",
    ),
    "06.4": Exercise(
        right="smaller",
        hint="copy the network, set detach_reset in sn1 and sn2, and compare gradient_by_column at column 0.",
        mistakes=[
            (
                "larger",
                "the attached factor has a second term, but a negative one: just below the threshold 1 becomes 0.18.",
            ),
            (
                lambda answer: str(answer).strip().lower().startswith(("same", "equal", "unchanged")),
                "the spikes are the same in both, the gradient is not.",
            ),
        ],
        because="near the threshold the attached factor is less than the 1 that the cut leaves.",
    ),
    "06.5": Exercise(
        right=lambda answer: not _is_small(answer) and _loop_radius(answer) <= 1 + 1e-6,
        hint="the eigenvalues of I + W_y are those of W_y plus 1: where must those of W_y lie?",
        mistakes=[
            (_is_small, "that matrix stretches by less than 0.5: almost no feedback at all."),
            (
                lambda answer: _radius(_matrix(answer)) <= 1 + 1e-6,
                "the spectral radius of W_y is at most 1, but that of I + W_y decides, and it is above 1.",
            ),
        ],
        because="the loop's factor I + W_y has no eigenvalue above 1 in size.",
    ),
}
