"""What networks from a fair start hold, and what the start decides: the figures of chapter 08 and of the README."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from torch import Tensor

from experiments.evidence import CaseSummary
from experiments.fair.plan import LEARNED, RATIOS
from snn_tutorial.plot.ablation import MARKERS
from snn_tutorial.plot.style import QUANTITY, RC, STYLE, WIDTH, stacked

__all__ = ["LOOKS", "distances", "examples", "headline", "plane", "ratios"]

#: Every loop has the loop's colour; what stands in it, or beside it, has its own line and marker.
LOOKS: dict[str, dict[str, Any]] = {
    "plain": STYLE["plain"] | {"marker": MARKERS["plain"]},
    "stateful synapse": STYLE["stateful-synapse"] | {"marker": MARKERS["stateful-synapse"]},
    "feedback": STYLE["feedback"] | {"marker": MARKERS["feedback"]},
    "feedback through LINode": STYLE["feedback"] | {"linestyle": ":", "marker": "P"},
    "feedback through SynapseFilter": STYLE["feedback"] | {"linestyle": "--", "marker": "X"},
    "feedback, learned delays": STYLE["feedback"] | {"linestyle": "-.", "marker": "*"},
    "GRU": STYLE["gru"] | {"marker": MARKERS["gru"]},
    "LSTM": STYLE["lstm"] | {"marker": MARKERS["lstm"]},
}


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


def _line(
    axes: Axes, cases: Sequence[CaseSummary], look: Mapping[str, Any], label: str | None = None
) -> None:
    """Draw the means of cases and their 95 % intervals, which end at 0 and 100 %."""
    at = [case["at"] for case in cases]
    mean, low, high = (
        np.clip([100 * case["accuracy"][name] for case in cases], 0, 100) for name in ("mean", "low", "high")
    )
    axes.errorbar(at, mean, [mean - low, high - mean], capsize=3, linewidth=1.8, label=label, **look)


def _beside(cases: Iterable[CaseSummary], k: int, number: int) -> list[CaseSummary]:
    """Return the cases of line ``k`` of ``number`` in order, moved so that no line covers another."""
    mine = sorted(cases, key=lambda case: case["at"])
    return [dict(case) | {"at": case["at"] * 1.035 ** (k - number / 2)} for case in mine]


@plt.rc_context(RC)
def distances(groups: Mapping[str, Iterable[CaseSummary]], chance: float) -> Figure:
    """Draw mean accuracy against the distance, a panel for each start, a line for each network.

    Args:
        groups: cases by the name of a panel.
        chance: accuracy of guessing.
    """
    figure, all_axes = stacked(len(groups), 0.9 + 2.5 * len(groups), sharey=True)
    labels: dict[str, Any] = {}
    for axes, (name, group) in zip(all_axes, groups.items(), strict=True):
        cases = list(group)
        kinds = [kind for kind in LOOKS if any(case["kind"] == kind for case in cases)]
        for k, kind in enumerate(kinds):
            mine = _beside([case for case in cases if case["kind"] == kind], k, len(kinds))
            _line(axes, mine, LOOKS[kind], kind)
        labels |= dict(zip(*reversed(axes.get_legend_handles_labels()), strict=True))
        axes.axhline(100 * chance, color=QUANTITY["threshold"], linestyle="--", linewidth=1)
        axes.set_title(name)
        axes.set_xscale("log")
        places = sorted({case["at"] for case in cases})
        axes.set_xticks(places, map(str, places))
        axes.minorticks_off()
        axes.set_ylim(0, 104)
        axes.set_ylabel("accuracy (%)")
    all_axes[-1].set_xlabel("distance D (time steps)")
    figure.legend(labels.values(), labels.keys(), loc="outside upper center", ncols=2)
    return figure


#: The panels of :func:`ratios`: which network shows which memory.
MEMORIES = {
    "plain": "membrane",
    "stateful synapse": "synapse",
    "feedback through SynapseFilter": "loop through\na synapse",
}


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
        for learned, line in zip(LEARNED.values(), ("-", ":"), strict=True):
            mine = [dict(cases[kind, f"{learned}, D / tau = {ratio}"]) | {"at": ratio} for ratio in RATIOS]
            _line(column[0], mine, look | {"linestyle": line})
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
    lines = [Line2D([], [], color=QUANTITY["threshold"], linestyle=line) for line in ("-", ":")]
    figure.legend(lines, list(LEARNED.values()), loc="outside upper center", ncols=2)
    labels = ("trained:\naccuracy (%)", "before:\ncue read (%)", "before:\ngradient at cue")
    for axes, label in zip(all_axes[:, 0], labels, strict=True):
        axes.set_ylabel(label)
    return figure


@plt.rc_context(RC)
def plane(inside: Mapping[str, Any], k: int, kinds: Sequence[str]) -> Figure:
    """Draw the states of trained networks k steps after the cue, each as the number of its cue.

    Args:
        inside: ``results/fair_inside.json``.
        k: one of its ``after``.
        kinds: its networks to show.
    """
    at = inside["after"].index(k)
    figure, all_axes = plt.subplots(
        -(-len(kinds) // 2), 2, figsize=(WIDTH, 3.4 * -(-len(kinds) // 2)), squeeze=False
    )
    for axes in all_axes.flat[len(kinds) :]:
        axes.remove()
    for axes, kind in zip(all_axes.flat, kinds, strict=False):
        network = inside["networks"][kind]
        points = np.asarray(network["plane"][at])
        end = max(1.0, np.abs(points).max()) * 1.1
        axes.set(xlim=(-end, end), ylim=(-end, end))
        for (x, y), symbol in zip(points, inside["symbols"], strict=True):
            axes.text(
                x,
                y,
                str(symbol + 1),
                ha="center",
                va="center",
                fontsize=12,
                color=plt.get_cmap("tab10")(symbol),
            )
        axes.set_title(f"{kind}: {100 * network['held'][at]:.0f} %")
    figure.supxlabel("1st principal component (SD)")
    figure.supylabel("2nd principal component (SD)")
    return figure


@plt.rc_context(RC)
def headline(ablation: Mapping[str, Any], fair: Mapping[str, Any]) -> Figure:
    """Draw accuracy against how long something must be kept: images of chapter 07, and cues of chapter 08.

    Args:
        ablation: ``results/ablation.json``.
        fair: ``results/fair.json``.
    """
    figure, (above, below) = plt.subplots(2, 1, figsize=(WIDTH, 6.4), height_ratios=[2, 3])
    for kind, look in STYLE.items():
        cases = [case for case in ablation["groups"]["delay"] if case["kind"] == kind]
        if cases:
            _line(above, cases, look | {"marker": MARKERS[kind]})
    kinds = ("plain", "stateful synapse", "feedback", "feedback through SynapseFilter", "GRU")
    for k, kind in enumerate(kinds):
        cases = [c for c in fair["groups"]["fair-recall"] if (c["kind"], c["name"]) == (kind, "blind")]
        _line(below, _beside(cases, k, len(kinds)), LOOKS[kind], kind)
    above.set_title("an image, from the tutorial's start")
    above.set_xlabel("blank columns before the answer")
    below.set_title("a cue in noise, no network told how long")
    below.set_xlabel("steps before the answer")
    below.set_xscale("log")
    below.set_xticks([50, 200, 500], ["50", "200", "500"])
    below.minorticks_off()
    for axes, chance in ((above, 10), (below, 12.5)):
        axes.axhline(chance, color=QUANTITY["threshold"], linestyle="--", linewidth=1)
        axes.set_ylim(0, 104)
        axes.set_ylabel("accuracy (%)")
    figure.legend(loc="outside lower center", ncols=2)
    return figure
