"""What the runs of the ablation say, in words: verdicts with intervals, tables.

Everything is read from the summary in ``results/ablation.json``; nothing is computed from runs here.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from sequential_fmnist.networks import NETWORKS
from snn_core.checks import check_number

__all__ = [
    "Verdict",
    "best_table",
    "cases",
    "holm",
    "interval",
    "reach",
    "reproduced_table",
    "table",
    "verdicts",
]

#: A case of a group as the summary holds it: name, kind, at, values, accuracy and more.
CaseSummary = Mapping[str, Any]
Summary = Mapping[str, Any]

#: A question counts as decided below this probability.
LEVEL = 0.05


@dataclasses.dataclass(frozen=True)
class Verdict:
    """Answer to one question of the form "does b do better than a?".

    Args:
        question: what is compared.
        gain: mean difference over the seeds in points, with the ends of its 95 % interval: mean, low, high.
        seeds: number of pairs of runs.
        p: p-value of the paired t-test, corrected for the number of questions by :func:`holm`.
        p_wilcoxon: p-value of Wilcoxon's signed-rank test, which assumes no bell curve. It is not corrected: with ten
            seeds it cannot fall below 2/1024.
    """

    question: str
    gain: tuple[float, float, float]
    seeds: int
    p: float
    p_wilcoxon: float

    @property
    def decided(self) -> bool:
        """Whether both tests find a difference."""
        return self.p < LEVEL and self.p_wilcoxon < LEVEL

    def __str__(self) -> str:
        mean, low, high = self.gain
        word = "undecided" if not self.decided else "a gain" if mean > 0 else "a loss"
        numbers = f"{mean:+z.1f} points [{low:+z.1f}, {high:+z.1f}]"
        p = f"p {_at(self.p)}"
        if (self.p < LEVEL) != (self.p_wilcoxon < LEVEL):
            p += f" (by Wilcoxon's test {_at(self.p_wilcoxon)})"
        return f"{self.question}: {numbers}, {self.seeds} seeds, {p}: {word}"


def _at(p: float) -> str:
    return "< 0.001" if p < 0.001 else f"= {p:.3f}"


def holm(p: Sequence[float]) -> list[float]:
    r"""Return p-values corrected for their number by Holm's method.

    .. math:: p'_{(k)} = \max_{j \le k} \min\left(1, (m - j + 1)\, p_{(j)}\right)

    where :math:`p_{(1)} \le \dots \le p_{(m)}`: the chance that any of m true "no difference" is called a difference
    then stays below the level at which the :math:`p'` are judged.

    Raises:
        TypeError: ``p`` is not a list of numbers.
        ValueError: one of them does not lie between 0 and 1.
    """
    for each in p:
        if not 0 <= check_number("p", each) <= 1:
            raise ValueError(f"p must lie between 0 and 1, got {each}")
    corrected, running = [0.0] * len(p), 0.0
    for rank, index in enumerate(sorted(range(len(p)), key=lambda index: p[index])):
        running = max(running, min(1.0, (len(p) - rank) * p[index]))
        corrected[index] = running
    return corrected


def verdicts(summary: Summary) -> dict[str, Verdict]:
    """Return the answers to all questions with a yes or no, in the summary's order."""
    found = summary["comparisons"]
    corrected = holm([each["p_t"] for each in found.values()])
    answers = {}
    for (question, each), p in zip(found.items(), corrected, strict=True):
        gain = tuple(100 * each["gain"][name] for name in ("mean", "low", "high"))
        answers[question] = Verdict(question, gain, each["gain"]["n"], p, each["p_wilcoxon"])
    return answers


def cases(summary: Summary, group: str) -> list[CaseSummary]:
    """Return the cases of a group; an empty list where its runs are not all made."""
    return list(summary["groups"].get(group, []))


