"""How long is long: scores against the time that something must be kept, and what networks look like inside."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, NullLocator, ScalarFormatter
from torch import Tensor

from experiments.evidence import CaseSummary, Summary
from snn_tutorial.plot.ablation import nothing
from snn_tutorial.plot.style import OKABE_ITO, RC

__all__ = [
    "FAMILIES",
    "LOOKS",
    "curves",
    "examples",
    "headline",
    "held",
    "learned",
    "plane",
    "reach",
    "strips",
]

#: What remembers: the networks of a family share a panel.
FAMILIES: dict[str, tuple[str, ...]] = {
    "in the neuron": ("plain", "parametric LIF", "adaptive threshold"),
    "in the synapse": ("stateful synapse", "stateful synapse, tau per neuron", "double-exponential synapse"),
    "in the loop": ("feedback", "feedback, learned delays", "feedback through a stateful synapse"),
    "in two places": (
        "feedback and parametric LIF",
        "feedback and adaptive threshold",
        "feedback and stateful synapse",
    ),
    "in gates, not spiking": ("GRU", "LSTM"),
}
_COLOURS = {
    "plain": "black",
    "parametric LIF": "sky blue",
    "adaptive threshold": "orange",
    "stateful synapse": "vermilion",
    "stateful synapse, tau per neuron": "purple",
    "double-exponential synapse": "orange",
    "feedback": "blue",
    "feedback, learned delays": "green",
    "feedback through a stateful synapse": "purple",
    "feedback and parametric LIF": "sky blue",
    "feedback and adaptive threshold": "orange",
    "feedback and stateful synapse": "purple",
    "GRU": "green",
    "LSTM": "black",
}
_LINES, _MARKERS = ("-", "--", ":"), ("o", "s", "^")
#: A colour, a line style and a marker for each network; within a family all three differ.
LOOKS: dict[str, dict[str, Any]] = {
    kind: {"color": OKABE_ITO[_COLOURS[kind]], "linestyle": _LINES[k], "marker": _MARKERS[k], "markersize": 5}
    for family in FAMILIES.values()
    for k, kind in enumerate(family)
}
_GREY = "#999999"


def _by_kind(group: Iterable[CaseSummary]) -> dict[str, list[CaseSummary]]:
    found: dict[str, list[CaseSummary]] = {}
    for case in group:
        found.setdefault(case["kind"], []).append(case)
    return {kind: sorted(cases, key=lambda case: case["at"] or 0) for kind, cases in found.items()}


def _steps(axes: Axes, values: Sequence[float]) -> None:
    """Make the x axis logarithmic, with a tick at each value."""
    axes.set_xscale("log")
    axes.xaxis.set_major_locator(FixedLocator(list(values)))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter(ScalarFormatter())
    axes.tick_params(axis="x", labelsize=8.5)


def _panels(number: int) -> tuple[Figure, list[Axes]]:
    columns = 2 if number > 1 else 1
    rows = -(-number // columns)
    figure, grid = plt.subplots(
        rows, columns, figsize=(8, 2.3 * rows), sharex=True, sharey=True, squeeze=False
    )
    for axes in grid.flat[number:]:
        axes.remove()
    for axes in grid[:-1].flat:
        axes.tick_params(labelbottom=True)
    return figure, list(grid.flat[:number])


@plt.rc_context(RC | {"font.size": 10})
def curves(
    group: Sequence[CaseSummary],
    x_label: str,
    chance: float,
    y_label: str = "accuracy (%)",
    scale: float = 100,
) -> Figure:
    """Draw means with 95 % intervals against what must be bridged, a panel for each place of memory.

    Args:
        group: cases of ``results/long.json``.
        x_label: what the number ``at`` of a case is.
        chance: score of guessing, a dashed grey line.
        y_label: what the score is.
        scale: factor on scores; with 1 they are errors, on a logarithmic axis.
    """
    if not group:
        return nothing()
    found = _by_kind(group)
    families = {name: [kind for kind in kinds if kind in found] for name, kinds in FAMILIES.items()}
    families = {name: kinds for name, kinds in families.items() if kinds}
    figure, panels = _panels(len(families))
    for axes, (name, kinds) in zip(panels, families.items(), strict=True):
        axes.axhline(scale * chance, color=_GREY, linestyle="--", linewidth=1)
        for kind in kinds:
            at = [case["at"] for case in found[kind]]
            mean = [scale * case["accuracy"]["mean"] for case in found[kind]]
            low, high = ([scale * case["accuracy"][end] for case in found[kind]] for end in ("low", "high"))
            look = LOOKS[kind]
            axes.plot(at, mean, label=kind, **look)
            axes.fill_between(at, low, high, color=look["color"], alpha=0.15, linewidth=0)
        _steps(axes, sorted({case["at"] for case in group}))
        if scale == 1:
            axes.set_yscale("log")
        axes.set_title(name, fontsize=10)
        axes.set_xlabel(x_label)
        axes.set_ylabel(y_label)
        axes.legend(fontsize=8)
    return figure


@plt.rc_context(RC | {"font.size": 10})
def strips(
    groups: Mapping[str, Sequence[CaseSummary]],
    chance: float,
    is_error: bool = False,
    memoryless: Mapping[str, float] | None = None,
) -> Figure:
    """Draw every run of each network as a point, and the mean with its 95 % interval; a panel for each group.

    Args:
        groups: a title, and cases of ``results/long.json``.
        chance: score of guessing, a dashed grey line.
        is_error: whether scores are errors, on a logarithmic axis, and not accuracies.
        memoryless: score of a reader without memory by the title of a group, a dotted black line.
    """
    if not any(groups.values()):
        return nothing()
    kinds = [kind for family in FAMILIES.values() for kind in family]
    shown = [
        kind for kind in kinds if any(case["kind"] == kind for group in groups.values() for case in group)
    ]
    figure, grid = plt.subplots(
        1, len(groups), figsize=(8, 0.32 * len(shown) + 1.0), sharex=True, sharey=True, squeeze=False
    )
    scale = 1 if is_error else 100
    if is_error:
        grid[0, 0].set_xscale("log")
    else:
        grid[0, 0].set_xlim(0, 103)
    for axes, (name, group) in zip(grid.flat, groups.items(), strict=True):
        axes.axvline(scale * chance, color=_GREY, linestyle="--", linewidth=1)
        if memoryless and name in memoryless:
            axes.axvline(scale * memoryless[name], color="black", linestyle=":", linewidth=1.2)
        for case in group:
            y, look = shown.index(case["kind"]), LOOKS[case["kind"]]
            values = scale * np.array(case["values"])
            axes.plot(values, np.full(len(values), y), "o", color=look["color"], alpha=0.4, markersize=4)
            mean, low, high = (scale * case["accuracy"][part] for part in ("mean", "low", "high"))
            axes.errorbar(
                mean,
                y,
                xerr=[[mean - low], [high - mean]],
                fmt=look["marker"],
                color=look["color"],
                capsize=3,
            )
        axes.set_title(name, fontsize=10)
        axes.set_xlabel("mean squared error" if is_error else "test accuracy (%)")
        axes.set_yticks(range(len(shown)), shown)
    grid[0, 0].invert_yaxis()
    return figure


@plt.rc_context(RC | {"font.size": 10})
def held(inside: Mapping[str, Any]) -> Figure:
    """Draw how many cues a linear probe reads from the state, against the steps since the cue.

    Args:
        inside: ``results/long_inside.json``.
    """
    figure, panels = _panels(len(FAMILIES))
    for axes, (name, kinds) in zip(panels, FAMILIES.items(), strict=True):
        axes.axhline(100 / 8, color=_GREY, linestyle="--", linewidth=1)
        for kind in kinds:
            look = LOOKS[kind]
            for state, alpha in (("random", 0.35), ("trained", 1.0)):
                values = np.array(inside["networks"][kind][state]["held"], float)[:, 0]
                label = kind if state == "trained" else None
                axes.plot(inside["after"], 100 * values, label=label, alpha=alpha, **look)
        _steps(axes, inside["after"])
        axes.set_title(name, fontsize=10)
        axes.set_xlabel("steps since the cue")
        axes.set_ylabel("cues read (%)")
        axes.legend(fontsize=8, loc="lower left")
    return figure


@plt.rc_context(RC | {"font.size": 10})
def reach(inside: Mapping[str, Any]) -> Figure:
    """Draw the norm of the gradient to the input against its distance from the answer, before and after training."""
    figure, panels = _panels(len(FAMILIES))
    for axes, (name, kinds) in zip(panels, FAMILIES.items(), strict=True):
        for kind in kinds:
            look = LOOKS[kind]
            for state, alpha in (("random", 0.35), ("trained", 1.0)):
                values = np.array(inside["networks"][kind][state]["reach"])
                label = kind if state == "trained" else None
                # What is below the smallest number that is shown has vanished.
                axes.plot(inside["after"], np.maximum(values, _VANISHED), label=label, alpha=alpha, **look)
        _steps(axes, inside["after"])
        axes.set_yscale("log")
        axes.set_ylim(_VANISHED, 1e4)
        axes.set_title(name, fontsize=10)
        axes.set_xlabel("steps back from the answer")
        axes.set_ylabel("norm of the gradient")
        axes.legend(fontsize=8, loc="lower left")
    return figure


_VANISHED = 1e-12


@plt.rc_context(RC | {"font.size": 10})
def learned(summaries: Mapping[str, CaseSummary]) -> Figure:
    """Draw what was learned beside the weights, in time steps, as histograms over neurons and seeds.

    Args:
        summaries: a title, and the case whose ``learned`` are shown.
    """
    shown = [
        (title, name, values)
        for title, case in summaries.items()
        for name, values in (case.get("learned") or {}).items()
    ]
    if not shown:
        return nothing()
    figure, grid = plt.subplots(-(-len(shown) // 2), 2, figsize=(8, 2.2 * -(-len(shown) // 2)), squeeze=False)
    for axes, (title, name, runs) in zip(grid.flat, shown, strict=False):
        values = np.array([value for run in runs for value in run])
        edges = np.geomspace(1, max(values.max(), 2) * 1.01, 24)
        axes.hist(values, edges, weights=np.full(len(values), 100 / len(values)), color=OKABE_ITO["blue"])
        axes.set_xscale("log")
        axes.set_title(title, fontsize=10)
        axes.set_xlabel(f"{_NAMES[name]} (time steps)")
        axes.set_ylabel("neurons (%)")
    for axes in grid.flat[len(shown) :]:
        axes.remove()
    return figure


_NAMES = {
    "tau": "tau",
    "tau_adaptation": "tau of the threshold",
    "tau_rise": "tau of the rise",
    "tau_decay": "tau of the decay",
    "delay": "delay",
}


@plt.rc_context(RC | {"font.size": 9})
def plane(inside: Mapping[str, Any], k: int, kinds: Sequence[str]) -> Figure:
    """Draw the states of trained networks k steps after the cue, in their first two principal components.

    Args:
        inside: ``results/long_inside.json``.
        k: one of its ``after``.
        kinds: the networks.
    """
    at, symbols = inside["after"].index(k), np.array(inside["symbols"])
    columns = 3
    figure, grid = plt.subplots(
        -(-len(kinds) // columns), columns, figsize=(8, 2.7 * -(-len(kinds) // columns)), squeeze=False
    )
    colours = list(OKABE_ITO.values())
    for axes, kind in zip(grid.flat, kinds, strict=False):
        trained = inside["networks"][kind]["trained"]
        points = np.array(trained["plane"][at])
        for symbol, colour in enumerate(colours):
            mine = points[symbols == symbol]
            axes.plot(*mine.T, linestyle="", marker=f"${symbol + 1}$", color=colour, markersize=7)
        axes.set_title(f"{kind}\nprobe reads {100 * trained['held'][at][0]:.0f} %", fontsize=9)
        axes.set_xticks([])
        axes.set_yticks([])
        axes.set_xlabel("first component")
        axes.set_ylabel("second component")
    for axes in grid.flat[len(kinds) :]:
        axes.remove()
    return figure


@plt.rc_context(RC | {"font.size": 10})
def examples(sequences: Mapping[str, Tensor]) -> Figure:
    """Draw one sequence of each task, features against time steps.

    Args:
        sequences: title to ``[T, K]``.
    """
    figure, grid = plt.subplots(
        len(sequences), 1, figsize=(8, 1.5 * len(sequences)), squeeze=False,
        gridspec_kw={"height_ratios": [1 + x.shape[1] / 6 for x in sequences.values()]},
    )  # fmt: skip
    for axes, (title, x) in zip(grid.flat, sequences.items(), strict=True):
        axes.imshow(x.T, aspect="auto", cmap="cividis", interpolation="nearest", vmin=0, vmax=1)
        axes.grid(visible=False)
        axes.set_title(title, fontsize=10)
        axes.set_ylabel("input")
        axes.set_yticks([0, x.shape[1] - 1], ["1", str(x.shape[1])])
        axes.set_xlabel("time step")
    return figure


#: The networks of the headline, by the names they have there.
_HEADLINE = (
    "plain",
    "adaptive threshold",
    "stateful synapse",
    "feedback",
    "feedback, learned delays",
    "feedback through a stateful synapse",
    "GRU",
)


@plt.rc_context(RC | {"font.size": 10})
def headline(ablation: Summary, long: Summary) -> Figure:
    """Draw accuracy against how long something must be kept, a line for each kind of memory.

    Left the text's three networks on Fashion-MNIST with blank columns after the image, of chapter 07; right delayed
    recall through noise, of chapter 08.

    Args:
        ablation: ``results/ablation.json``.
        long: ``results/long.json``.
    """
    blank = _by_kind(ablation["groups"].get("delay", []))
    found = _by_kind(long["groups"].get("long-noisy-recall", []))
    if not (blank and found):
        return nothing()
    figure, (left, right) = plt.subplots(1, 2, figsize=(8.5, 3.6), width_ratios=[2, 3])
    names = {"plain": "plain", "stateful-synapse": "stateful synapse", "feedback": "feedback"}
    for kind, cases in blank.items():
        _line(left, cases, LOOKS[names[kind]], None)
    for kind in _HEADLINE:
        if kind in found:
            _line(right, found[kind], LOOKS[kind] | {"linestyle": _LINES[_HEADLINE.index(kind) % 3]}, kind)
    left.set_title("Fashion-MNIST, 28 columns", fontsize=10)
    left.set_xlabel("blank columns before the answer")
    right.set_title("a cue among 8, through noise", fontsize=10)
    right.set_xlabel("steps before the answer")
    _steps(right, long["tasks"]["noisy-recall"]["points"])
    for axes, chance in ((left, 10), (right, 12.5)):
        axes.axhline(chance, color=_GREY, linestyle="--", linewidth=1)
        axes.set_ylim(0, 103)
        axes.set_ylabel("accuracy (%)")
    figure.legend(loc="outside lower center", ncols=4, fontsize=9)
    return figure


def _line(axes: Axes, cases: Sequence[CaseSummary], look: Mapping[str, Any], label: str | None) -> None:
    at = [case["at"] for case in cases]
    axes.plot(at, [100 * case["accuracy"]["mean"] for case in cases], label=label, **look)
    low, high = ([100 * case["accuracy"][end] for case in cases] for end in ("low", "high"))
    axes.fill_between(at, low, high, color=look["color"], alpha=0.15, linewidth=0)
