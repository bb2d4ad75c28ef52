"""Exchanged networks: a NIR graph as a drawing, one step through it, and the table of other libraries."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from snn_exchange.nir_read import chain_of
from snn_tutorial.plot.overview import GREY, arrow, frame
from snn_tutorial.plot.style import OKABE_ITO, QUANTITY, RC

if TYPE_CHECKING:
    import nir

__all__ = ["graph_step", "leak_and_filter", "nir_graph", "peers_table"]

Place = tuple[float, float]

_WIDTH, _HEIGHT, _STEP = 1.7, 1.3, 2.0
#: What a node does decides about its frame: colour, and line style for black and white.
_FRAMES = {
    "IF": (QUANTITY["spike"], "-"),
    "LIF": (QUANTITY["spike"], "-"),
    "LI": (QUANTITY["current"], "--"),
    "I": (QUANTITY["current"], "--"),
}


@plt.rc_context(RC | {"axes.grid": False})
def nir_graph(graph: nir.NIRGraph, values: Mapping[str, str] | None = None) -> Figure:
    """Draw a graph as :func:`snn_exchange.to_nir` makes it: a chain, with each way back as an arc above it.

    Args:
        graph: a chain of nodes from "input" to "output"; other nodes lead from one of them back.
        values: what stands below a node; without it the shapes of weights.

    Raises:
        ValueError: the graph branches.
    """
    chain, loops = chain_of(graph)
    place = {name: (_STEP * number, 0.0) for number, name in enumerate(chain)}
    ways = {loop.through: (chain[loop.source], chain[loop.target]) for loop in loops}
    for number, (name, (source, target)) in enumerate(ways.items()):
        place[name] = ((place[source][0] + place[target][0]) / 2, 2.5 + 0.4 * number)
    figure, axes = plt.subplots(figsize=(0.7 * _STEP * len(chain), 3.6 if ways else 1.8))
    axes.set_axis_off()
    axes.set_aspect("equal")
    axes.set_xlim(-0.95, _STEP * (len(chain) - 1) + 0.95)
    axes.set_ylim(-1.45, max(y for _, y in place.values()) + 0.8)
    for before, after in pairwise(chain):
        arrow(axes, (place[before][0] + _WIDTH / 2, 0), (place[after][0] - _WIDTH / 2, 0), GREY)
    for name, (source, target) in ways.items():
        _way_back(axes, place[source], place[name], place[target])
    for name, (x, y) in place.items():
        _node(axes, x, y, name, graph.nodes[name], None if values is None else values.get(name, ""))
    return figure


def _way_back(axes: Axes, source: Place, through: Place, target: Place) -> None:
    """Draw up from the source on its right, through the node, and down to the target on its left."""
    start, end = source[0] + 0.45, target[0] - 0.45
    right, left = through[0] + _WIDTH / 2, through[0] - _WIDTH / 2
    far_right, far_left = max(start, right + 0.3), min(end, left - 0.3)
    bottom, shelf, top = _HEIGHT / 2, _HEIGHT / 2 + 0.3, through[1]
    line: dict[str, Any] = {"color": QUANTITY["loop"], "linewidth": 1.8, "solid_joinstyle": "round"}
    axes.plot([start, start, far_right, far_right, right], [bottom, shelf, shelf, top, top], **line)
    axes.plot([left, far_left, far_left, end], [top, top, shelf, shelf], **line)
    arrow(axes, (end, shelf), (end, bottom), QUANTITY["loop"])
    middle = (far_left - 0.1, (top + shelf) / 2)
    axes.text(*middle, "one step\nlater", ha="right", va="center", color=QUANTITY["loop"])


def _node(axes: Axes, x: float, y: float, name: str, node: Any, value: str | None) -> None:
    kind = type(node).__name__
    colour, line = _FRAMES.get(kind, (GREY, "-"))
    frame(axes, x, y, (_WIDTH, _HEIGHT), colour if kind in _FRAMES else None, 2.2, linestyle=line)
    centre: dict[str, Any] = {"ha": "center", "va": "center"}
    axes.text(x, y + 0.3, kind, weight="bold", color=colour, **centre)
    axes.text(x, y - 0.22, name.replace("_recurrent", "\nrecurrent"), linespacing=0.9, **centre)
    below = _size(node) if value is None else value
    axes.text(x, y - _HEIGHT / 2 - 0.1, below, ha="center", va="top", color=GREY, linespacing=1.0)


def _size(node: Any) -> str:
    """Return the size of a node as text, a weight as outputs x inputs."""
    if hasattr(node, "weight"):
        return " x ".join(map(str, node.weight.shape)) + ("\n+ bias" if hasattr(node, "bias") else "")
    size = int(np.prod(next(iter(node.input_type.values()))))
    return f"{size}\nneurons" if type(node).__name__ in _FRAMES else f"{size}\nnumbers"


def graph_step(graph: nir.NIRGraph, record: Mapping[str, np.ndarray], t: int, image: np.ndarray) -> Figure:
    """Draw one time step in a graph: what each node gives, and above it the part of the picture that has come.

    Args:
        graph: see :func:`nir_graph`.
        record: what each node gives for one image, ``[T, size]``.
        t: the step.
        image: the picture, ``[H, T]`` in [0, 1].
    """
    figure = nir_graph(graph, {name: _told(graph.nodes[name], values[t]) for name, values in record.items()})
    axes = figure.axes[0].inset_axes((0.80, 0.60, 0.19, 0.38))
    axes.imshow(image, cmap="gray_r", vmin=0, vmax=1)
    axes.axvspan(t + 0.5, image.shape[1] - 0.5, color="white", alpha=0.75, linewidth=0)
    axes.axvline(t, color=QUANTITY["input"], linewidth=1.5)
    axes.set_xticks([])
    axes.set_yticks([])
    axes.set_xlabel(f"time step t = {t}", labelpad=2)
    return figure


def _told(node: Any, values: np.ndarray) -> str:
    kind = type(node).__name__
    if kind in ("IF", "LIF"):
        return f"{int(values.sum())} of {values.size}\nfire"
    if kind == "Input":
        return f"mean\n{values.mean():.2f}"
    return f"{values.min():.1f} to\n{values.max():.1f}"


@plt.rc_context(RC)
def leak_and_filter(spikes: np.ndarray, currents: Mapping[str, np.ndarray]) -> Figure:
    """Draw what becomes of one train of spikes, in a synapse filter and in what replaces it.

    Args:
        spikes: ``[T]``, 0 or 1.
        currents: label of each curve to its current, ``[T]``.
    """
    steps = np.arange(len(spikes))
    styles = [(QUANTITY["current"], "-", "o"), (OKABE_ITO["orange"], "--", "s")]
    figure, (top, bottom) = plt.subplots(2, 1, figsize=(7, 4), sharex=True, height_ratios=(1, 5))
    top.vlines(steps[spikes > 0], 0, 1, color=QUANTITY["spike"], linewidth=2)
    top.set_yticks([])
    top.grid(visible=False)
    top.set_ylabel("spikes\ns[t]", rotation=0, ha="right", va="center")
    for (label, current), (colour, line, marker) in zip(currents.items(), styles, strict=False):
        bottom.plot(steps, current, line, color=colour, marker=marker, markersize=4, label=label)
    bottom.xaxis.set_major_locator(MaxNLocator(integer=True))
    bottom.set(xlabel="time step t", ylabel="current I[t]")
    bottom.set_ylim(bottom=0)
    figure.legend(*bottom.get_legend_handles_labels(), loc="outside upper center", ncols=2)
    return figure


_LIBRARIES = {"snntorch": "snnTorch", "spikingjelly": "SpikingJelly", "spyx": "Spyx"}
_NETWORKS = {
    "scalar": "Leaky as in its manual",
    "zero": "Leaky, a beta for each neuron, reset to 0 at once",
    "subtract": "Leaky, a beta for each neuron, default reset",
    "if": "IF",
    "lif": "LIF",
    "recurrent": "recurrent",
}
#: What was found in each library's source, where neither the error nor the columns beside say it.
_REASONS = {
    ("snntorch", "feedback", "spyx"): "a cycle of two nodes makes a graph in the graph that it cannot run",
    ("snntorch", "subtract", None): "it subtracts the threshold, one step later; the file says a reset to 0",
    ("spyx", "feedback", "nir"): "its importer follows the cycle without end",
    ("spyx", "if", None): "the file says a hard reset",
    ("spyx", "recurrent", None): (
        "the file sends the input through the recurrent weights, which the network does not"
    ),
}


def peers_table(rows: Sequence[Mapping[str, Any]]) -> str:
    """Return the rows of ``results/exchange.json`` as a Markdown table."""
    lines = [
        "| library | network | hidden spikes that differ, of all chances to fire | accuracy, ours and theirs | why |",
        "|---|---|---:|---:|---|",
    ]
    for row in rows:
        dialect = "" if row["dialect"] in (None, "nir") else f", dialect {row['dialect']}"
        name = _NETWORKS.get(row["network"], row["network"])
        network = f"ours: {name}{dialect}" if row["direction"] == "to" else f"theirs: {name}"
        spikes, accuracy, error = row["outcome"], "", row.get("why", "")
        if "differing" in row:
            spikes = f"{row['differing']:,} of {row['chances']:,}"
            accuracy = f"{row['accuracy_ours']:.1%}, {row['accuracy_theirs']:.1%}"
        elif error.startswith("TimeoutError"):
            spikes = "never ends"
        reason = _REASONS.get((row["peer"], row["network"], row["dialect"]), error and f"`{_short(error)}`")
        reasons = [reason] if reason else []
        if "differing_soft_and_late" in row:
            again = f"if ours do so too, {row['differing_soft_and_late']:,} differ"
            reasons = ["soft reset, and spikes one step late", *reasons, again]
        why = "; ".join(reasons)
        lines.append(
            f"| {_LIBRARIES[row['peer']]} {row['version']} | {network} | {spikes} | {accuracy} | {why} |"
        )
    return "\n".join(lines) + "\n"


def _short(error: str) -> str:
    return textwrap.shorten(error.replace("|", "/").replace("`", "'"), 90, placeholder=" …")
