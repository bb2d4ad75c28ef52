"""Answers of chapter 03: the layout of sequences, and what columns tell."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from snn_tutorial.exercises import Exercise

#: Six steps, two samples, three features.
_SEQUENCE = torch.arange(36.0).view(6, 2, 3) % 5


def _is_last(step: Callable[[Tensor, Tensor, float], Tensor]) -> Callable[[Any], bool]:
    """Return what says whether an answer, a function of a sequence and k, gives m after the last ``step``."""

    def is_right(answer: Any) -> bool:
        m = torch.zeros(2, 3)
        for x in _SEQUENCE:
            m = step(m, x, 0.5)
        return answer(_SEQUENCE, 0.5).shape == m.shape and torch.allclose(answer(_SEQUENCE, 0.5), m)

    return is_right


EXERCISES: dict[str, Exercise] = {
    "03.1": Exercise(
        right=[8, 60, 100, 2, 1, 0],
        mistakes=(
            (
                [100, 60, 8, 0, 1, 2],
                "the shape is right, but reshape alone moves no axis: the data are mixed up.",
            ),
            (
                [8, 100, 60, 1, 2, 0],
                "this puts step 1 into window 1. Steps of a window follow each other in memory.",
            ),
            ([60, 100, 8, 1, 0, 2], "the channels are the first axis in memory: cut the second one only."),
            ([60, 8, 100, 2, 0, 1], "the channels are the first axis in memory: cut the second one only."),
            ([8, 60, 100, 1, 2, 0], "this is [N, T, features]: time must be first."),
            ([8, 60, 100, 2, 0, 1], "this is [T, features, N]: the samples come before the features."),
        ),
        hint="reshape cuts the last axis into windows and steps, in this order. Then permute puts time first.",
        because="reshape gives [channels, windows, steps], and permute reverses the axes.",
    ),
    "03.2": Exercise(
        right=[2, 19],
        mistakes=(
            ([19, 2], "the right numbers in the wrong order: image first, then row."),
            ([3, 12], "this is sample and step. permute takes column 12 of image 3; reshape takes a row."),
            ([2, 16], "this is sample 0: add the number of the sample."),
            ([1, 2], "this is row 6 n + t = 30. The samples of one step follow each other: 6 t + n."),
        ),
        hint="number the rows of all images from 0 to 167, as they follow each other in memory. Which is [12, 3]?",
        because="Step 12 of sample 3 is row 12 * 6 + 3 = 75 in memory, and 75 = 2 * 28 + 19.",
    ),
    "03.3": Exercise(
        right=_is_last(lambda m, x, k: k * m + x),
        mistakes=(
            (_is_last(lambda m, x, k: m + x), "nothing is forgotten: multiply the last m by k."),
            (_is_last(lambda m, x, k: k * (m + x)), "x[t] is multiplied by k as well: only the last m is."),
            (_is_last(lambda m, x, k: m + k * x), "k multiplies x[t]: it belongs to the last m."),
            (lambda answer: answer(_SEQUENCE, 0.5).shape == (6, 2, 3), "return m of the last step only."),
            (lambda answer: answer(_SEQUENCE, 0.5).shape == (6, 3), "add up over time, not over samples."),
        ),
        hint="begin with m = 0 and loop over the first axis: for x in x_seq.",
        because="One m for each sample and feature is enough, however long the sequence is.",
    ),
    "03.4": Exercise(
        right=28,
        mistakes=(
            (1, "one sum of 28 values cannot be taken apart."),
            (2, "two sums give two equations for the 28 unknown values of a pixel."),
            (27, "27 sums leave one of the 28 unknown values of a pixel open."),
        ),
        hint="for one pixel, each factor gives one linear equation. How many unknown values has that pixel?",
        because="28 different factors give a Vandermonde matrix, which is invertible.",
    ),
}
