"""What the runs of the ablation say: every seed as a point, means with 95 % intervals, curves."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from experiments.evidence import CaseSummary
from snn_tutorial.plot.style import RC, STYLE, WIDTH, stacked

__all__ = ["AXES", "curves", "histories", "strips"]

#: A marker tells the networks apart in black and white.
MARKERS: dict[str, str] = {"plain": "o", "stateful-synapse": "s", "feedback": "^", "gru": "D", "lstm": "v"}

#: What the number ``at`` of a case means, for the groups that are curves.
AXES: dict[str, str] = {
    "last_steps": "time steps that the read-out takes",
    "delay": "blank columns after the image (time steps)",
    "hidden": "hidden neurons",
}

_ACCURACY = "test accuracy (%)"
#: Accuracies that lie further below the median, in points, are drawn at the edge of a strip.
FAR = 12.0

_PUBLISHED: dict[str, Any] = {
    "marker": "D",
    "markersize": 7,
    "markerfacecolor": "white",
    "markeredgecolor": "black",
    "linestyle": "none",
    "zorder": 4,
}
_GREY: dict[str, Any] = {"color": "#666666", "marker": "o"}
_KEY = {
    "one run": Line2D([], [], **_GREY, alpha=0.5, markersize=4, mew=0, linestyle="none", label="one run"),
    "mean": Line2D([], [], **_GREY, linewidth=2, label="mean, 95 % interval"),
    "published": Line2D([], [], label="published, one run", **_PUBLISHED),
}


@plt.rc_context(RC)
def strips(
    cases: Sequence[CaseSummary],
    row: Callable[[CaseSummary], str],
    published: Mapping[tuple[str, str], float] | None = None,
) -> Figure:
    """Draw every run as a point, and the mean of each case with its 95 % interval; a panel for each network.

    Runs far below the others stand at the left edge with their accuracy written beside them.

    Args:
        cases: cases of the summary.
        row: names the row of a case.
        published: accuracy as a fraction for a network and a row, drawn as a diamond.
    """
    panels = {kind: [case for case in cases if case["kind"] == kind] for kind in STYLE}
    panels = {kind: group for kind, group in panels.items() if group}
    values = 100 * np.concatenate([case["values"] for case in cases])
    marks = [100 * value for value in (published or {}).values()]
    low, high = min([max(values.min(), np.median(values) - FAR), *marks]), max([values.max(), *marks])
    margin = 0.06 * (high - low) + 0.2
    heights = [len(group) for group in panels.values()]
    height = 1.2 + 0.42 * sum(heights) + 0.3 * len(panels)
    figure, all_axes = stacked(len(panels), height, height_ratios=heights)
    for axes, (kind, group) in zip(all_axes, panels.items(), strict=True):
        axes.set_title(kind, color=STYLE[kind]["color"], weight="bold")
        axes.set_xlim(low - margin, high + margin)
        axes.set_yticks(range(len(group)), [row(case) for case in group])
        axes.set_ylim(len(group) - 0.4, -0.6)
        for y, case in enumerate(group):
            _strip(axes, y, case, low - margin)
            if (value := (published or {}).get((kind, row(case)))) is not None:
                axes.plot(100 * value, y, **_PUBLISHED)
        axes.xaxis.set_major_locator(MaxNLocator(6, steps=[1, 2, 5, 10]))
    all_axes[-1].set_xlabel(_ACCURACY)
    names = ["one run", "mean", *(["published"] if published else [])]
    figure.legend(handles=[_KEY[name] for name in names], loc="outside upper center", ncols=3)
    return figure


def _strip(axes: Axes, y: int, case: CaseSummary, edge: float) -> None:
    """Draw one case at height ``y``: its runs, their mean and its interval."""
    colour, marker = STYLE[case["kind"]]["color"], MARKERS[case["kind"]]
    values = 100 * np.asarray(case["values"])
    inside, outside = values[values > edge], np.sort(values[values <= edge])
    axes.plot(inside, np.full(len(inside), y + 0.16), marker, color=colour, alpha=0.35, ms=4, mew=0)
    if len(outside):
        text = "◁ " + ", ".join(f"{value:.0f}" for value in outside)
        axes.text(edge, y + 0.16, text, va="center", color=colour)
    mean, low, high = (100 * case["accuracy"][name] for name in ("mean", "low", "high"))
    axes.plot([low, high], [y - 0.12] * 2, color=colour, linewidth=2)
    axes.plot(mean, y - 0.12, marker, color=colour, markersize=6)


@plt.rc_context(RC)
def curves(cases: Sequence[CaseSummary], xlabel: str, log: bool = False) -> Figure:
    """Draw mean accuracy with its 95 % interval against the cases' number ``at``, a curve for each network.

    Args:
        cases: cases with ``at``.
        xlabel: what ``at`` means, with its unit.
        log: whether the x axis is logarithmic.
    """
    figure, axes = plt.subplots(figsize=(WIDTH, 3.8))
    for kind in dict.fromkeys(case["kind"] for case in cases):
        mine = sorted((case for case in cases if case["kind"] == kind), key=lambda case: case["at"])
        x = np.array([case["at"] for case in mine])
        mean, low, high = (
            100 * np.array([case["accuracy"][name] for case in mine]) for name in ("mean", "low", "high")
        )
        look, marker = STYLE[kind], MARKERS[kind]
        axes.errorbar(
            x, mean, [mean - low, high - mean], capsize=3, linewidth=2, marker=marker, label=kind, **look
        )
        for at, case in zip(x, mine, strict=True):
            points = 100 * np.asarray(case["values"])
            axes.plot(np.full(len(points), at), points, marker, color=look["color"], alpha=0.3, ms=3)
    if log:
        axes.set_xscale("log", base=2)
    places = sorted({case["at"] for case in cases})
    axes.set_xticks(places, map(str, places))
    axes.set_xlabel(xlabel)
    axes.set_ylabel(_ACCURACY)
    axes.legend(loc="lower left", bbox_to_anchor=(0, 1), ncols=3, borderaxespad=0.2)
    return figure


@plt.rc_context(RC)
def histories(cases: Sequence[CaseSummary]) -> Figure:
    """Draw the test accuracy of every seed against the epoch, a panel for each network.

    Args:
        cases: one case for each network, with ``curves``.
    """
    figure, all_axes = stacked(len(cases), 5.4, sharey=True)
    for axes, case in zip(all_axes, cases, strict=True):
        colour = STYLE[case["kind"]]["color"]
        for curve in case["curves"]:
            axes.plot(np.arange(1, len(curve) + 1), 100 * np.asarray(curve), color=colour, lw=1, alpha=0.6)
        axes.set_title(f"{case['kind']}, {len(case['values'])} seeds", color=colour)
    all_axes[-1].set_xlabel("epoch")
    figure.supylabel(_ACCURACY)
    return figure
