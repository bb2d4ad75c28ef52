"""What networks from a fair start hold, and what the start decides: the figures of chapter 08 and of the README."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence, Sized
from itertools import pairwise
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from torch import Tensor

from sequential_fmnist.experiments.evidence import CaseSummary
from sequential_fmnist.experiments.fair.plan import LEARNED, RATIOS
from snn_tutorial.plot.networks import arrow, box
from snn_tutorial.plot.style import GREY, NAVY, NO_GRID, QUANTITY, RC, WIDTH, legend_above, ramp
from snn_tutorial.plot.training import LOOKS, line, means

__all__ = ["MEMORIES", "examples", "headline", "heat_map", "held", "places", "ratios"]


@plt.rc_context(RC)
def examples(sequences: Mapping[str, Tensor]) -> Figure:
    """Draw one sequence ``[T, K]`` of each task: channels against time."""
    figure, all_axes = plt.subplots(len(sequences), 1, figsize=(WIDTH, 1.9 * len(sequences)), squeeze=False)
    for axes, (name, x_seq) in zip(all_axes[:, 0], sequences.items(), strict=True):
        picture = axes.imshow(
            x_seq.T.numpy(), aspect="auto", cmap="Greys", vmin=-0.3, vmax=1, interpolation="none"
        )
        axes.set_title(name)
        axes.set_yticks([0, x_seq.shape[1] - 1], ["1", f"{x_seq.shape[1]}"])
        axes.set_ylabel("input")
        axes.grid(visible=False)
    all_axes[-1, 0].set_xlabel("time step")
    figure.colorbar(picture, ax=all_axes[:, 0], label="x[t]")
    return figure


#: From guessing to right, in every heat map.
_SHADES = ramp("right", (0, "#FFFFFF"), (1, NAVY))
_LONG = {
    "feedback through ": "feedback through\n",
    "feedback, ": "feedback,\n",
    "plain, ": "plain,\n",
    "at a rate of their own": "at their own rate",
}


@plt.rc_context(NO_GRID)
def heat_map(panels: Mapping[str, Sequence[CaseSummary]]) -> Figure:
    """Draw mean accuracies as shades, with the number of runs that reach 95 %, of each network over each distance.

    Args:
        panels: cases with ``at`` by the name of a panel; where a network has no runs its place stays empty.
    """
    kinds = list(dict.fromkeys(case["kind"] for cases in panels.values() for case in cases))
    figure, all_axes = _heats(panels, kinds)
    for axes, (name, cases) in zip(all_axes, panels.items(), strict=True):
        places = sorted({case["at"] for case in cases})
        values = np.full((len(kinds), len(places)), np.nan)
        words = np.full(values.shape, "", dtype=object)
        for case in cases:
            cell = kinds.index(case["kind"]), places.index(case["at"])
            share = case["reached"]
            values[cell] = 100 * case["accuracy"]["mean"]
            words[cell] = f"{values[cell]:.0f}\n{share['mean'] * share['n']:.0f}/{share['n']}"
        _shade(axes, values, words, list(map(str, places)))
        axes.set_title(name)
    figure.supxlabel("distance D (steps)")
    return figure


@plt.rc_context(NO_GRID)
def held(inside: Mapping[str, Any]) -> Figure:
    """Draw which share of cues a linear reader gets from the states of trained networks, some steps after the cue.

    Args:
        inside: ``results/fair_inside.json``.
    """
    figure, (axes,) = _heats([""], list(inside["networks"]))
    values = 100 * np.array([network["held"] for network in inside["networks"].values()])
    words = np.vectorize("{:.0f}".format)(values)
    _shade(axes, values, words, list(map(str, inside["after"])))
    axes.set_xlabel("steps after the cue")
    return figure


def _heats(panels: Sized, kinds: Sequence[str]) -> tuple[Figure, Sequence[Axes]]:
    """Return a figure with a panel for each of ``panels`` and the names of networks at its left."""
    size = (WIDTH, 1.0 + 0.42 * len(kinds))
    figure, all_axes = plt.subplots(1, len(panels), figsize=size, sharey=True, squeeze=False)
    labels = kinds
    for part, broken in _LONG.items():
        labels = [label.replace(part, broken) for label in labels]
    all_axes[0, 0].set_yticks(range(len(kinds)), labels, fontsize=10)
    for label, kind in zip(all_axes[0, 0].get_yticklabels(), kinds, strict=True):
        label.set_color(LOOKS[kind]["color"])
    return figure, all_axes[0]


def _shade(axes: Axes, values: np.ndarray, words: np.ndarray, columns: Sequence[str]) -> None:
    """Draw percentages as shades with words on them; NaN stays empty."""
    axes.imshow(values, cmap=_SHADES, vmin=0, vmax=100, aspect="auto")
    axes.set_xticks(range(len(columns)), columns)
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)
    for (row, column), value in np.ndenumerate(values):
        color = "white" if value > 68 else "black"
        axes.text(column, row, words[row, column], ha="center", va="center", color=color, fontsize=10)


#: The panels of :func:`ratios`: which network shows which memory.
MEMORIES = {
    "plain": "membrane",
    "stateful synapse": "synapse",
    "feedback through SynapseFilter": "loop through\na synapse",
}
#: Of time constants that are learned, and of fixed ones.
_HOW: tuple[dict[str, Any], ...] = ({"linestyle": "-"}, {"linestyle": ":", "markerfacecolor": "white"})


@plt.rc_context(RC)
def ratios(group: Iterable[CaseSummary], inside: Mapping[str, Any]) -> Figure:
    """Draw accuracy against D over tau at the start for three kinds of memory, tau fixed and learned.

    Below each stands, for the same networks before training, the share of cues that a linear reader still classifies
    after D steps, and the gradient that reaches the cue.

    Args:
        group: cases of the group ``fair-ratios``.
        inside: ``results/fair_inside.json``.
    """
    cases = {(case["kind"], case["name"]): case for case in group}
    figure, all_axes = plt.subplots(
        3, 3, figsize=(WIDTH, 6.6), sharex=True, sharey="row", height_ratios=[3, 2, 2]
    )
    for column, (kind, title) in zip(all_axes.T, MEMORIES.items(), strict=True):
        look = {name: LOOKS[kind][name] for name in ("color", "marker")}
        for learned, how in zip(LEARNED.values(), _HOW, strict=True):
            mine = [cases[kind, f"{learned}, D / tau = {ratio}"] for ratio in RATIOS]
            line(column[0], RATIOS, mine, **look | how)
        seen = inside["ratios"][kind]
        column[1].plot(RATIOS, [100 * value for value in seen["cue"]], **look)
        column[2].plot(RATIOS, seen["gradient"], **look)
        column[0].set_title(title, color=look["color"], weight="bold")
        for axes in column[:2]:
            axes.axhline(12.5, color=QUANTITY["threshold"], linestyle="--", linewidth=1)
            axes.set_ylim(0, 104)
        column[2].set_yscale("log")
        column[2].set_xscale("log")
        column[2].set_xticks([100, 10, 1, 0.1], ["100", "10", "1", ".1"])
        column[2].minorticks_off()
        column[2].invert_xaxis()
    figure.supxlabel(r"D / $\tau$ at the start")
    lines = [Line2D([], [], color=QUANTITY["threshold"], marker="o", **how) for how in _HOW]
    figure.legend(lines, list(LEARNED.values()), loc="outside upper center", ncols=2)
    labels = ("trained:\naccuracy (%)", "before:\ncue read (%)", "before:\ngradient at cue")
    for axes, label in zip(all_axes[:, 0], labels, strict=True):
        axes.set_ylabel(label)
    return figure


@plt.rc_context(RC)
def headline(ablation: Mapping[str, Any], fair: Mapping[str, Any]) -> Figure:
    """Draw accuracy against how long something must be kept: images of chapter 07, and cues of chapter 08.

    Args:
        ablation: ``results/ablation.json``.
        fair: ``results/fair.json``.
    """
    figure, (above, below) = plt.subplots(2, 1, figsize=(WIDTH, 6.4), height_ratios=[2, 3])
    delay = [dict(case) | {"kind": case["kind"].replace("-", " ")} for case in ablation["groups"]["delay"]]
    means(above, delay, 1 / 10)
    above.set(title="an image, from the tutorial's start", xlabel="blank columns before the answer")
    kinds = ("plain", "stateful synapse", "feedback", "feedback through SynapseFilter", "GRU")
    recall = [c for c in fair["groups"]["fair-recall"] if c["name"] == "blind" and c["kind"] in kinds]
    means(below, recall, 1 / 8, log=True)
    below.set(title="a cue in noise, no network is given the distance", xlabel="steps before the answer")
    legend_above(figure, columns=2)
    return figure


@plt.rc_context(NO_GRID)
def places() -> Figure:
    """Draw the chain of a network with the five places where a slow state may sit."""
    figure, axes = plt.subplots(figsize=(WIDTH, 2.6))
    axes.set_axis_off()
    axes.set(xlim=(-0.6, 10.6), ylim=(-1.5, 2.5))
    slow = {
        2.5: ("neuron", "membrane v\nthreshold a", QUANTITY["membrane"]),
        5.0: ("synapse", "current I", QUANTITY["current"]),
        9.7: ("read-out", "potential v", QUANTITY["membrane"]),
    }
    boxes = {x: box(axes, x, 0, (1.0, 0.7)) for x in (0.0, 7.2)}
    for x, name in ((0.0, "fc1"), (7.2, "fc2")):
        axes.text(x, 0, name, ha="center", va="center")
    for x, (name, state, color) in slow.items():
        boxes[x] = box(axes, x, 0, (1.7, 0.7), facecolor="white", edgecolor=color, linewidth=2.2)
        axes.text(x, 0, name, ha="center", va="center", color=color)
        axes.text(x, -0.55, state, ha="center", va="top", color=color)
    boxes[3.75] = box(
        axes, 3.75, 1.9, (1.7, 0.7), facecolor="white", edgecolor=QUANTITY["loop"], linewidth=2.2
    )
    axes.text(3.75, 1.9, "loop", ha="center", va="center", color=QUANTITY["loop"])
    axes.text(
        4.8,
        1.9,
        "the outputs of earlier steps,\none step or a delay later",
        va="center",
        color=QUANTITY["loop"],
    )
    for before, after in pairwise((0.0, 2.5, 5.0, 7.2, 9.7)):
        arrow(axes, boxes[before], boxes[after], GREY)
    for before, after in ((5.0, 3.75), (3.75, 2.5)):
        arrow(axes, boxes[before], boxes[after], QUANTITY["loop"], "arc3,rad=0.3")
    return figure
