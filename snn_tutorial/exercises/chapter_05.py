"""Answers of chapter 05."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

from snn_tutorial.exercises import Exercise

#: Largest elements of gradients, update by update.
_CASES = (
    [0.5, 1.5, 1.2, 2.5, 0.9],
    [65_504 / 65_536, 65_505 / 65_536],
    [math.nan, math.inf, 3.0],
    [0.1] * 2_000 + [0.6, 0.6],
    [0.1] * 1_500 + [1.5] + [0.1] * 1_000 + [1.5] + [0.1] * 999 + [0.8],
)


def _skipped(
    largest: Sequence[float],
    first: int = 1,
    halves: bool = True,
    doubles: bool = True,
    restarts: bool = True,
    nan_skips: bool = True,
) -> list[int]:
    """Return which updates the rule skips, or one that lacks a part of it."""
    scale, good, skipped = 65_536.0, 0, []
    for update, size in enumerate(largest, first):
        if scale * size > 65_504 or (nan_skips and math.isnan(size)):
            skipped.append(update)
            scale, good = scale / 2 if halves else scale, 0 if restarts else good
        else:
            good += 1
            if good == 2_000:
                scale, good = 2 * scale if doubles else scale, 0
    return skipped


def _by(**changed: Any) -> Callable[[Any], bool]:
    """Return whether an answer skips the same updates as the rule with such changes."""
    return lambda answer: all(list(answer(case)) == _skipped(case, **changed) for case in _CASES)


EXERCISES = {
    "05.1": Exercise(
        right=_by(),
        hint="keep the scale and the number of updates since the last skip; both change with every update.",
        mistakes=[
            (_by(first=0), "updates are counted from 1."),
            (_by(halves=False, doubles=False), "a skip halves the scale, and 2,000 good updates double it."),
            (_by(halves=False), "a skip halves the scale."),
            (_by(doubles=False), "after 2,000 updates without a skip the scale is doubled."),
            (_by(restarts=False), "a skip also sets the count of good updates to 0."),
            (_by(nan_skips=False), "NaN skips, too; it is not larger than anything."),
        ],
        because="torch's GradScaler keeps the same two numbers.",
    ),
    "05.2": Exercise(
        right=14,
        hint="until the first skip both runs are the same to the last digit.",
        mistakes=[
            (13, "epochs are counted from 1."),
            (15, "it skipped in this epoch, too, but not for the first time."),
            (9, "that is seed 100 or 104; seed 102 is the third of ten."),
        ],
        because="There the two curves differ for the first time.",
    ),
    "05.3": Exercise(
        right=[69.0, 80.6],
        hint="numpy's std divides by n unless ddof=1; t is about 2.26 for ten runs.",
        mistakes=[
            ([73.04, 76.53], "that is the interval of the mean; one more run also varies by s itself."),
            ([70.0, 79.56], "that is with 1.96 in place of t, and without 1/n."),
            ([0.69, 0.806], "give per cent."),
            ([80.6, 69.0], "first the lower end."),
            ([68.15, 76.53], "that is the smallest and the largest of the ten."),
        ],
        because="It is so wide that it holds nearly everything.",
        tolerance=1e-3,
    ),
    "05.4": Exercise(
        right=[-1.649, 2.227],
        hint="stats.ttest_ind(a, b, equal_var=False).confidence_interval(0.95), as in section 8.",
        mistakes=[
            ([-2.227, 1.649], "that is the rule less float16."),
            ([3.352, 12.434], "that is float16 less float32."),
            ([-0.01649, 0.02227], "give points, not fractions."),
        ],
        because="It holds 0, so the difference is undecided; it is hardly larger than 2 points.",
        tolerance=4e-2,
    ),
}
