"""Means and shares with intervals, prediction intervals, and tests of differences, by scipy."""

from __future__ import annotations

import dataclasses
import math
import warnings
from collections.abc import Sequence

import numpy as np

try:
    import tabulate  # noqa: F401  evidence.py needs it, from the same extra
    from scipy import stats
except ModuleNotFoundError as error:
    message = f"the experiments need the package {error.name}: pip install 'snn-core[ablation]'"
    raise ImportError(message) from error

__all__ = ["Difference", "Estimate", "compare", "estimate", "further_run", "holm", "resampled", "share"]


@dataclasses.dataclass(frozen=True)
class Estimate:
    """A number with its 95 % interval, which is None for fewer than two values."""

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
    low, high = stats.t.interval(0.95, len(values) - 1, loc=mean, scale=error) if error else (mean, mean)
    return Estimate(mean, float(low), float(high), len(values))


def resampled(values: Sequence[float]) -> Estimate:
    """Return the mean of ``values`` and its 95 % interval by a bootstrap of percentiles, 10,000 times."""
    drawn = np.random.default_rng(0).choice(values, (10_000, len(values))).mean(1)
    low, high = np.percentile(drawn, (2.5, 97.5))
    return Estimate(float(np.mean(values)), float(low), float(high), len(values))


def share(values: Sequence[float], level: float) -> Estimate:
    """Return the share of ``values`` that reach ``level``, with its 95 % interval by Clopper and Pearson.

    Raises:
        ValueError: no values.
    """
    reached = sum(value >= level for value in values)
    interval = stats.binomtest(reached, len(values)).proportion_ci(0.95, "exact")
    return Estimate(reached / len(values), float(interval.low), float(interval.high), len(values))


def further_run(values: Sequence[float], value: float) -> tuple[float, float, float]:
    """Return the 95 % prediction interval for one more run after ``values``, and the density of ``value`` as that run.

    By Student's t distribution: mean +- t s sqrt(1 + 1/n). It assumes a bell curve, which collapses do not follow.
    """
    n, mean, scale = len(values), float(np.mean(values)), float(np.std(values, ddof=1))
    scale *= math.sqrt(1 + 1 / n)
    low, high = stats.t.interval(0.95, n - 1, loc=mean, scale=scale)
    return float(low), float(high), float(stats.t.pdf(value, n - 1, mean, scale))


@dataclasses.dataclass(frozen=True)
class Difference:
    """What ``b`` gains over ``a``: the difference of means with its 95 % interval, and a test of ranks.

    The test asks for ``above``, the share of pairs in which the run of ``b`` is above that of ``a``, ties counting half
    each, and not for the means: p is the probability of a share as far from 0.5 if all runs came from one distribution.
    """

    gain: Estimate
    above: float
    p: float


def compare(a: Sequence[float], b: Sequence[float]) -> Difference:
    """Compare runs of two networks by a two-sided Mann-Whitney test, which asks for no distribution.

    p is exact for up to eight runs of the smaller group without ties, else by the normal approximation.
    The interval is Welch's. Runs are not paired by their seeds; docs/evidence.md lists the verdicts that a paired
    t test changes.

    Raises:
        ValueError: ``a`` or ``b`` has fewer than two values.
    """
    if min(len(a), len(b)) < 2:
        raise ValueError(f"a and b must have at least 2 values, got {len(a)} and {len(b)}")
    gain = float(np.mean(b) - np.mean(a))
    low = high = gain
    if np.ptp(a) or np.ptp(b):
        with warnings.catch_warnings():  # runs that are all right to a digit have next to no variance
            warnings.simplefilter("ignore", RuntimeWarning)
            low, high = map(float, stats.ttest_ind(b, a, equal_var=False).confidence_interval(0.95))
    ranks = stats.mannwhitneyu(b, a)
    above = float(ranks.statistic) / (len(a) * len(b))
    return Difference(Estimate(gain, low, high, min(len(a), len(b))), above, float(ranks.pvalue))


def holm(p: Sequence[float]) -> list[float]:
    r"""Return p-values corrected for their number by Holm's method.

    .. math:: p'_{(k)} = \max_{j \le k} \min\left(1, (m - j + 1)\, p_{(j)}\right)

    where :math:`p_{(1)} \le \dots \le p_{(m)}`: the chance that any of m true "no difference" is called a difference
    then stays below the level at which the :math:`p'` are judged.
    """
    corrected, running = [0.0] * len(p), 0.0
    for rank, index in enumerate(sorted(range(len(p)), key=lambda index: p[index])):
        running = max(running, min(1.0, (len(p) - rank) * p[index]))
        corrected[index] = running
    return corrected
