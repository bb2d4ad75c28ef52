"""What the runs of the studies say, in tables. Everything is read from their summaries in ``results/``."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from tabulate import tabulate

from sequential_fmnist.experiments.statistics import further_run

__all__ = [
    "answers",
    "best_table",
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


def interval(estimate: Mapping[str, Any], scale: float = 100, digits: int = 1) -> str:
    """Return a mean with its 95 % interval, as in "72.5 [72.2, 72.8]"; fewer than three runs get no interval."""
    mean = f"{scale * estimate['mean']:z,.{digits}f}"
    if estimate["n"] < 3:
        return mean
    return f"{mean} [{scale * estimate['low']:z,.{digits}f}, {scale * estimate['high']:z,.{digits}f}]"


def case_table(group: Iterable[CaseSummary]) -> str:
    """Return cases as a table: name, network, parameters, accuracy with its interval, spikes, seeds."""
    rows = []
    for case in group:
        spikes = f"{case['spikes']['mean']:,.0f}" if case["spikes"] else ""
        seeds = f"{len(case['values'])}" + (f", {case['failed']} not finite" if case["failed"] else "")
        accuracy = f"{interval(case['accuracy'])} %"
        rows.append([case["name"], case["kind"], f"{case['parameters']:,}", accuracy, spikes, seeds])
    return markdown(["case", "network", "parameters", "test accuracy", "hidden spikes", "seeds"], rows, 2)


def reached_table(group: Iterable[CaseSummary]) -> str:
    """Return cases of recall or copying as a table: network, case, D, accuracy, and how many runs reach 95 %."""
    rows = []
    for case in group:
        share = case["reached"]
        reached = f"{share['mean'] * share['n']:.0f} of {share['n']}"
        ends = f"{100 * share['low']:.0f} to {100 * share['high']:.0f} %"
        mean = f"{100 * case['accuracy']['mean']:.1f} %"
        rows.append([case["kind"], case["name"], f"{case['at']}", mean, f"{reached} ({ends})"])
    return markdown(["network", "case", "D", "accuracy", "reach 95 %"], rows, 2)


def answers(summary: Summary, *words: str) -> dict[str, Mapping[str, Any]]:
    """Return the comparisons whose question contains all of ``words``."""
    return {
        question: answer
        for question, answer in summary["comparisons"].items()
        if all(word in question for word in words)
    }


def verdict_table(comparisons: Mapping[str, Mapping[str, Any]]) -> str:
    """Return comparisons as a table."""
    rows = []
    for question, each in comparisons.items():
        mean, low, high = (100 * each["gain"][name] for name in ("mean", "low", "high"))
        word = "undecided" if not each["decided"] else "a gain" if mean > 0 else "a loss"
        p = "< 0.001" if each["p_holm"] < 0.001 else f"{each['p_holm']:.3f}"
        rows.append([question, f"{mean:+z.1f} [{low:+z.1f}, {high:+z.1f}]", p, word])
    return markdown(["question", "gain in points", "p, corrected", "verdict"], rows)


def repeated_table(summary: Summary, published: Mapping[str, Any]) -> str:
    """Return the published runs repeated as a table, a row for each way to compute a recipe.

    The last column is the 95 % prediction interval for one more run, struck out if the published run lies outside.
    Accuracies of 90 epochs are those on training images, as published.

    Args:
        summary: ``results/repeated.json``.
        published: ``results/published.json``.
    """
    rows = []
    for case in (case for group in summary["groups"] for case in cases(summary, group) if "skipped" in case):
        recipe, _, changed = case["name"].rpartition(", ")
        epochs, _, cut = recipe.partition(", ")
        run, was, further = published["runs"][epochs], "", ""
        values = case["values" if run["images"] == 10_000 else "on_training"]
        if cut == "as published" and changed.startswith(("float", "rule")):  # others are recipes of our own
            value = run["right"][case["kind"]] / run["images"]
            was = f"{100 * value:.1f}"
            if len(values) > 2:
                low, high, _ = further_run(values, value)
                further = f"{100 * low:.1f} to {min(100, 100 * high):.1f}"
                further = further if low <= value <= high else f"~~{further}~~"
        mean = f"{100 * sum(values) / len(values):.1f} ({100 * min(values):.1f} to {100 * max(values):.1f})"
        skips = " to ".join(map(str, sorted({min(case["skipped"]), max(case["skipped"])})))
        fall, fell = f"{100 * max(case['largest_fall']):.0f}", f"{sum(case['collapses'])}"
        rows.append([case["kind"], recipe, changed, str(len(values)), mean, skips, fall, fell, was, further])
    head = ("network", "recipe", "run with", "seeds", "mean (range)", "skipped", "largest fall", "collapses")
    return markdown([*head, "published", "one more run"], rows, 3)


def best_table(summary: Summary) -> str:
    """Return the best recipe of each network, and the networks to compare with, as a table."""
    return case_table(case for group in ("best", "refined", "gated") for case in cases(summary, group))
