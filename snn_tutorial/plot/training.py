"""Accuracies of training runs: curves of one run, every seed as a point, and means with 95 % intervals."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from sequential_fmnist.experiments.evidence import CaseSummary
from snn_tutorial.plot.style import OKABE_ITO, QUANTITY, RC, STYLE, legend_above, stacked

__all__ = ["LOOKS", "WAYS", "line", "means", "training_curves"]

#: Networks with the marker that tells them apart in black and white.
LOOKS: dict[str, dict[str, Any]] = {
    kind: look | {"marker": marker} for (kind, look), marker in zip(STYLE.items(), "os^Dv", strict=True)
}
#: Chapter 08 has names of its own. Every loop has the loop's colour; what stands in it has its own line and marker.
LOOKS |= {
    "stateful synapse": LOOKS["stateful-synapse"],
    "feedback through LINode": LOOKS["feedback"] | {"linestyle": ":", "marker": "P"},
    "feedback through SynapseFilter": LOOKS["feedback"] | {"linestyle": "--", "marker": "X"},
    "feedback, learned delays": LOOKS["feedback"] | {"linestyle": "-.", "marker": "*"},
    "feedback, fixed delays": LOOKS["feedback"] | {"marker": "*"},
    "feedback, delays at a rate of their own": LOOKS["feedback"] | {"marker": "*"},
    "plain, leaky read-out": LOOKS["plain"] | {"marker": "*"},
    "adaptive threshold": {"color": QUANTITY["threshold"], "marker": "*"},
    "GRU": LOOKS["gru"],
    "LSTM": LOOKS["lstm"],
}
#: Of ways to train one network, which stand beside the network as listed.
WAYS = [
    {"color": OKABE_ITO["orange"], "linestyle": "--"},
    {"color": OKABE_ITO["sky blue"], "linestyle": "-."},
]

_ACCURACY = "test accuracy (%)"
#: Key in the history of a run, and the label of its axis with the unit.
CURVES: dict[str, str] = {
    "train_loss": "train loss\n(mean squared error)",
    "train_accuracy": "train accuracy (%)",
    "test_accuracy": _ACCURACY,
}


@plt.rc_context(RC)
def training_curves(
    runs: Mapping[str, Sequence[Mapping[str, float]]], *keys: str, subset: bool = False
) -> Figure:
    """Draw quantities of several runs against the epoch, a panel for each quantity.

    Args:
        runs: name of a network, or of a way to train one, to its history from :func:`sequential_fmnist.train.fit`.
        *keys: of :data:`CURVES`.
        subset: whether the networks saw only the embedded subset; the figure then says so.
    """
    figure, panels = stacked(len(keys), 3.6 if len(keys) == 1 else 2.4 * len(keys))
    for axes, key in zip(panels, keys, strict=True):
        scale, ways = 100 if key.endswith("accuracy") else 1, iter(WAYS)
        for name, history in runs.items():
            look = STYLE[name] if name in STYLE else next(ways)
            epochs, values = [one["epoch"] + 1 for one in history], [scale * one[key] for one in history]
            marker = "o" if len(history) == 1 else None
            axes.plot(epochs, values, label=name, linewidth=2, marker=marker, **look)
        axes.set_ylabel(CURVES[key])
    panels[-1].set_xlabel("epoch")
    panels[-1].xaxis.get_major_locator().set_params(integer=True)
    if subset:
        panels[0].set_title("6,000 of 60,000 training images")
    legend_above(figure, columns=3 if all(name in STYLE for name in runs) else 1)
    return figure


def means(axes: Axes, cases: Sequence[CaseSummary], chance: float | None = None, log: bool = False) -> None:
    """Draw mean accuracies with their 95 % intervals against the cases' number ``at``, a line for each network.

    Args:
        axes: where to draw.
        cases: cases with ``at``.
        chance: accuracy of guessing, dashed; the y axis then has everything from 0 to 100 %.
        log: whether the x axis is logarithmic; lines that coincide then stand beside each other.
    """
    kinds = list(dict.fromkeys(case["kind"] for case in cases))
    for k, kind in enumerate(kinds):
        mine = sorted((case for case in cases if case["kind"] == kind), key=lambda case: case["at"])
        beside = 1.035 ** (k - len(kinds) / 2) if log else 1
        line(axes, [beside * case["at"] for case in mine], mine, label=kind, **LOOKS[kind])
    if log:
        axes.set_xscale("log")
        axes.minorticks_off()
    places = sorted({case["at"] for case in cases})
    axes.set_xticks(places, map(str, places))
    axes.set_ylabel("accuracy (%)")
    if chance is not None:
        axes.axhline(100 * chance, color=QUANTITY["threshold"], linestyle="--", linewidth=1)
        axes.set_ylim(0, 104)


def line(axes: Axes, x: Sequence[float], cases: Sequence[CaseSummary], **look: Any) -> None:
    """Draw the means of cases at the places ``x`` with their 95 % intervals, which end at 0 and 100 %."""
    mean, low, high = (
        np.clip([100 * case["accuracy"][name] for case in cases], 0, 100) for name in ("mean", "low", "high")
    )
    axes.errorbar(x, mean, [mean - low, high - mean], capsize=3, linewidth=1.8, **look)
