"""What a fused scan does and what it gains: how far a gradient reaches, the order of work, times and memory."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from matplotlib.ticker import FuncFormatter, NullLocator

from snn_tutorial.plot.style import OKABE_ITO, QUANTITY, RC

#: How each way to take a layer through time is drawn; markers and line styles tell them apart in black and white.
WAYS: dict[str, dict[str, object]] = {
    "torch loop": {"color": OKABE_ITO["black"], "linestyle": ":", "marker": "o"},
    "backward by hand": {"color": OKABE_ITO["orange"], "linestyle": "--", "marker": "s"},
    "our numba scan": {"color": OKABE_ITO["sky blue"], "linestyle": "-.", "marker": "^"},
    "fused scan": {"color": OKABE_ITO["blue"], "linestyle": "-", "marker": "D"},
}

#: Ways to take a network through a training step, with hatches that tell them apart in black and white.
STEPS: dict[str, dict[str, str]] = {
    "loop": {"color": OKABE_ITO["black"], "hatch": ""},
    "layer by layer": {"color": OKABE_ITO["orange"], "hatch": "//"},
    "one scan": {"color": OKABE_ITO["sky blue"], "hatch": ""},
    "train_steps": {"color": OKABE_ITO["blue"], "hatch": ".."},
}

_GRADIENTS = (
    {"color": OKABE_ITO["blue"], "linestyle": "-", "marker": "o"},
    {"color": OKABE_ITO["orange"], "linestyle": "--", "marker": "s"},
)

_plain_number = FuncFormatter(lambda value, _: f"{value:g}")


def table(header: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """Return a table as Markdown: whole numbers with commas, others with two digits, text as it is.

    Args:
        header: what stands above each column.
        rows: as many values each; the first column is aligned to the left, the others to the right.

    Raises:
        ValueError: a row has more or fewer values than the header.
    """
    for row in rows:
        if len(row) != len(header):
            raise ValueError(f"each row must have {len(header)} values, got {len(row)}")
    lines = [header, ["---", *["---:"] * (len(header) - 1)], *([_cell(v) for v in row] for row in rows)]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def _cell(value: object) -> str:
    if isinstance(value, str):
        return value
    return f"{value:,}" if isinstance(value, int) else f"{value:,.2f}"


@plt.rc_context(RC | {"font.size": 10})
def credit(
    passes: Mapping[str, tuple[np.ndarray, np.ndarray, Mapping[str, np.ndarray]]], v_threshold: float = 1.0
) -> Figure:
    """Draw a neuron's potential and, below, the gradient of its last spike for each input, for each reset.

    Args:
        passes: name of a reset to h[t] ``[T]``, s[t] ``[T]`` and, by names of their own, gradients dL/dx[t] ``[T]``.
        v_threshold: membrane potential from which the neuron fires.
    """
    figure, all_axes = plt.subplots(
        2, len(passes), figsize=(9, 4.6), sharex=True, sharey="row", squeeze=False
    )
    for (upper, lower), (name, (h, s, gradients)) in zip(all_axes.T, passes.items(), strict=True):
        _draw_potential(upper, h, s, v_threshold)
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


def _draw_potential(axes: Axes, h: np.ndarray, s: np.ndarray, v_threshold: float) -> None:
    fired = np.flatnonzero(s)
    axes.plot(h, color=QUANTITY["membrane"], marker="o", markersize=3, label="h[t]")
    axes.axhline(v_threshold, color=QUANTITY["threshold"], linestyle="--", label="threshold")
    axes.plot(fired, h[fired], "*", color=QUANTITY["spike"], markersize=12, label="spike")


@plt.rc_context(RC | {"axes.grid": False, "font.size": 10})
def orders(stages: Sequence[str], blocks: int = 4) -> Figure:
    """Draw in which order blocks of samples go through stages: layer by layer, and in one scan.

    Args:
        stages: names of the stages, drawn downwards.
        blocks: blocks of samples, side by side.
    """
    shades = (OKABE_ITO["sky blue"], OKABE_ITO["orange"])
    figure, both = plt.subplots(1, 2, figsize=(9, 0.5 * len(stages) + 1.4), sharey=True)
    for axes, title, by_layer in zip(
        both,
        (
            "layer by layer: a kernel for each,\nits output goes through memory",
            "one scan: a block takes all stages,\nand stays in the cache",
        ),
        (True, False),
        strict=True,
    ):
        for k in range(len(stages)):
            for block in range(blocks):
                turn = k * blocks + block if by_layer else block * len(stages) + k
                shade = shades[(k if by_layer else block) % 2]
                axes.add_patch(Rectangle((block, k), 1, 1, facecolor=shade, edgecolor="white", linewidth=2))
                axes.text(block + 0.5, k + 0.5, turn + 1, ha="center", va="center")
        axes.set(xlim=(0, blocks), ylim=(len(stages), 0), xlabel="block of samples")
        axes.set_title(title, fontsize=10)
        axes.set_xticks(np.arange(blocks) + 0.5, range(blocks))
        axes.spines[["left", "bottom"]].set_visible(False)
        axes.tick_params(length=0)
    both[0].set_yticks(np.arange(len(stages)) + 0.5, stages)
    return figure


@plt.rc_context(RC | {"axes.grid": False, "font.size": 10})
def trips(milliseconds: Mapping[str, Mapping[str, float]]) -> Figure:
    """Draw what a training step takes in each way, a group of bars for each network.

    Args:
        milliseconds: name of a network to the time of each of :data:`STEPS`.
    """
    figure, axes = plt.subplots(figsize=(9, 1.0 * len(milliseconds) + 1.2))
    height = 0.8 / len(STEPS)
    for k, (name, style) in enumerate(STEPS.items()):
        places = np.arange(len(milliseconds)) + height * (k - (len(STEPS) - 1) / 2)
        times = [ways[name] for ways in milliseconds.values()]
        drawn = axes.barh(places, times, height, edgecolor="white", label=name, **style)
        axes.bar_label(drawn, fmt="%.2g", padding=3)
    axes.set_yticks(range(len(milliseconds)), milliseconds)
    axes.set_ylim(len(milliseconds) - 0.5, -0.5)  # the first on top
    axes.set_xlim(
        0, 1.06 * max(max(ways.values()) for ways in milliseconds.values())
    )  # room for the longest's label
    axes.set_xlabel("a training step (ms)")
    figure.legend(loc="outside upper center", ncols=len(STEPS))
    return figure


@plt.rc_context(RC | {"font.size": 10})
def kept(lengths: Sequence[int], kib: Mapping[str, Sequence[float]]) -> Figure:
    """Draw what autograd keeps of a sample against the number of steps.

    Args:
        lengths: numbers of time steps T.
        kib: "torch loop" and "fused scan" to KiB for each T.
    """
    figure, axes = plt.subplots(figsize=(8, 3.4))
    for name, values in kib.items():
        axes.plot(lengths, values, label=name, **WAYS[name])
    axes.set(xscale="log", yscale="log", xlabel="time steps T", ylabel="kept for each sample (KiB)")
    axes.set_xticks(lengths, lengths)
    axes.xaxis.set_minor_locator(NullLocator())
    axes.yaxis.set_major_formatter(_plain_number)
    axes.legend(loc="upper left")
    return figure


@plt.rc_context(RC | {"font.size": 10})
def speed(lengths: Sequence[int], seconds: Mapping[str, Sequence[float]]) -> Figure:
    """Draw forward and backward of each way against the number of steps, in all and for each step.

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
