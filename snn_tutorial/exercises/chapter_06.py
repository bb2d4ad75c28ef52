"""Answers of chapter 06: one update."""

from __future__ import annotations

import math

import torch

from snn_tutorial.exercises import Between, Exercise

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
        right=9,
        hint="without a gradient the buffer is 0.9 times what it was, and the weight moves by it: 0.9, 0.81, ...",
        mistakes=[
            (10, "that counts the update itself, too."),
            (0.9, "that is the first of the further steps."),
            (0, "the gradient is zero; the buffer is not."),
        ],
        because="0.9 + 0.81 + ... = 0.9 / (1 - 0.9).",
        tolerance=1e-3,
    ),
    "06.2": Exercise(
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
    "06.3": Exercise(
        right=Between(0.05, 0.3),
        hint="load the state as in section 1, call backward, and subtract 10 lr times each weight's gradient from it.",
        mistakes=[
            (Between(0.35, 0.6), "that is the learning rate itself; take ten times as much."),
            (Between(0.65, 0.9), "the weights have not moved, or against the wrong gradient."),
            (Between(10, 90), "as a share, from 0 to 1."),
        ],
        because="ten times the step is as far as momentum moves the weights in the end.",
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
