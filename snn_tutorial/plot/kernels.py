"""What a fused scan gains: tables, and what a training step takes, here and in other libraries."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.figure import Figure
from tabulate import tabulate

from snn_tutorial.plot.style import BROWN, GREY, NO_GRID, OKABE_ITO, RC, STYLE, WIDTH, legend_above, stacked

#: Ways to take a network through a training step; hatches tell neighbours apart in black and white.
STEPS: dict[str, dict[str, str]] = {
    "loop": {"color": "#777777", "hatch": ""},
    "layer by layer": {"color": OKABE_ITO["orange"], "hatch": "//"},
    "one scan": {"color": OKABE_ITO["sky blue"], "hatch": ""},
    "train_steps": {"color": "#DDDDDD", "hatch": ".."},
}


def table(header: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """Return a table as Markdown: whole numbers with commas, others with two digits, text as it is.

    The first column is aligned to the left, the others to the right.
    """
    align = ["left"] + ["right"] * (len(header) - 1)
    cells = [[_cell(value) for value in row] for row in rows]
    return tabulate(cells, header, "pipe", colalign=align, disable_numparse=True) + "\n"


def _cell(value: object) -> str:
    if isinstance(value, str):
        return value
    return f"{value:,}" if isinstance(value, int) else f"{value:,.2f}"


@plt.rc_context(NO_GRID)
def trips(milliseconds: Mapping[str, Mapping[str, float]]) -> Figure:
    """Draw what a training step takes in each way, a group of bars for each network.

    Args:
        milliseconds: name of a network to the time of each of :data:`STEPS`.
    """
    figure, axes = plt.subplots(figsize=(WIDTH, 1.3 * len(milliseconds) + 1.4))
    height = 0.8 / len(STEPS)
    for k, (name, style) in enumerate(STEPS.items()):
        places = np.arange(len(milliseconds)) + height * (k - (len(STEPS) - 1) / 2)
        times = [ways[name] for ways in milliseconds.values()]
        drawn = axes.barh(places, times, height, edgecolor="black", linewidth=0.5, label=name, **style)
        axes.bar_label(drawn, fmt="%.2g", padding=3)
    axes.set_yticks(range(len(milliseconds)), [name.replace("-", "\n") for name in milliseconds])
    axes.set_ylim(len(milliseconds) - 0.5, -0.5)  # the first on top
    axes.margins(x=0.12)  # room for the label of the longest
    axes.set_xlabel("a training step (ms)")
    legend_above(figure, columns=2)
    return figure


@plt.rc_context(RC)
def libraries(steps: Sequence[Mapping[str, Any]], labels: Mapping[str, str]) -> Figure:
    """Draw what a training step takes in each library, a panel for each network.

    Args:
        steps: entries of ``networks`` in ``results/benchmarks.json``, of one size.
        labels: names of the libraries.
    """
    figure, all_axes = stacked(len(steps), 0.9 + (0.5 + 0.22 * len(labels)) * len(steps))
    for axes, entry in zip(all_axes, steps, strict=True):
        found = {labels[name]: each["ms"] for name, each in entry["libraries"].items()}
        axes.barh(list(found), [ms["median"] for ms in found.values()], color=OKABE_ITO["sky blue"])
        axes.bar_label(axes.containers[0], fmt="%.2g", padding=3)
        axes.invert_yaxis()
        axes.set_title(entry["model"], color=STYLE[entry["model"]]["color"], weight="bold")
        axes.grid(visible=False, axis="y")
    all_axes[-1].margins(x=0.1)
    all_axes[-1].set_xlabel("a training step (ms)")
    return figure


@plt.rc_context(RC)
def growth(
    layers: Sequence[Mapping[str, Any]], steps: Sequence[Mapping[str, Any]], labels: Mapping[str, str]
) -> Figure:
    """Draw how times grow, on logarithmic axes: of a large layer with its neurons, of a training step with the batch.

    Args:
        layers: entries of ``layers`` in ``results/benchmarks.json``, one for each number of neurons ``H``.
        steps: entries of ``networks``, one for each ``batch``.
        labels: names of the libraries.
    """
    figure, panels = plt.subplots(2, 1, figsize=(WIDTH, 6.4))
    inks = [
        OKABE_ITO[name] for name in ("vermilion", "orange", "black", "purple", "sky blue", "green", "blue")
    ]
    colors = dict(zip(labels, [*inks, BROWN, GREY], strict=False))
    for axes, entries, x in zip(panels, (layers, steps), ("H", "batch"), strict=True):
        for name, label in labels.items():
            points = [(e[x], e["libraries"][name]["ms"]["median"]) for e in entries if name in e["libraries"]]
            if points:
                is_bound = name == "products"
                style = {"color": GREY, "ls": "--"} if is_bound else {"color": colors[name], "marker": "."}
                axes.loglog(*zip(*points, strict=True), label=label, **style)
        axes.set_xticks([e[x] for e in entries], [f"{e[x]:,}" for e in entries], minor=False)
        axes.minorticks_off()
        axes.set_ylabel("milliseconds")
    panels[0].set_xlabel("neurons of a linear layer and its LIF neurons")
    panels[1].set_xlabel("batch of the feedback network")
    legend_above(figure, columns=3)
    return figure
