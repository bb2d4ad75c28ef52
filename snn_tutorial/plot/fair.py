"""What networks recall from equal starts: drawings of chapter 08, and figures of the README and of docs/."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from itertools import pairwise
from typing import Any

import matplotlib.pyplot as plt
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from sequential_fmnist.experiments.evidence import CaseSummary
from sequential_fmnist.experiments.fair.plan import LEARNED, RATIOS
from snn_tutorial.plot.networks import arrow, box
from snn_tutorial.plot.style import GREY, NO_GRID, QUANTITY, RC, WIDTH, legend_above
from snn_tutorial.plot.training import LOOKS, line, means

__all__ = ["MEMORIES", "headline", "order", "places", "ratios"]


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
    above.set(
        title="an image; outputs times 10, of the stateful synapse times 1",
        xlabel="blank columns before the answer",
    )
    kinds = ("plain", "stateful synapse", "feedback", "feedback through SynapseFilter", "GRU")
    recall = [c for c in fair["groups"]["fair-recall"] if c["name"] == "blind" and c["kind"] in kinds]
    means(below, recall, 1 / 8, log=True)
    below.set(title="a cue in noise, no network is given the distance", xlabel="steps before the answer")
    legend_above(figure, columns=2)
    return figure


@plt.rc_context(RC)
def order(fair: Mapping[str, Any], controls: Mapping[str, Any]) -> Figure:
    """Draw which share of four symbols is copied in their order, against the distance; no network is given D.

    Args:
        fair: ``results/fair.json``.
        controls: ``results/controls.json``.
    """
    kinds = (
        "plain",
        "stateful synapse",
        "feedback",
        "GRU",
        "feedback, fixed delays",
        "feedback, learned delays",
    )
    known = [*fair["groups"]["fair-copying"], *controls["groups"]["fixed-delays"]]
    cases = [case for kind in kinds for case in known if (case["kind"], case["name"]) == (kind, "blind")]
    figure, axes = plt.subplots(figsize=(WIDTH, 4.0))
    means(axes, cases, 1 / 4, log=True)
    axes.set(xlabel="steps between symbols and answer", ylabel="symbols right (%)")
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
