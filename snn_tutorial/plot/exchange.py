"""Exchanged networks: a NIR graph as a drawing, and the table of other libraries."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from snn_tutorial.plot.networks import arrow, frame
from snn_tutorial.plot.style import GREY, NO_GRID, QUANTITY, WIDTH

if TYPE_CHECKING:
    import nir

__all__ = ["chain_of", "nir_graph", "peers_table", "ways_back"]

Place = tuple[float, float]

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
        ValueError: a node outside the chain does not lead from one node of the chain to another.
    """
    chain = chain_of(graph)
    place = {name: (_STEP * number, 0.0) for number, name in enumerate(chain)}
    ways = ways_back(graph, chain)
    for number, (name, (source, target)) in enumerate(ways.items()):
        place[name] = ((place[source][0] + place[target][0]) / 2, 2.5 + 0.4 * number)
    figure, axes = plt.subplots(figsize=(max(WIDTH, 1.2 * len(chain)), 3.2 if ways else 1.6))
    axes.set_axis_off()
    axes.set_aspect("equal")
    axes.set_xlim(-0.95, _STEP * (len(chain) - 1) + 0.95)
    axes.set_ylim(-1.45, max(y for _, y in place.values()) + 0.8)
    for before, after in pairwise(chain):
        arrow(axes, (place[before][0] + _WIDTH / 2, 0), (place[after][0] - _WIDTH / 2, 0), GREY)
    for name, (source, target) in ways.items():
        _way_back(axes, place[source], place[name], place[target])
    for name, (x, y) in place.items():
        _node(axes, x, y, name, graph.nodes[name])
    return figure


def chain_of(graph: nir.NIRGraph) -> list[str]:
    """Return the names of the nodes from "input" to "output".

    Raises:
        ValueError: the graph branches or ends elsewhere.
    """
    chain = ["input"]
    while chain[-1] != "output":
        targets = [target for source, target in graph.edges if source == chain[-1] and target not in chain]
        onward = [name for name in targets if not _leads_back(graph, name, chain)]
        if len(onward) != 1:
            raise ValueError(f"the graph must be a chain; after {chain[-1]!r} it goes on with {onward}")
        chain.append(onward[0])
    return chain


def _leads_back(graph: nir.NIRGraph, name: str, chain: Sequence[str]) -> bool:
    targets = [target for source, target in graph.edges if source == name]
    return bool(targets) and all(target in chain for target in targets)


def ways_back(graph: nir.NIRGraph, chain: Sequence[str]) -> dict[str, tuple[str, str]]:
    """Return the nodes outside the chain, each with the node it comes from and the one it leads to."""
    ways = {}
    for name in graph.nodes:
        if name not in chain:
            (source,) = (source for source, target in graph.edges if target == name)
            (target,) = (target for source, target in graph.edges if source == name)
            ways[name] = (source, target)
    return ways


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


def _node(axes: Axes, x: float, y: float, name: str, node: Any) -> None:
    kind = type(node).__name__
    colour, line = _FRAMES.get(kind, (GREY, "-"))
    frame(axes, x, y, (_WIDTH, _HEIGHT), colour if kind in _FRAMES else None, 2.2, linestyle=line)
    centre: dict[str, Any] = {"ha": "center", "va": "center"}
    axes.text(x, y + 0.3, kind, weight="bold", color=colour, **centre)
    axes.text(x, y - 0.22, name.replace("_recurrent", "\nrecurrent"), linespacing=0.9, **centre)
    axes.text(x, y - _HEIGHT / 2 - 0.1, _size(node), ha="center", va="top", color=GREY, linespacing=1.0)


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
_LATE = "soft reset, and spikes one step late"
_TWO = "a cycle of two nodes makes a graph in the graph that it cannot run"
_SUBTRACTS = "it subtracts the threshold, one step later; the file says a reset to 0"
_WEIGHTS = "the file sends the input through the recurrent weights, which the network does not"
#: Why, where it is not in the error: found in each library's source, and by the columns beside it.
_REASONS = {
    ("snntorch", "to", "feedback", "spyx"): _TWO,
    ("snntorch", "from", "subtract", None): _SUBTRACTS,
    ("spyx", "to", "plain", "nir"): _LATE,
    ("spyx", "to", "plain", "spyx"): _LATE,
    ("spyx", "to", "feedback", "nir"): "its importer follows the cycle without end",
    ("spyx", "to", "feedback", "spyx"): _LATE,
    ("spyx", "from", "if", None): f"{_LATE}; the file says a hard reset",
    ("spyx", "from", "recurrent", None): f"{_LATE}; {_WEIGHTS}",
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
        spikes, accuracy = row["outcome"], ""
        if "differing" in row:
            spikes = f"{row['differing']:,} of {row['chances']:,}"
            accuracy = f"{row['accuracy_ours']:.1%}, {row['accuracy_theirs']:.1%}"
        elif row["why"].startswith("TimeoutError"):
            spikes = "never ends"
        key = (row["peer"], row["direction"], row["network"], row["dialect"])
        why = _REASONS.get(key) or (f"`{_short(row['why'])}`" if "why" in row else "")
        if "differing_soft_and_late" in row:
            why += f"; if ours do so too, {row['differing_soft_and_late']:,} differ"
        library = f"{_LIBRARIES[row['peer']]} {row['version']}"
        lines.append(f"| {library} | {network} | {spikes} | {accuracy} | {why} |")
    return "\n".join(lines) + "\n"


def _short(text: str, length: int = 90) -> str:
    text = text.replace("|", "/").replace("`", "'")
    return text if len(text) <= length else text[: length - 1].rsplit(" ", 1)[0] + " …"
