"""Exchanged networks: a NIR graph as a drawing, and the table of other libraries."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import FancyBboxPatch
from tabulate import tabulate

from snn_exchange.nir_read import chain_of
from snn_tutorial.plot.networks import arrow, box
from snn_tutorial.plot.style import GREY, NO_GRID, QUANTITY, WIDTH

if TYPE_CHECKING:
    import nir

__all__ = ["nir_graph", "peers_table"]

_WIDTH, _HEIGHT, _STEP = 1.7, 1.3, 2.0
#: What a node does decides about its frame: colour, and line style for black and white.
_FRAMES = {
    "IF": (QUANTITY["spike"], "-"),
    "LIF": (QUANTITY["spike"], "-"),
    "LI": (QUANTITY["current"], "--"),
    "I": (QUANTITY["current"], "--"),
}


@plt.rc_context(NO_GRID)
def nir_graph(graph: nir.NIRGraph) -> Figure:
    """Draw a graph as :func:`snn_exchange.to_nir` makes it: a chain, with each way back as an arc above it.

    Args:
        graph: a chain of nodes from "input" to "output"; other nodes lead from one of them back.

    Raises:
        ValueError: the graph branches.
    """
    chain, loops = chain_of(graph)
    place = {name: (_STEP * number, 0.0) for number, name in enumerate(chain)}
    ways = {loop.through: (chain[loop.source], chain[loop.target]) for loop in loops}
    for number, (name, (source, target)) in enumerate(ways.items()):
        place[name] = ((place[source][0] + place[target][0]) / 2, 2.5 + 0.4 * number)
    figure, axes = plt.subplots(figsize=(max(WIDTH, 1.2 * len(chain)), 3.2 if ways else 1.6))
    axes.set_axis_off()
    axes.set_aspect("equal")
    axes.set_xlim(-0.95, _STEP * (len(chain) - 1) + 0.95)
    axes.set_ylim(-1.45, max(y for _, y in place.values()) + 0.8)
    boxes = {name: _node(axes, *at, name, graph.nodes[name]) for name, at in place.items()}
    for before, after in pairwise(chain):
        arrow(axes, boxes[before], boxes[after], GREY)
    for name, (source, target) in ways.items():
        for start, end in ((source, name), (name, target)):
            arrow(axes, boxes[start], boxes[end], QUANTITY["loop"], "arc3,rad=0.65")
        left, middle = place[name][0] - _WIDTH / 2 - 0.1, place[name][1]
        axes.text(left, middle, "one step\nlater", ha="right", va="center", color=QUANTITY["loop"])
    return figure


def _node(axes: Axes, x: float, y: float, name: str, node: Any) -> FancyBboxPatch:
    kind = type(node).__name__
    colour, line = _FRAMES.get(kind, (GREY, "-"))
    look = {"facecolor": "white", "edgecolor": colour, "linewidth": 2.2} if kind in _FRAMES else {}
    centre: dict[str, Any] = {"ha": "center", "va": "center"}
    axes.text(x, y + 0.3, kind, weight="bold", color=colour, **centre)
    axes.text(x, y - 0.22, name.replace("_recurrent", "\nrecurrent"), linespacing=0.9, **centre)
    axes.text(x, y - _HEIGHT / 2 - 0.1, _size(node), ha="center", va="top", color=GREY, linespacing=1.0)
    return box(axes, x, y, (_WIDTH, _HEIGHT), linestyle=line, **look)


def _size(node: Any) -> str:
    """Return the size of a node as text, a weight as outputs x inputs."""
    if hasattr(node, "weight"):
        return " x ".join(map(str, node.weight.shape)) + ("\n+ bias" if hasattr(node, "bias") else "")
    size = int(np.prod(next(iter(node.input_type.values()))))
    return f"{size}\nneurons" if type(node).__name__ in _FRAMES else f"{size}\nnumbers"


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
    """Return the rows of ``results/exchange.json`` as a Markdown table, without what a dialect does not change."""
    lines = []
    plain_nir = {
        (row["peer"], row["network"]): row.get("differing") for row in rows if row["dialect"] == "nir"
    }
    for row in rows:
        is_again = plain_nir.get((row["peer"], row["network"])) == row.get("differing", -1)
        if row["dialect"] not in (None, "nir") and is_again:
            continue
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
            reasons = ["soft and late", *reasons]
        why = "; ".join(reasons)
        lines.append([f"{_LIBRARIES[row['peer']]} {row['version']}", network, spikes, accuracy, why])
    head = [
        "library",
        "network",
        "hidden spikes that differ",
        "accuracy, ours and theirs",
        "why",
    ]
    align = ["left", "left", "right", "right", "left"]
    return tabulate(lines, head, "pipe", colalign=align, disable_numparse=True) + "\n"


def _short(error: str) -> str:
    return textwrap.shorten(error.replace("|", "/").replace("`", "'"), 90, placeholder=" …")
