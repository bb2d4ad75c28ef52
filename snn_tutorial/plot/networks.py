"""The three networks: how they are built, and what their neurons do."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import FancyBboxPatch
from torch import Tensor, nn

from snn_tutorial.plot.style import GREY, NO_GRID, QUANTITY, STYLE, WIDTH, legend_above
from snn_tutorial.probe import Activity, record

#: The layers from the top to the bottom of a drawing, and where each stands.
_PLACE = {"x": 8.0, "fc1": 6.9, "rc": 5.7, "sn1": 4.5, "sy1": 3.3, "fc2": 2.1, "sn2": 1.0, "rate": 0.0}
_SIZE = (2.45, 0.8)  # of a box
_COLUMN = 3.0  # from one network to the next


def box(axes: Axes, x: float, y: float, size: tuple[float, float], **look: Any) -> FancyBboxPatch:
    """Draw a box with round corners about (x, y), in data units, grey and thin if ``look`` does not say otherwise."""
    look = {"facecolor": "#F4F4F4", "edgecolor": GREY, "linewidth": 1.2} | look
    corner = (x - size[0] / 2, y - size[1] / 2)
    return axes.add_patch(FancyBboxPatch(corner, *size, boxstyle="round,pad=0,rounding_size=0.12", **look))


def arrow(axes: Axes, start: FancyBboxPatch, end: FancyBboxPatch, colour: str, way: str = "arc3") -> None:
    """Draw an arrow from one box to another, on a way that matplotlib knows as a connection style."""
    centres = [
        (one.get_x() + one.get_width() / 2, one.get_y() + one.get_height() / 2) for one in (end, start)
    ]
    look = {"arrowstyle": "-|>", "color": colour, "linewidth": 1.8, "shrinkA": 0, "shrinkB": 0}
    look |= {"patchA": start, "patchB": end, "connectionstyle": way}  # which end the arrow at the boxes
    axes.annotate("", *centres, arrowprops=look)


@plt.rc_context(NO_GRID)
def three_networks(nets: Mapping[str, nn.Module]) -> Figure:
    """Draw each network layer by layer, with sizes and numbers of parameters as they are in its modules.

    Args:
        nets: name of each network, one of :data:`sequential_fmnist.networks.TUTORIAL_NETWORKS`, to the network.
    """
    figure, axes = plt.subplots(figsize=(WIDTH, 7.4))
    axes.set_axis_off()
    axes.set(xlim=(-1.65, _COLUMN * len(nets) - 1.75), ylim=(-0.3, 9.1))
    for column, (name, net) in enumerate(nets.items()):
        _draw_network(axes, _COLUMN * column, name, net)
    return figure


@plt.rc_context(NO_GRID)
def recurrent_network(layers: int = 2) -> Figure:
    """Draw a recurrent spiking network, once with its loops and once unrolled over three time steps."""
    figure, axes = plt.subplots(figsize=(WIDTH, 3.2))
    axes.set_axis_off()
    axes.set(xlim=(-2.8, 9.8), ylim=(-0.3, 1.5 * layers + 2.3))
    steps = {0.0: "", 4.1: "t-1", 6.5: "t", 8.9: "t+1"}
    columns = []
    for x, t in steps.items():
        labels = {
            f"$x[{t or 't'}]$": False,
            **{f"spiking\nlayer {k}": True for k in range(1, layers + 1)},
            "output": False,
        }
        column = [
            box(axes, x, 1.5 * k, (1.5, 0.9 if is_box else 0.5), visible=is_box)
            for k, is_box in enumerate(labels.values())
        ]
        for k, label in enumerate(labels):
            axes.text(x, 1.5 * k, label, ha="center", va="center")
        for start, end in pairwise(column):
            arrow(axes, start, end, GREY)
        columns.append(column)
    loop = QUANTITY["loop"]
    look = {"arrowstyle": "-|>", "color": loop, "linewidth": 1.8, "connectionstyle": "arc3,rad=-1.7"}
    for k in range(1, layers + 1):
        axes.annotate("", (-0.72, 1.5 * k + 0.27), (-0.72, 1.5 * k - 0.27), arrowprops=look)
        axes.text(-1.4, 1.5 * k, "$y[t-1]$", ha="right", va="center", color=loop)
    for before, after in pairwise(columns[1:]):
        for start, end in zip(before[1:-1], after[1:-1], strict=True):
            arrow(axes, start, end, loop)
    top = 1.5 * layers + 2.2
    axes.text(0, top, "with its loops", ha="center", va="top", weight="bold")
    axes.text(6.5, top, "unrolled in time", ha="center", va="top", weight="bold")
    return figure


def _draw_network(axes: Axes, x: float, name: str, net: nn.Module) -> None:
    colour = STYLE[name]["color"]
    recurrent = next((part for path, part in net.named_modules() if path.endswith(".rc")), None)
    shared = {"fc1": net.fc1, "fc2": net.fc2}
    own = {"rc": recurrent, "sy1": getattr(net, "sy1", None)}  # the part that only this network has
    own = {key: part for key, part in own.items() if part is not None}
    labels = {"x": f"$x[t]$: {net.fc1.in_features} pixels", "rate": "firing rate"}
    labels |= {"sn1": f"{net.fc1.out_features} IF neurons", "sn2": f"{net.fc2.out_features} IF neurons"}
    for key, part in (shared | own).items():
        kind = f"Linear {part.in_features} → {part.out_features}" if key != "sy1" else "synapse filter"
        number = sum(p.numel() for p in part.parameters())
        labels[key] = f"{kind}\n{number:,} parameter{'s' * (number > 1)}"
    boxes = {}
    for key in (key for key in _PLACE if key in labels):
        is_own, is_text = key in own, key in ("x", "rate")
        look = {"facecolor": "white"} | ({"edgecolor": colour, "linewidth": 2.4} if is_own else {})
        look |= {"visible": False} if is_text else {}
        boxes[key] = box(axes, x, _PLACE[key], (_SIZE[0], _SIZE[1] / (1 + is_text)), **look)
        label_colour = colour if is_own else "black"
        axes.text(x, _PLACE[key], labels[key], ha="center", va="center", color=label_colour)
    for start, end in pairwise(boxes.values()):
        arrow(axes, start, end, GREY)
    axes.text(x + 0.1, _PLACE["sn1"] - 0.6, "$y[t]$", va="center")
    axes.text(x + 0.1, _PLACE["rate"] + 0.42, "mean over t", va="center")
    if "sy1" in own:
        axes.text(x + 0.1, _PLACE["sy1"] - 0.6, "$I[t]$", va="center", color=colour)
    if "rc" in own:
        arrow(axes, boxes["sn1"], boxes["rc"], colour, "bar,fraction=-1.1")
        axes.text(x - 1.45, (_PLACE["sn1"] + _PLACE["rc"]) / 2, "$y[t-1]$", va="center", color=colour)
    total = sum(p.numel() for p in net.parameters())
    axes.text(x, 9.0, name.replace("-", " "), ha="center", va="top", weight="bold", color=colour)
    axes.text(x, 8.68, f"{total:,} parameters", ha="center", va="top")


@plt.rc_context(NO_GRID)
def compare_activity(nets: Mapping[str, nn.Module], image: Tensor, classes: Sequence[str]) -> Figure:
    """Draw what networks do with one image: a column for each, time from left to right everywhere.

    The membrane potential at the bottom belongs to the hidden neuron in the middle of those that fire, when they are
    sorted by their number of spikes.

    Args:
        nets: name of each network, one of :data:`sequential_fmnist.networks.TUTORIAL_NETWORKS`, to the network.
        image: ``[1, H, T]`` in [0, 1].
        classes: name of each output neuron.
    """
    figure, rows = plt.subplots(
        4, len(nets), figsize=(WIDTH, 8), height_ratios=(1.6, 2, 2, 1.4),
        sharex=True, sharey="row", squeeze=False,
    )  # fmt: skip
    for column, (name, net) in enumerate(nets.items()):
        activity = record(net, image[None])
        spikes = activity.hidden_spikes[:, 0]
        neuron = typical(spikes)
        picture, hidden, output, trace = rows[:, column]
        picture.imshow(image[0].numpy(), vmin=0, vmax=1, aspect="auto")
        picture.set_title(name.replace("-", " "), loc="center", color=STYLE[name]["color"], weight="bold")
        picture.set(xticks=[0, 9, 18, 27], yticks=[0, 9, 18, 27])
        _draw_raster(hidden, spikes)
        hidden.plot(-1.5, neuron, ">", color=QUANTITY["membrane"], clip_on=False)
        hidden.set_yticks(range(0, spikes.shape[1], 10))
        _draw_raster(output, activity.read_out_spikes[:, 0])
        output.set_yticks(range(len(classes)), classes)
        _draw_trace(trace, activity, neuron)
        trace.set_xlabel("time step t")
    for axes, label in zip(rows[:, 0], ("pixel", "hidden", "output", "one neuron"), strict=True):
        axes.set_ylabel(label)
    figure.align_ylabels(rows[:, 0])
    legend_above(figure, columns=2)
    return figure


def typical(spikes: Tensor) -> int:
    """Return the neuron in the middle of those that fire, by their spikes ``[T, n]``; any one if none does."""
    counts = spikes.sum(0).float()
    return int(counts.masked_fill(counts == 0, torch.nan).nanmedian(0).indices)


def _draw_raster(axes: Axes, spikes: Tensor) -> None:
    """Draw spikes ``[T, n]`` as one row of ticks for each neuron."""
    places = [np.flatnonzero(neuron) for neuron in spikes.T.numpy()]
    axes.eventplot(places, colors=QUANTITY["spike"], linelengths=0.8, linewidths=1.6)
    axes.set_ylim(spikes.shape[1] - 0.5, -0.5)


def _draw_trace(axes: Axes, activity: Activity, neuron: int) -> None:
    """Draw the potential of a hidden neuron, its spikes and, with a stateful synapse, the current that it causes."""
    axes.axhline(1, color=QUANTITY["threshold"], linestyle=":", linewidth=1.2, label="threshold")
    v = activity.hidden_v[:, 0, neuron].numpy()
    axes.plot(v, color=QUANTITY["membrane"], linewidth=1.6, label="membrane potential v")
    if activity.current is not None:
        current = activity.current[:, 0, neuron].numpy()
        axes.plot(
            current, color=QUANTITY["current"], linestyle="--", linewidth=1.8, label="synaptic current I"
        )
    fired = np.flatnonzero(activity.hidden_spikes[:, 0, neuron].numpy())
    ticks = {"linestyle": "", "marker": "|", "markersize": 9, "markeredgewidth": 2, "label": "spike"}
    axes.plot(fired, np.ones(len(fired)), color=QUANTITY["spike"], **ticks)
