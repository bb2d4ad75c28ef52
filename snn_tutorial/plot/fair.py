"""What networks from a fair start hold, and what the start decides: the figures of chapter 08 and of the README."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Circle
from torch import Tensor

from sequential_fmnist.experiments.evidence import CaseSummary
from sequential_fmnist.experiments.fair.plan import LEARNED, RATIOS
from snn_tutorial.plot.style import QUANTITY, RC, WIDTH, legend_above, stacked
from snn_tutorial.plot.training import LOOKS, line, means

__all__ = ["distances", "examples", "headline", "plane", "ratios"]


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


@plt.rc_context(RC)
def distances(groups: Mapping[str, Iterable[CaseSummary]], chance: float) -> Figure:
    """Draw mean accuracy against the distance, a panel for each start, a line for each network.

    Args:
        groups: cases by the name of a panel.
        chance: accuracy of guessing.
    """
    figure, all_axes = stacked(len(groups), 0.9 + 2.5 * len(groups), sharey=True)
    for axes, (name, group) in zip(all_axes, groups.items(), strict=True):
        means(axes, list(group), chance, log=True)
        axes.set_title(name)
    all_axes[-1].set_xlabel("distance D (time steps)")
    legend_above(figure, columns=2)
    return figure


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
def plane(inside: Mapping[str, Any], k: int, kinds: Sequence[str]) -> Figure:
    """Draw what a linear reader sees in trained networks k steps after the cue: each state is the number of its cue.

    Each cue has its place on a circle: there the reader is sure, and in the middle it sees none.

    Args:
        inside: ``results/fair_inside.json``.
        k: one of its ``after``.
        kinds: its networks to show, an even number.
    """
    at, symbols = inside["after"].index(k), np.asarray(inside["symbols"])
    rows = len(kinds) // 2
    figure, all_axes = plt.subplots(rows, 2, figsize=(WIDTH, 3.4 * rows))
    for axes, kind in zip(all_axes.flat, kinds, strict=True):
        network = inside["networks"][kind]
        points = np.asarray(network["plane"][at])
        for symbol in range(symbols.max() + 1):
            look = {"marker": f"${symbol + 1}$", "markersize": 8, "color": f"C{symbol}"}
            axes.plot(*points[symbols == symbol].T, linestyle="", **look)
        axes.set(xlim=(-1.4, 1.4), ylim=(-1.4, 1.4), aspect="equal", xticks=[], yticks=[])
        axes.add_patch(Circle((0, 0), 1, fill=False, color=QUANTITY["threshold"], linestyle=":"))
        axes.set_title(f"{kind}: {100 * network['held'][at]:.0f} %")
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
    below.set(title="a cue in noise, no network told how long", xlabel="steps before the answer")
    legend_above(figure, columns=2)
    return figure
