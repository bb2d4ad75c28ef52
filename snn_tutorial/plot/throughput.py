"""Training speed of this collection and of other libraries."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from snn_tutorial.plot.style import RC


@plt.rc_context(RC | {"axes.grid": False, "font.size": 10})
def throughput(results: Mapping[str, Any]) -> Figure:
    """Draw the time of a training step for every library and network at the base size, our own in colour.

    Args:
        results: what ``make bench`` writes to results/benchmarks.json. Its first network has the base size.
    """
    size = results["networks"][0]
    panels = [entry for entry in results["networks"] if _size(entry) == _size(size)]
    labels = {name: library["label"] for name, library in results["libraries"].items()}
    figure, all_axes = plt.subplots(
        1, len(panels), figsize=(10, 0.34 * len(labels) + 1.3), sharex=True, sharey=True
    )
    for axes, panel in zip(np.atleast_1d(all_axes), panels, strict=True):
        _draw_bars(axes, panel["libraries"], labels)
        axes.set_title(panel["model"], fontsize=11)
        axes.set_xlabel("training step (ms)")
    shortest, longest = (
        pick(library["ms"]["median"] for panel in panels for library in panel["libraries"].values())
        for pick in (min, max)
    )
    axes.set_xlim(shortest / 2, longest * 15)  # room for the text of the longest bar
    figure.suptitle(
        f"batch {size['batch']}, {size['T']} time steps, {size['hidden']} hidden neurons; "
        f"{results['provenance']['processor']}, {results['provenance']['cores']} cores; x: times ours",
        fontsize=10,
    )
    return figure


def _size(entry: Mapping[str, Any]) -> tuple[int, ...]:
    return tuple(entry[name] for name in ("batch", "T", "hidden", "busy"))


def _short(value: float) -> str:
    """Return a number with two digits, or without a fraction."""
    return f"{value:.0f}" if value >= 100 else f"{value:.2g}"


def _draw_bars(axes: Axes, times: Mapping[str, Mapping[str, Any]], labels: Mapping[str, str]) -> None:
    """Draw a bar from each library's time, with its quartiles and its ratio to the first one."""
    medians = [times[name]["ms"]["median"] for name in labels]
    spread = [[times[n]["ms"][q] for n in labels] for q in ("q1", "q3")]
    colours = {"snn_core": "#0072B2", "snn_core-train-steps": "#56B4E9", "snn_core-torch": "#56B4E9"}
    rows = np.arange(len(labels))
    axes.barh(
        rows,
        medians,
        color=[colours.get(name, "#BBBBBB") for name in labels],
        xerr=np.abs(np.array(spread) - medians),
        error_kw={"elinewidth": 1, "ecolor": "#000000"},
    )
    for row, name in enumerate(labels):
        ms, ratio = times[name]["ms"], times[name]["ratio"]
        text = f" {_short(ms['median'])} ms" + (f", {_short(ratio)}x" if row else "")
        axes.text(ms["q3"], row, text, va="center", fontsize=8)
    axes.set_xscale("log")
    axes.xaxis.set_major_formatter(lambda value, _: f"{value:g}")
    axes.set_yticks(rows, labels.values())
    axes.set_ylim(len(rows) - 0.4, -0.6)  # the first on top