def interval(estimate: Mapping[str, Any], scale: float = 100, digits: int = 1) -> str:
    """Return a mean with its 95 % interval, as in "72.5 [72.2, 72.8]".

    Fewer than three runs get none: the interval of two is 13 times as wide as their distance.

    Args:
        estimate: ``mean``, ``low``, ``high`` and the number of runs ``n``.
        scale: factor on all three; 100 turns fractions into per cent.
        digits: digits behind the point.
    """
    mean = f"{scale * estimate['mean']:,.{digits}f}"
    if estimate["n"] < 3:
        return mean
    return f"{mean} [{scale * estimate['low']:,.{digits}f}, {scale * estimate['high']:,.{digits}f}]"


def table(group: Iterable[CaseSummary]) -> str:
    """Return a line for each case: name, network, accuracy in per cent with its interval, seeds, failures."""
    lines = []
    for case in group:
        failed = f", {case['failed']} without a finite loss" if case["failed"] else ""
        seeds = f"{len(case['values'])} seed{'s' if len(case['values']) > 1 else ''}"
        lines.append(
            f"{case['name']:34} {case['kind']:17} {interval(case['accuracy']):>19} %  ({seeds}{failed})"
        )
    return "\n".join(lines) or "not run yet: `python -m experiments` does"


def reach(group: Sequence[CaseSummary], points: float = 5.0) -> dict[str, int]:
    """Return how far each network's curve stays close to its start.

    Args:
        group: cases with ``at``, as of the group delay.
        points: how far the mean accuracy may fall below that of the smallest ``at``, in points.

    Returns:
        network to the largest ``at`` up to which it does not fall further.

    Raises:
        TypeError, ValueError: ``points`` is not a finite number.
    """
    check_number("points", points)
    found: dict[str, int] = {}
    for kind in dict.fromkeys(case["kind"] for case in group):
        mine = sorted((case for case in group if case["kind"] == kind), key=lambda case: case["at"])
        lowest = mine[0]["accuracy"]["mean"] - points / 100
        far = next((n for n, case in enumerate(mine) if case["accuracy"]["mean"] < lowest), len(mine))
        found[kind] = mine[far - 1]["at"]
    return found


def reproduced_table(summary: Summary, published: Mapping[str, Any]) -> str:
    """Return the table of the text's recipe in Markdown: published and found accuracies of each network.

    Args:
        summary: ``results/ablation.json``.
        published: ``results/published.json``.
    """
    rows = [
        "| network | parameters | 64 epochs, published | found | 90 epochs, published (1) | found |",
        "|---|---:|---:|---:|---:|---:|",
    ]
    runs = {(case["kind"], case["name"]): case for case in cases(summary, "reproduction")}
    for kind in NETWORKS:
        cells = [kind, "", "", "", "", ""]
        for at, name in ((2, "64 epochs"), (4, "90 epochs")):
            run, found = published["runs"][name], runs.get((kind, name))
            cells[at] = f"{100 * run['right'][kind] / run['images']:.1f} %"
            cells[at + 1] = _cell(found)
            cells[1] = f"{found['parameters']:,}" if found else cells[1]
        rows.append(f"| {' | '.join(cells)} |")
    return "\n".join(rows) + "\n"


def best_table(summary: Summary) -> str:
    """Return the table of the best recipes in Markdown, and of the controls beside them.

    Args:
        summary: ``results/ablation.json``.
    """
    rows = [
        "| network | recipe | parameters | test accuracy | spikes per image (2) |",
        "|---|---|---:|---:|---:|",
    ]
    for group in ("best", "refined", "gated"):
        for case in cases(summary, group):
            spikes = interval(case["spikes"], scale=1, digits=0) if case["spikes"] else "none: not spiking"
            cells = [case["kind"], case["name"], f"{case['parameters']:,}", _cell(case), spikes]
            rows.append(f"| {' | '.join(cells)} |")
    return "\n".join(rows) + "\n"


def _cell(case: CaseSummary | None) -> str:
    return f"{interval(case['accuracy'])} %" if case else ""
