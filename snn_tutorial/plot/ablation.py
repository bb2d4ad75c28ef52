"""What the runs of the ablation say: every seed as a point, means with 95 % intervals, curves, differences."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from experiments.evidence import CaseSummary, Verdict
from snn_tutorial.plot.style import OKABE_ITO, RC, STYLE

#: A marker tells the networks apart in black and white.
MARKERS: dict[str, str] = {"plain": "o", "stateful-synapse": "s", "feedback": "^", "gru": "D", "lstm": "v"}

#: What the number ``at`` of a case means, for the groups that are curves.
AXES: dict[str, str] = {
    "last_steps": "time steps that the read-out takes",
    "delay": "blank columns after the image (time steps)",
    "hidden": "hidden neurons",
}

#: Groups that were measured on images set aside from the training set.
ON_VALIDATION = ("search", "finalists", "refinement")

_ACCURACY = "test accuracy (%)"
_VALIDATION = "validation accuracy (%)"
#: Accuracies that lie further below the median, in points, are drawn at the edge of a strip.
FAR = 12.0

Name = Callable[[CaseSummary], str]


def _kind(case: CaseSummary) -> str:
    return case["kind"]


def _case(case: CaseSummary) -> str:
    return case["name"]


def _unique(values: Iterable[str]) -> list[str]:
    return list(dict.fromkeys(values))


@plt.rc_context(RC)
def nothing() -> Figure:
    """Return a figure that says that there are no runs to show."""
    figure = plt.figure(figsize=(7.5, 1.2))
    figure.text(0.5, 0.5, "no runs to show", ha="center", va="center")
    return figure


@plt.rc_context(RC | {"font.size": 10})
def strips(
    cases: Sequence[CaseSummary],
    panel: Name = _kind,
    row: Name = _case,
    published: Mapping[tuple[str, str], float] | None = None,
    label: str = _ACCURACY,
) -> Figure:
    """Draw every run as a point, and of cases with three runs or more the mean with its 95 % interval.

    Runs far below the others stand at the left edge with their accuracy written beside them.

    Args:
        cases: cases of the summary; without any the figure says that there are none.
        panel: names the panel of a case; panels stand side by side.
        row: names its row.
        published: accuracy as a fraction for a panel and a row, drawn as a diamond.
        label: label of the x axis.
    """
    if not cases:
        return nothing()
    in_order = sorted(cases, key=lambda case: list(STYLE).index(case["kind"]))
    panels, rows = _unique(map(panel, in_order)), _unique(map(row, cases))
    values = 100 * np.concatenate([case["values"] for case in cases])
    marks = [100 * value for value in (published or {}).values()]
    low = min([max(values.min(), np.median(values) - FAR), *marks])
    high = max([values.max(), *marks])
    margin = 0.06 * (high - low) + 0.2
    height = 0.34 if max(len(case["values"]) for case in cases) > 1 else 0.24
    figure, all_axes = plt.subplots(
        1, len(panels), figsize=(9, 1.35 + height * len(rows)), sharex=True, sharey=True, squeeze=False
    )
    for axes, name in zip(all_axes[0], panels, strict=True):
        axes.set_title(name, fontsize=11)
        axes.set_xlim(low - margin, high + margin)
        for case in (case for case in cases if panel(case) == name):
            _strip(axes, rows.index(row(case)), case, low - margin)
        for (where, line), value in (published or {}).items():
            if where == name:
                axes.plot(100 * value, rows.index(line), **_PUBLISHED)
        axes.xaxis.set_major_locator(MaxNLocator(4, steps=[1, 2, 5, 10]))
        axes.set_xlabel(label)
    several = any(len(case["values"]) >= 3 for case in cases)
    shown = {"one run": True, "mean": several, "published": bool(published)}
    handles = [_KEY[name] for name, there in shown.items() if there]
    figure.legend(handles=handles, loc="outside lower center", ncols=3, fontsize=9)
    all_axes[0, 0].set_yticks(range(len(rows)), rows)
    all_axes[0, 0].set_ylim(len(rows) - 0.4, -0.6)
    return figure


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


def _strip(axes: Axes, y: int, case: CaseSummary, edge: float) -> None:
    """Draw one case at height ``y``: its runs, and of three or more their mean and its interval."""
    colour, marker = STYLE[case["kind"]]["color"], MARKERS[case["kind"]]
    values = 100 * np.asarray(case["values"])
    inside = values[values > edge]
    # Points of a case with a mean make room for it; a few points need no mean, and stand out instead.
    below, alpha, size = (0.16, 0.35, 4) if len(values) >= 3 else (0.0, 0.8, 6)
    axes.plot(inside, np.full(len(inside), y + below), marker, color=colour, alpha=alpha, ms=size, mew=0)
    outside = np.sort(values[values <= edge])
    if len(outside):
        text = "◁ " + ", ".join(f"{value:.0f}" for value in outside)
        axes.text(edge, y + below, text, fontsize=8, va="center", color=colour)
    if len(values) >= 3:
        mean, low, high = (100 * case["accuracy"][name] for name in ("mean", "low", "high"))
        axes.plot([low, high], [y - 0.12] * 2, color=colour, linewidth=2)
        axes.plot(mean, y - 0.12, marker, color=colour, markersize=6)


@plt.rc_context(RC)
def curves(cases: Sequence[CaseSummary], xlabel: str, log: bool = False) -> Figure:
    """Draw mean accuracy with its 95 % interval against the cases' number ``at``, a curve for each network.

    Args:
        cases: cases with ``at``; without any the figure says that there are none.
        xlabel: what ``at`` means, with its unit.
        log: whether the x axis is logarithmic.
    """
    if not cases:
        return nothing()
    figure, axes = plt.subplots(figsize=(7.5, 3.8))
    for kind in _unique(map(_kind, cases)):
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
    if min(axes.get_ylim()) < 30:
        axes.axhline(10, color="#666666", linewidth=1)
        axes.text(axes.get_xlim()[1], 10.8, "chance", ha="right", fontsize=9, color="#666666")
    if log:
        axes.set_xscale("log", base=2)
    places = sorted({case["at"] for case in cases})
    axes.set_xticks(places, map(str, places))
    axes.set_xlabel(xlabel)
    axes.set_ylabel(_ACCURACY)
    axes.legend(loc="lower left", bbox_to_anchor=(0, 1), ncols=3, borderaxespad=0.2)
    return figure


@plt.rc_context(RC | {"font.size": 10})
def histories(cases: Sequence[CaseSummary]) -> Figure:
    """Draw the test accuracy of every seed against the epoch, a panel for each network.

    Args:
        cases: one case for each network, with ``curves``; without any the figure says that there are none.
    """
    if not cases:
        return nothing()
    figure, all_axes = plt.subplots(1, len(cases), figsize=(9, 2.9), sharex=True, sharey=True, squeeze=False)
    for axes, case in zip(all_axes[0], cases, strict=True):
        for curve in filter(None, case["curves"]):
            colour = STYLE[case["kind"]]["color"]
            axes.plot(np.arange(1, len(curve) + 1), 100 * np.asarray(curve), color=colour, lw=1, alpha=0.6)
        axes.set_title(f"{case['kind']}, {len(case['values'])} seeds", fontsize=11)
        axes.set_xlabel("epoch")
    all_axes[0, 0].set_ylabel(_ACCURACY)
    return figure


@plt.rc_context(RC | {"font.size": 10, "axes.grid.axis": "x"})
def differences(verdicts: Sequence[Verdict]) -> Figure:
    """Draw the gain of each comparison with its 95 % interval; hollow where nothing was decided.

    Args:
        verdicts: answers, drawn from top to bottom; without any the figure says that there are none.
    """
    if not verdicts:
        return nothing()
    figure, axes = plt.subplots(figsize=(9, 1.0 + 0.3 * len(verdicts)))
    axes.axvline(0, color="black", linewidth=1)
    for y, verdict in enumerate(verdicts):
        mean, low, high = verdict.gain
        colour = OKABE_ITO["blue"] if verdict.decided else "#666666"
        face = colour if verdict.decided else "white"
        axes.plot([low, high], [y, y], color=colour, linewidth=2)
        axes.plot(mean, y, "o", color=colour, markerfacecolor=face, markersize=7)
    axes.set_yticks(range(len(verdicts)), [verdict.question for verdict in verdicts])
    axes.set_ylim(len(verdicts) - 0.4, -0.6)
    axes.set_xlabel("gain in test accuracy (points)")
    return figure


@plt.rc_context(RC)
def costs(cases: Sequence[CaseSummary]) -> Figure:
    """Draw the mean accuracy of cases against the hidden layer's spikes for an image, with their parameters.

    Args:
        cases: cases with ``spikes``; others are left out.
    """
    spiking = [case for case in cases if case["spikes"]]
    if not spiking:
        return nothing()
    figure, axes = plt.subplots(figsize=(7.5, 3.6))
    for kind in _unique(map(_kind, spiking)):
        mine = [case for case in spiking if case["kind"] == kind]
        x = [case["spikes"]["mean"] for case in mine]
        y = [100 * case["accuracy"]["mean"] for case in mine]
        axes.plot(x, y, MARKERS[kind], color=STYLE[kind]["color"], label=kind, markersize=7)
        for case, here, there in zip(mine, x, y, strict=True):
            size = f"{case['parameters']:,} parameters"
            axes.annotate(size, (here, there), xytext=(7, 4), textcoords="offset points", fontsize=9)
    axes.margins(x=0.15, y=0.12)
    axes.set_xlabel("spikes of the hidden layer for an image")
    axes.set_ylabel(_ACCURACY)
    axes.legend(loc="lower left", bbox_to_anchor=(0, 1), ncols=3, borderaxespad=0.2)
    return figure


def draw_group(name: str, cases: Sequence[CaseSummary]) -> Figure:
    """Draw a group in the form that suits it: a curve where its cases are numbers, else a strip for each case.

    Args:
        name: name of the group; those of :data:`ON_VALIDATION` were measured on validation images.
        cases: its cases, or some of them; without any the figure says that there are none.
    """
    if name in AXES:
        return curves(cases, AXES[name], log=name == "hidden")
    return strips(cases, label=_VALIDATION if name in ON_VALIDATION else _ACCURACY)
