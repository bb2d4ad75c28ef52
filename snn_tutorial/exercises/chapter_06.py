"""Answers of chapter 06: the gradient through time."""

from __future__ import annotations

import math

import torch

from snn_tutorial.exercises import Exercise

#: ATan's slope with alpha = 2 at h = 1.1, which is 0.1 above the threshold.
_SLOPE = 1 / (1 + (0.1 * math.pi) ** 2)
_ONE = torch.eye(32, dtype=torch.float64)


def _stretch(answer: torch.Tensor, plus: torch.Tensor = 0 * _ONE) -> float:
    """Return the spectral norm of W_y plus another matrix, to six digits."""
    return round(torch.linalg.matrix_norm(answer.detach().double() + plus, 2).item(), 5)


def _is_diagonal(answer: torch.Tensor) -> bool:
    return _stretch(answer - answer.diag().diag()) == 0


def _largest_eigenvalue(matrix: torch.Tensor) -> float:
    # LAPACK may crash on NaN.
    return torch.linalg.eigvals(matrix).abs().max().item() if matrix.isfinite().all() else float("inf")


EXERCISES: dict[str, Exercise] = {
    "06.1": Exercise(
        right=1 - _SLOPE,
        hint="differentiate v = h - s with s'(h) = g'(h - 1); g' is the formula of ATan with x = 0.1.",
        mistakes=[
            (1, "that is the cut: attached, the spike s depends on h too."),
            (-1.1 * _SLOPE, "that is the hard reset; here v = h - s."),
            (1 + _SLOPE, "the sign: a spike takes potential away."),
            (-_SLOPE, "the first term: h itself stays in v, also where the neuron fires."),
        ],
        because="the first term stays 1, and the slope 0.910 is subtracted.",
        tolerance=1e-2,
    ),
    "06.2": Exercise(
        right=[1.5, 0.75],
        hint="write I[t] = I[t-1] - (1 - s[t]) I[t-1] / tau + s[t] and take both derivatives.",
        mistakes=[
            ([1, 0.75], "a spike would also stop the decay of its step: (1 - s[t]) multiplies I[t-1] / tau."),
            ([1.5, 1], "only a spike stops the decay, and here s[t] = 0."),
            ([0.75, 1.5], "the other way round."),
        ],
        because="a spike would add 1 and spare the current a loss of 2 / 4; without one a quarter is lost.",
        tolerance=1e-4,
    ),
    "06.3": Exercise(
        right=11.70,
        hint="build the network twice from the same seed, as in section 3, and take fc1.weight.grad.norm().",
        mistakes=[
            (1 / 11.70, "that is the norm at 2 divided by the one at 200."),
            (lambda a: 0 < a < 1, "a narrower slope is a higher one: what is it at the threshold?"),
            (100, "the height grows a hundredfold, but fewer neurons are within the narrow slope."),
        ],
        because="at the threshold the slope is alpha / 2, but fewer potentials lie within it.",
        tolerance=2e-2,
    ),
    "06.4": Exercise(
        right=lambda a: _stretch(a) >= 0.5 and not _is_diagonal(a) and _stretch(a, _ONE) <= 1,
        hint="choose the factor I + W_y first: which matrices lengthen no vector?",
        mistakes=[
            (lambda a: _stretch(a) < 0.5, "W_y stretches by less than 0.5: almost no feedback at all."),
            (lambda a: _is_diagonal(a) and _stretch(a, _ONE) <= 1, "I + W_y is right, but W_y is diagonal."),
            (lambda a: _largest_eigenvalue(a + _ONE) < 1.01, "eigenvalues are not enough."),
            (lambda a: _stretch(a) <= 1, "W_y lengthens nothing; it is I + W_y that must not."),
        ],
        because="the factor I + W_y lengthens no gradient.",
    ),
}
