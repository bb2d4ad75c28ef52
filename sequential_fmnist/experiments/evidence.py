"""What the runs of the studies say, in tables. Everything is read from their summaries in ``results/``."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from tabulate import tabulate

from sequential_fmnist.experiments.statistics import further_run

__all__ = [
    "case_table",
    "cases",
    "interval",
    "markdown",
    "reached_table",
    "repeated_table",
    "verdict_table",
]

#: A case of a group as the summary holds it: name, kind, at, values, accuracy and more.
CaseSummary = Mapping[str, Any]
Summary = Mapping[str, Any]


def markdown(head: Sequence[str], rows: Iterable[Sequence[str]], words: int = 1) -> str:
    """Return a table in Markdown, whose first columns hold words and whose others hold numbers."""
    align = ["left"] * words + ["right"] * (len(head) - words)
    return tabulate(list(rows), head, "pipe", colalign=align, disable_numparse=True) + "\n"


def cases(summary: Summary, group: str) -> list[CaseSummary]:
    """Return the cases of a group whose runs are made."""
    return list(summary["groups"].get(group, []))


def _pairs(summary: Summary, groups: Iterable[str]) -> Iterator[tuple[str, CaseSummary]]:
    """Yield the cases of groups, each with the name of its group."""
    for group in groups:
        yield from ((group, case) for case in cases(summary, group))


def interval(estimate: Mapping[str, Any], scale: float = 100, digits: int = 1) -> str:
    """Return a mean with its 95 % interval, as in "72.5 [72.2, 72.8]"; fewer than three runs get no interval."""
    mean = f"{scale * estimate['mean']:z,.{digits}f}"
    if estimate["n"] < 3:
        return mean
    return f"{mean} [{scale * estimate['low']:z,.{digits}f}, {scale * estimate['high']:z,.{digits}f}]"


def case_table(summary: Summary, *groups: str) -> str:
    """Return the cases of groups as a table: group, case, network, size, accuracy with its interval, spikes, seeds."""
    rows = []
    for group, case in _pairs(summary, groups):
        spikes = f"{case['spikes']['mean']:,.0f}" if case["spikes"] else ""
        seeds = f"{len(case['values'])}" + (f", {case['failed']} not finite" if case["failed"] else "")
        size, accuracy = f"{case['parameters']:,}", f"{interval(case['accuracy'])} %"
        rows.append([f"`{group}`", case["name"], case["kind"], size, accuracy, spikes, seeds])
    return markdown(
        ["group", "case", "network", "parameters", "test accuracy", "hidden spikes", "seeds"], rows, 3
    )


def reached_table(summary: Summary) -> str:
    """Return cases of recall or copying as a table: for each distance how many runs reach 95 %, and the accuracy."""
    rows: dict[tuple[str, str], list[str]] = {}
    for group, case in _pairs(summary, summary["groups"]):
        share = case["reached"]
        reached = f"{case['name']}, D = {case['at']}: {share['mean'] * share['n']:.0f} of {share['n']}"
        reached += f" ({100 * share['low']:.0f} to {100 * share['high']:.0f} %)"
        row = rows.setdefault((f"`{group}`", case["kind"]), [])
        row.append(f"{reached}, {100 * case['accuracy']['mean']:.1f} %")
    head = ["group", "network", "case: runs that reach 95 %, mean accuracy"]
    return markdown(head, [[*names, "<br>".join(row)] for names, row in rows.items()], 3)


def verdict_table(comparisons: Mapping[str, Mapping[str, Any]], is_planned: bool = True) -> str:
    """Return comparisons as a table; those that were not planned before their runs get no p value."""
    rows = []
    for question, each in comparisons.items():
        mean, low, high = (100 * each["gain"][name] for name in ("mean", "low", "high"))
        word = "undecided" if not each["decided"] else "a gain" if mean > 0 else "a loss"
        p = ["< 0.001" if each["p_holm"] < 0.001 else f"{each['p_holm']:.3f}"] * is_planned
        gain, above = f"{mean:+z.1f} [{low:+z.1f}, {high:+z.1f}]", f"{100 * each['above']:.0f} %"
        rows.append([question, gain, above, *p, word])
    return markdown(
        ["question", "gain in points", "pairs above", *["p, corrected"] * is_planned, "verdict"], rows
    )


def repeated_table(summary: Summary, published: Mapping[str, Any]) -> str:
    """Return the published runs repeated as a table, a row for each network and way to train it.

    "One more run" is the 95 % prediction interval, struck out if the published run lies outside. The ratio says by how
    much the published value is denser there than in the runs of the same network in float32. Accuracies of 90 epochs
    are those on training images, as published.

    Args:
        summary: ``results/repeated.json``.
        published: ``results/published.json``.
    """
    rows, densities = [], {}
    for group, case in _pairs(summary, summary["groups"]):
        recipe, _, changed = case["name"].rpartition(", ")
        epochs, _, cut = recipe.partition(", ")
        run, further, ratio = published["runs"][epochs], "", ""
        values = case["values" if run["images"] == 10_000 else "on_training"]
        if cut == "as published":
            value = run["right"][case["kind"]] / run["images"]
            low, high, density = further_run(values, value)
            further = f"{100 * low:.1f} to {min(100, 100 * high):.1f}"
            further = further if low <= value <= high else f"~~{further}~~"
            first = densities.setdefault((recipe, case["kind"]), density)  # the first row of each is float32
            ratio = f"{density / first:.2g}"
        mean = f"{100 * sum(values) / len(values):.1f} ({100 * min(values):.1f} to {100 * max(values):.1f})"
        skips = " to ".join(map(str, sorted({min(case["skipped"]), max(case["skipped"])})))
        lost = sorted(case["largest_fall"])
        fall = f"{100 * np.median(lost):.1f} ({100 * lost[0]:.1f} to {100 * lost[-1]:.1f})"
        fell = f"{sum(case['collapses'])}"
        names, seeds = (f"`{group}`", case["kind"], changed), str(len(values))
        rows.append([*names, seeds, mean, skips, fall, fell, further, ratio])
    head = ["group", "network", "run with", "seeds", "mean (range)", "skipped", "largest fall of a run"]
    return markdown([*head, "collapses", "one more run", "ratio"], rows, 3)
