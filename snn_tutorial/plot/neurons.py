"""A neuron step by step: its input, its membrane potential and its spikes."""

from __future__ import annotations

from collections.abc import Mapping

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from torch import Tensor

from snn_tutorial.plot.style import NO_GRID, QUANTITY, RC, legend_above, stacked
from snn_tutorial.probe import Trace


@plt.rc_context(RC)
def neuron_traces(traces: Mapping[str, Trace]) -> Figure:
    """Draw the input of one or more neurons and, below it, the membrane potential and the spikes of each.

    The membrane goes from v[t-1] to h[t] when it is charged, and down to v[t] when it is reset.

    Args:
        traces: title of each neuron to its trace, with values ``[T]``. All have the same input x.
    """
    count, first = len(traces), next(iter(traces.values()))
    figure, (top, *others) = stacked(
        1 + 2 * count, 1.9 + 2.3 * count, height_ratios=(1.3, *(2.4, 0.5) * count)
    )
    _draw_input(top, first)
    for (title, trace), membrane, spikes in zip(traces.items(), others[::2], others[1::2], strict=True):
        membrane.sharey(others[0])
        membrane.set_title(title)
        _draw_membrane(membrane, trace)
        draw_spikes(spikes, trace.s.numpy())
    levels = np.stack([level.numpy() for trace in traces.values() for level in (trace.v, trace.h)])
    lowest, highest = min(0, levels.min()), max(levels.max(), *(t.v_threshold for t in traces.values()))
    others[0].set_ylim(lowest - 0.1 * (highest - lowest), highest + 0.1 * (highest - lowest))
    others[-1].set_xlabel("time step t")
    others[-1].set_xticks(range(0, len(first.x), max(1, len(first.x) // 8)))
    figure.align_ylabels()
    legend_above(figure, columns=2)
    return figure


def _draw_input(axes: Axes, trace: Trace) -> None:
    t, x = np.arange(len(trace.x)), trace.x.numpy()
    axes.bar(t, x, 0.5, color=QUANTITY["input"], label="input x[t]")
    if (added := trace.i.numpy() - x).any():
        axes.bar(
            t, added, 0.5, x, color=QUANTITY["loop"], hatch="//", edgecolor="white", label="y[t-1], fed back"
        )
    axes.axhline(0, color=QUANTITY["threshold"], linewidth=0.8)
    axes.set_axisbelow(True)
    axes.set_ylabel("input")


def _draw_membrane(axes: Axes, trace: Trace) -> None:
    t, h, v = np.arange(len(trace.x)), trace.h.numpy(), trace.v.numpy()
    black = QUANTITY["membrane"]
    axes.axhline(trace.v_threshold, color=QUANTITY["threshold"], linestyle="--", label="threshold")
    for start in t[:-1]:
        axes.plot([start, start + 1], [v[start], h[start + 1]], color=black, linewidth=1.5)
    axes.vlines(t, v, h, color=QUANTITY["spike"], linestyle=":", linewidth=2)
    axes.plot(t, h, "o", color=black, markerfacecolor="white", markersize=7, label="h[t], charged")
    axes.plot(t, v, "o", color=black, markersize=5, label="v[t], after the reset")
    axes.set_ylabel("membrane")


def draw_spikes(axes: Axes, spikes: np.ndarray) -> None:
    """Draw a spike train ``[T]`` as a row of bars."""
    axes.vlines(np.flatnonzero(spikes), 0, 1, color=QUANTITY["spike"], linewidth=4)
    axes.set(ylim=(0, 1.1), yticks=[])
    axes.set_ylabel("spikes", rotation=0, ha="right", va="center")
    axes.grid(False)


@plt.rc_context(NO_GRID)
def ring_spikes(rings: Mapping[str, Tensor]) -> Figure:
    """Draw the spikes ``[T, n]`` of the neurons of one or more rings, by the title of each."""
    figure, panels = stacked(len(rings), 0.6 + 1.1 * len(rings))
    for axes, (title, s_seq) in zip(panels, rings.items(), strict=True):
        places = [np.flatnonzero(s) for s in s_seq.T.numpy()]
        axes.eventplot(places, colors=QUANTITY["spike"], linelengths=0.8, linewidths=3)
        axes.set(title=title, ylabel="neuron", ylim=(len(places) - 0.5, -0.5), xlim=(-0.5, len(s_seq) - 0.5))
    panels[-1].set_xlabel("time step t")
    return figure
