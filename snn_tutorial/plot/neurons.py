"""One neuron step by step, recurrent weights as matrices, and what crosses the border between two batches."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from numpy.typing import ArrayLike

from snn_tutorial.plot.overview import arrow
from snn_tutorial.plot.style import OKABE_ITO, QUANTITY, RC
from snn_tutorial.probe import Trace

_MARKERS = "os^Dv"
_DASHES = ("-", "--", ":", "-.", (0, (5, 1)))


@plt.rc_context(RC | {"font.size": 10})
def neuron_traces(traces: Mapping[str, Trace]) -> Figure:
    """Draw input, membrane potential and spikes of a neuron against the time step, a column for each trace.

    The membrane goes from v[t-1] up to h[t] when it is charged, and down to v[t] when it is reset.

    Args:
        traces: title of each column to the trace of one neuron, its values ``[T]``.
    """
    figure, all_axes = plt.subplots(
        3,
        len(traces),
        figsize=(9, 4.9),
        height_ratios=(1.3, 2.4, 0.5),
        sharex="col",
        sharey="row",
        squeeze=False,
    )
    for column, (title, trace) in zip(all_axes.T, traces.items(), strict=True):
        column[0].set_title(title, fontsize=11)
        _draw_input(column[0], trace)
        _draw_membrane(column[1], trace)
        _draw_spikes(column[2], trace)
        column[2].set_xlabel("time step t")
    all_axes[1, 0].set_ylim(bottom=min(all_axes[1, 0].get_ylim()[0], -0.1))
    labels = ("input", "membrane potential", "spike")
    for axes, label in zip(all_axes[:, 0], labels, strict=True):
        axes.set_ylabel(label)
    handles = {}
    for axes in all_axes.flat:
        found, names = axes.get_legend_handles_labels()
        handles |= dict(zip(names, found, strict=True))
    figure.legend(handles.values(), handles, loc="outside lower center", ncols=len(handles), fontsize=9)
    return figure


def _draw_input(axes: Axes, trace: Trace) -> None:
    t = np.arange(len(trace.x))
    width = 0.36 if trace.is_recurrent else 0.5
    at = t - width / 2 if trace.is_recurrent else t
    axes.bar(at, trace.x.numpy(), width, color=QUANTITY["input"], label="x[t] from outside")
    if trace.is_recurrent:
        axes.bar(
            t + width / 2,
            trace.i.numpy(),
            width,
            facecolor="white",
            edgecolor=QUANTITY["current"],
            hatch="////",
            label="i[t] reaches the neuron",
        )
    axes.axhline(0, color="black", linewidth=0.8)


def _draw_membrane(axes: Axes, trace: Trace) -> None:
    t, h, v = np.arange(len(trace.x)), trace.h.numpy(), trace.v.numpy()
    blue = QUANTITY["membrane"]
    axes.axhline(trace.v_threshold, color=QUANTITY["threshold"], linestyle="--", label="v_threshold")
    for start in t[:-1]:
        axes.plot([start, start + 1], [v[start], h[start + 1]], color=blue, linewidth=1.5)
    axes.vlines(t, v, h, color=QUANTITY["spike"], linestyle=":", linewidth=2)
    axes.plot(t, h, "o", color=blue, markerfacecolor="white", markersize=7, label="h[t] charged")
    axes.plot(t, v, "o", color=blue, markersize=5, label="v[t] after reset")


def _draw_spikes(axes: Axes, trace: Trace) -> None:
    t = np.arange(len(trace.s))
    fired = trace.s.numpy() == 1
    axes.vlines(t[fired], 0, 1, color=QUANTITY["spike"], linewidth=4)
    axes.plot(t[~fired], np.zeros(sum(~fired)), ".", color=QUANTITY["threshold"], markersize=4)
    axes.set_ylim(-0.2, 1.1)
    axes.set_yticks([0, 1])
    step = max(1, len(t) // 8)
    axes.set_xticks(t[::step])


@plt.rc_context(RC | {"font.size": 10})
def membranes(v: Mapping[str, ArrayLike], x: ArrayLike, v_threshold: float) -> Figure:
    """Draw the membrane potential of several neurons that get the same input.

    Args:
        v: name of each neuron, at most five, to v[t], ``[T]``.
        x: their input, ``[T]``.
        v_threshold: membrane potential from which they fire.
    """
    colours = (OKABE_ITO["blue"], OKABE_ITO["vermilion"], OKABE_ITO["black"], OKABE_ITO["orange"], "#666666")
    t = np.arange(len(np.asarray(x)))
    figure, axes = plt.subplots(figsize=(7.5, 3.4))
    axes.fill_between(t, np.asarray(x), step="mid", color=QUANTITY["input"], alpha=0.2, label="input x[t]")
    axes.axhline(v_threshold, color=QUANTITY["threshold"], linestyle="--", label="v_threshold")
    for (name, values), colour, marker, dashes in zip(v.items(), colours, _MARKERS, _DASHES, strict=False):
        axes.plot(
            t, np.asarray(values), color=colour, marker=marker, linestyle=dashes, markersize=4, label=name
        )
    axes.set_xlabel("time step t")
    axes.set_ylabel("membrane potential v[t]")
    axes.set_ylim(0, 1.15 * v_threshold)
    axes.legend(loc="center left", bbox_to_anchor=(1, 0.5), fontsize=9)
    return figure


@plt.rc_context(RC | {"axes.grid": False, "font.size": 10})
def recurrent_weights(weights: Mapping[str, ArrayLike]) -> Figure:
    """Draw the weights with which i[t] = [x[t]; y[t-1]] W^T is made, a matrix for each container.

    Args:
        weights: name of each container to W, ``[in_features, in_features + out_features]``.
    """
    matrices = {name: np.asarray(weight) for name, weight in weights.items()}
    limit = max(np.abs(matrix).max() for matrix in matrices.values())
    figure, all_axes = plt.subplots(1, len(matrices), figsize=(9, 3.1), squeeze=False)
    for axes, (name, matrix) in zip(all_axes[0], matrices.items(), strict=True):
        inputs, columns = matrix.shape
        picture = axes.imshow(matrix, cmap="PuOr", vmin=-limit, vmax=limit)
        for row, column in np.ndindex(inputs, columns):
            value = matrix[row, column]
            colour = "white" if abs(value) > 0.65 * limit else "black"
            text = f"{value:.0f}" if value in (0, 1) else f"{value:z.2f}".replace("-", "\N{MINUS SIGN}")
            axes.text(column, row, text, ha="center", va="center", fontsize=8, color=colour)
        axes.axvline(inputs - 0.5, color="black", linewidth=2)
        axes.set_title(name, fontsize=11)
        names = [f"x{n}" for n in range(inputs)] + [f"y{n}" for n in range(columns - inputs)]
        axes.set_xticks(range(columns), names)
        axes.set_yticks(range(inputs), [f"i{n}" for n in range(inputs)])
        axes.set_xlabel("from x[t]   |   from y[t-1]")
        axes.set_ylabel("to i[t]")
    figure.colorbar(picture, ax=all_axes, label="weight", shrink=0.7, aspect=20)
    return figure


@plt.rc_context(RC | {"axes.grid": False, "font.size": 10})
def padded_batch(s_seq: ArrayLike, lengths: Sequence[int]) -> Figure:
    """Draw the spikes of one neuron for samples of different length, the padding hatched, each end marked.

    Args:
        s_seq: spikes ``[T, N]``.
        lengths: number of time steps of each sample, N of them.
    """
    spikes = np.asarray(s_seq)
    steps = len(spikes)
    figure, axes = plt.subplots(figsize=(7.5, 0.5 * len(lengths) + 1.5))
    for row, length in enumerate(lengths):
        fired = np.flatnonzero(spikes[:, row])
        axes.vlines(fired, row - 0.3, row + 0.3, color=QUANTITY["spike"], linewidth=4)
        axes.add_patch(
            Rectangle(
                (length - 0.5, row - 0.5),
                steps - length,
                1,
                facecolor="#DDDDDD",
                edgecolor="#888888",
                hatch="///",
                linewidth=0,
                alpha=0.6,
            )
        )
        axes.plot([length - 0.5] * 2, [row - 0.5, row + 0.5], color="black", linewidth=3, clip_on=False)
    axes.set_yticks(range(len(lengths)), [f"sample {n}, {length} steps" for n, length in enumerate(lengths)])
    axes.set_xticks(range(steps))
    axes.set_xlim(-0.5, steps - 0.5)
    axes.set_ylim(len(lengths) - 0.5, -0.5)
    axes.set_xlabel("time step t")
    return figure


@plt.rc_context(RC | {"axes.grid": False, "font.size": 10})
def borders() -> Figure:
    """Draw what crosses the border between two batches: the state forward, the gradient back."""
    cases = {
        "nothing": ("the gradient reaches the graph of batch 0, which was freed: error", True, "broken"),
        "reset_net": ("nothing crosses: for unrelated samples", False, None),
        "detach_net": ("the state crosses, the gradient stops: truncated BPTT", True, "stops"),
    }
    figure, axes = plt.subplots(figsize=(9, 3.9))
    axes.set_axis_off()
    axes.set_xlim(0, 10)
    axes.set_ylim(-0.25, 5.75)
    for row, (name, (meaning, state, gradient)) in enumerate(cases.items()):
        _draw_border(axes, 4.6 - 2 * row, name, meaning, state, gradient)
    return figure


def _draw_border(axes: Axes, y: float, name: str, meaning: str, state: bool, gradient: str | None) -> None:
    """Draw two batches at height ``y``, and between them the arrows of one case of :func:`borders`."""
    axes.text(0, y, name, family="monospace", weight="bold", va="center", fontsize=11)
    for x, label in ((2.0, "batch 0"), (6.6, "batch 1")):
        axes.add_patch(Rectangle((x, y - 0.45), 3.2, 0.9, facecolor="#F2F2F2", edgecolor="black"))
        axes.text(x + 1.6, y, label, ha="center", va="center")
    if state:
        arrow(axes, (5.25, y + 0.22), (6.55, y + 0.22), QUANTITY["membrane"])
        axes.text(5.9, y + 0.32, "v, y", ha="center", va="bottom", color=QUANTITY["membrane"], fontsize=9)
    if gradient is not None:
        end = 5.25 if gradient == "broken" else 5.95
        arrow(axes, (6.55, y - 0.22), (end, y - 0.22), QUANTITY["spike"], linestyle="--")
        axes.text(5.98, y - 0.36, "gradient", ha="left", va="top", color=QUANTITY["spike"], fontsize=9)
        mark, at = ("\N{MULTIPLICATION SIGN}", 5.0) if gradient == "broken" else ("|", 5.86)
        axes.text(at, y - 0.24, mark, ha="center", va="center", color=QUANTITY["spike"], fontsize=18)
    axes.text(2.0, y - 0.62, meaning, va="top", fontsize=9)
