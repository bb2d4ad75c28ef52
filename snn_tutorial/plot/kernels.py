"""What the fused kernels do and what they gain: who owns which neuron, how far a gradient reaches, and times."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from matplotlib.ticker import FuncFormatter, NullLocator

from snn_tutorial.plot.style import OKABE_ITO, QUANTITY, RC

#: How each way to walk is drawn; markers and line styles tell them apart in black and white.
WAYS: dict[str, dict[str, object]] = {
    "torch loop": {"color": OKABE_ITO["black"], "linestyle": ":", "marker": "o"},
    "backward by hand": {"color": OKABE_ITO["orange"], "linestyle": "--", "marker": "s"},
    "our numba cell": {"color": OKABE_ITO["sky blue"], "linestyle": "-.", "marker": "^"},
    "fused op": {"color": OKABE_ITO["blue"], "linestyle": "-", "marker": "D"},
}

_GRADIENTS = (
    {"color": OKABE_ITO["blue"], "linestyle": "-", "marker": "o"},
    {"color": OKABE_ITO["orange"], "linestyle": "--", "marker": "s"},
)

_plain_number = FuncFormatter(lambda value, _: f"{value:g}")


@plt.rc_context(RC | {"font.size": 10})
def credit(
    walks: Mapping[str, tuple[np.ndarray, np.ndarray, Mapping[str, np.ndarray]]], v_threshold: float = 1.0
) -> Figure:
    """Draw a neuron's walk and, below, the gradient of its last spike with respect to each input, for each reset.

    Args:
        walks: name of a reset to h[t] ``[T]``, s[t] ``[T]`` and, by names of their own, gradients dL/dx[t] ``[T]``.
        v_threshold: membrane potential from which the neuron fires.
    """
    figure, all_axes = plt.subplots(2, len(walks), figsize=(9, 4.6), sharex=True, sharey="row", squeeze=False)
    for (upper, lower), (name, (h, s, gradients)) in zip(all_axes.T, walks.items(), strict=True):
        _draw_walk(upper, h, s, v_threshold)
        upper.set_title(name)
        for (label, gradient), style in zip(gradients.items(), _GRADIENTS, strict=False):
            lower.plot(gradient, label=label, markersize=4, **style)
        for t in np.flatnonzero(s):
            lower.axvline(t, color=QUANTITY["spike"], linewidth=1, alpha=0.5)
        lower.set_xlabel("time step t")
    all_axes[0, 0].set_ylabel("charged potential h[t]")
    all_axes[1, 0].set_ylabel("gradient $\\partial L/\\partial x[t]$")
    for axes in all_axes[:, -1]:
        axes.legend(loc="center left", bbox_to_anchor=(1, 0.5))
    return figure


def _draw_walk(axes: Axes, h: np.ndarray, s: np.ndarray, v_threshold: float) -> None:
    fired = np.flatnonzero(s)
    axes.plot(h, color=QUANTITY["membrane"], marker="o", markersize=3, label="h[t]")
    axes.axhline(v_threshold, color=QUANTITY["threshold"], linestyle="--", label="threshold")
    axes.plot(fired, h[fired], "*", color=QUANTITY["spike"], markersize=12, label="spike")


@plt.rc_context(RC | {"axes.grid": False, "font.size": 10})
def owners(T: int = 6, M: int = 12, block: int = 4) -> Figure:
    """Draw which thread computes which number of h_seq ``[T, M]``, on a processor and on a GPU.

    Args:
        T: time steps, drawn downwards.
        M: neurons of all samples, side by side.
        block: neurons that a thread of the processor takes at a time.
    """
    shades = ("#0072B2", "#E69F00", "#CCCCCC", "#56B4E9")
    figure, both = plt.subplots(1, 2, figsize=(9, 3.4), sharey=True)
    for axes, width, title in zip(
        both,
        (block, 1),
        (
            f"numba: a thread takes a block of neurons\n(here {block}), row by row",
            "CUDA: a thread takes one neuron;\n32 threads step together",
        ),
        strict=True,
    ):
        for m in range(M):
            shade = shades[m // width % len(shades)]
            for t in range(T):
                axes.add_patch(Rectangle((m, t), 1, 1, facecolor=shade, edgecolor="white", linewidth=1.5))
        for first in range(0, M, width):
            axes.annotate(
                "",
                (first + width / 2, T - 0.2),
                (first + width / 2, 0.2),
                arrowprops={"arrowstyle": "-|>", "color": "black", "linewidth": 1.3},
            )
        axes.set(xlim=(0, M), ylim=(T, 0), xlabel="neuron m, side by side in memory")
        axes.set_title(title, fontsize=10)
        axes.set_xticks(np.arange(M) + 0.5, range(M))
        axes.spines[["left", "bottom"]].set_visible(False)
        axes.tick_params(length=0)
    both[0].set_yticks(np.arange(T) + 0.5, range(T))
    both[0].set_ylabel("time step t")
    return figure


@plt.rc_context(RC)
def event_driven(hidden: Sequence[int], quiet: Sequence[float], busy: Sequence[float], border: int) -> Figure:
    """Draw the time of a recurrent walk where nobody spikes and where everybody does.

    Args:
        hidden: numbers of neurons H.
        quiet: seconds for each H where no neuron spikes.
        busy: seconds for each H where every neuron spikes in every step.
        border: H from which on the product with the spikes is event-driven.
    """
    figure, axes = plt.subplots(figsize=(8, 3.6))
    axes.axvline(border, color=QUANTITY["threshold"], linestyle=":", label=f"event-driven from H = {border}")
    axes.plot(
        hidden,
        1e3 * np.asarray(busy),
        color=QUANTITY["spike"],
        marker="o",
        label="every neuron spikes in every step",
    )
    axes.plot(
        hidden,
        1e3 * np.asarray(quiet),
        color=QUANTITY["membrane"],
        linestyle="--",
        marker="s",
        label="no neuron spikes",
    )
    axes.set(xlabel="recurrent neurons H", ylabel="forward walk (ms)", ylim=(0, None))
    axes.legend(loc="upper left")
    return figure


@plt.rc_context(RC | {"font.size": 10})
def speed(lengths: Sequence[int], seconds: Mapping[str, Sequence[float]]) -> Figure:
    """Draw forward and backward of each way to walk against the number of steps, in all and for each step.

    Args:
        lengths: numbers of time steps T.
        seconds: name of each way, as in :data:`WAYS`, to its time for each T.
    """
    figure, (left, right) = plt.subplots(1, 2, figsize=(9, 3.8))
    for name, times in seconds.items():
        left.plot(lengths, 1e3 * np.asarray(times), label=name, **WAYS[name])
        right.plot(lengths, 1e6 * np.asarray(times) / np.asarray(lengths), label=name, **WAYS[name])
    for axes in (left, right):
        axes.set(xscale="log", yscale="log", xlabel="time steps T")
        axes.set_xticks(lengths, lengths)
        axes.xaxis.set_minor_locator(NullLocator())
        axes.yaxis.set_major_formatter(_plain_number)
    left.set_ylabel("forward and backward (ms)")
    right.set_ylabel("the same for each step (µs)")
    figure.legend(*left.get_legend_handles_labels(), loc="outside upper center", ncols=len(seconds))
    return figure


#: Parts of a training step in the order of :func:`shares`, with hatches that tell them apart in black and white.
PARTS: dict[str, dict[str, str]] = {
    "kernels: walks": {"color": OKABE_ITO["blue"], "hatch": ""},
    "kernels: products": {"color": OKABE_ITO["sky blue"], "hatch": "//"},
    "optimizer": {"color": OKABE_ITO["orange"], "hatch": ".."},
    "the rest: Python, autograd, loss": {"color": "#CCCCCC", "hatch": ""},
}


@plt.rc_context(RC | {"axes.grid": False, "font.size": 10})
def shares(steps: Mapping[str, Mapping[str, float]]) -> Figure:
    """Draw where the time of a training step goes, a bar for each network.

    Args:
        steps: name of a network to the seconds of each of :data:`PARTS`.
    """
    figure, axes = plt.subplots(figsize=(9, 0.5 * len(steps) + 1.5))
    for row, parts in enumerate(steps.values()):
        start = 0.0
        for name, style in PARTS.items():
            width = 1e3 * parts[name]
            axes.barh(row, width, left=start, edgecolor="white", label=None if row else name, **style)
            start += width
    axes.set_yticks(range(len(steps)), steps)
    axes.set_ylim(len(steps) - 0.4, -0.6)  # the first on top
    axes.set_xlabel("one training step (ms)")
    figure.legend(loc="outside upper center", ncols=2)
    return figure


@plt.rc_context(RC | {"axes.grid": False})
def bars(seconds: Mapping[str, float], title: str) -> Figure:
    """Draw the time of a few ways to do the same, with what the first takes as a multiple of each.

    Args:
        seconds: name to median time.
        title: what was timed.
    """
    first = next(iter(seconds.values()))
    colours = (OKABE_ITO["black"], OKABE_ITO["blue"], OKABE_ITO["sky blue"])
    figure, axes = plt.subplots(figsize=(8, 0.55 * len(seconds) + 1.3))
    for row, time in enumerate(seconds.values()):
        axes.barh(row, 1e3 * time, color=colours[row % len(colours)], height=0.6)
        text = f" {1e3 * time:.3g} ms" + (f", {first / time:.1f} times as fast" if row else "")
        axes.text(1e3 * time, row, text, va="center")
    axes.set_yticks(range(len(seconds)), seconds)
    axes.set_ylim(len(seconds) - 0.4, -0.6)
    axes.set_xlim(0, 1.45e3 * max(seconds.values()))  # room for the text of the longest bar
    axes.set_xlabel("forward and backward (ms)")
    axes.set_title(title, loc="left", fontsize=11)
    return figure
