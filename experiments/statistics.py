"""Means with intervals and paired tests, by scipy."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np
from scipy import stats


@dataclasses.dataclass(frozen=True)
class Estimate:
    """A mean over seeds with its 95 % interval; the interval is None for fewer than two values."""

    mean: float
    low: float | None
    high: float | None
    n: int


def estimate(values: Sequence[float]) -> Estimate:
    """Return the mean of ``values`` and its 95 % interval by Student's t distribution.

    Raises:
        ValueError: no values.
    """
    if len(values) == 0:
        raise ValueError("values is empty: there is no run to take a mean of")
    mean = float(np.mean(values))
    if len(values) < 2:
        return Estimate(mean, None, None, len(values))
    error = float(stats.sem(values))
    if error == 0:
        return Estimate(mean, mean, mean, len(values))
    low, high = stats.t.interval(0.95, len(values) - 1, loc=mean, scale=error)
    return Estimate(mean, float(low), float(high), len(values))


@dataclasses.dataclass(frozen=True)
class Difference:
    """What ``b`` gains over ``a`` with the same seeds: mean with its 95 % interval, and the p-values of two tests."""

    gain: Estimate
    p_t: float
    p_wilcoxon: float


def compare(a: Sequence[float], b: Sequence[float]) -> Difference:
    """Compare runs seed by seed with a paired t-test, and with Wilcoxon's test, which asks for no distribution.

    Raises:
        ValueError: ``a`` and ``b`` differ in length, or have fewer than two values.
    """
    if len(a) != len(b) or len(a) < 2:
        raise ValueError(f"a and b must be as long as each other and at least 2, got {len(a)} and {len(b)}")
    difference = np.subtract(b, a)
    if not difference.any():
        return Difference(estimate(difference), 1.0, 1.0)
    if np.ptp(difference) == 0:
        raise ValueError(f"all differences are {difference[0]}: without a spread there is nothing to test")
    return Difference(
        estimate(difference), float(stats.ttest_rel(b, a).pvalue), float(stats.wilcoxon(difference).pvalue)
    )
