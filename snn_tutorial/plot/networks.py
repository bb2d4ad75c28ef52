"""The three networks: how they are built, and what their neurons do."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from torch import Tensor, nn

from snn_tutorial.plot.overview import GREY, arrow, frame
from snn_tutorial.plot.style import QUANTITY, RC, STYLE
from snn_tutorial.probe import Activity

#: Where each layer stands in the drawing of the networks, in its data units.
_PLACE = {"x": 0.45, "fc1": 2.0, "rc": 3.75, "sn1": 5.5, "sy1": 7.2, "fc2": 8.9, "sn2": 10.5, "rate": 12.1}
_WIDTH, _HEIGHT = 1.12, 0.92
_ROW = 2.3  # from one network to the next
_MEMORY = {
    "plain": "remembers with the membrane potentials v[t]",
    "stateful-synapse": "remembers with v[t] and the synaptic currents I[t]",
    "feedback": "remembers with v[t] and the last spikes y[t-1]",
}


@plt.rc_context(RC | {"axes.grid": False})
def three_networks(nets: Mapping[str, nn.Module]) -> Figure:
    """Draw each network layer by layer, with sizes and numbers of parameters as they are in its modules.

    Args:
        nets: name of each network, one of :data:`sequential_fmnist.networks.NETWORKS`, to the network.
    """
    figure, axes = plt.subplots(figsize=(9, 1.66 * len(nets) + 0.05))
    axes.set_axis_off()
    axes.set_xlim(-0.2, 12.8)
    axes.set_ylim(-_ROW * (len(nets) - 1) - 0.85, 1.4)
    for row, (name, net) in enumerate(nets.items()):
        _draw_network(axes, -_ROW * row, name, net)
    return figure


def _draw_network(axes: Axes, y: float, name: str, net: nn.Module) -> None:
    colour = STYLE[name]["color"]
    total = sum(p.numel() for p in net.parameters())
    axes.text(-0.1, y + 1.02, f"{name}: {total:,} parameters", weight="bold", color=colour, fontsize=11)
    axes.text(12.6, y + 1.02, _MEMORY[name], ha="right", fontsize=9.5)
    hidden, recurrent = net.fc1.out_features, _first(net.sn1, "rc")
    labels = {"fc1": _linear(net.fc1), "sn1": f"IF\n{hidden}", "fc2": _linear(net.fc2)}
    labels["sn2"] = f"IF\n{net.fc2.out_features}"
    own = {}  # the part that only this network has
    if recurrent is not None:
        labels["rc"] = own["rc"] = _linear(recurrent)
    has_synapse = hasattr(net, "sy1")
    if has_synapse:
        labels["sy1"] = own["sy1"] = "Synapse\nfilter"
    counts = {key: part for key in ("fc1", "sy1", "fc2") if (part := getattr(net, key, None)) is not None}
    for key, label in labels.items():
        _box(axes, _PLACE[key], y, label, colour if key in own else None)
    for key, module in (counts | ({"rc": recurrent} if recurrent is not None else {})).items():
        number = sum(p.numel() for p in module.parameters())
        axes.text(_PLACE[key], y - 0.56, f"{number:,}", ha="center", va="top", fontsize=9, color=GREY)
    axes.text(_PLACE["x"], y, "$x[t]$", ha="center", va="center", fontsize=11)
    axes.text(
        _PLACE["x"], y - 0.25, f"{net.fc1.in_features} pixels", ha="center", va="top", fontsize=9, color=GREY
    )
    axes.text(_PLACE["rate"], y, "rate", ha="center", va="center", fontsize=11)
    _wires(axes, y, ["x", *(key for key in _PLACE if key in labels), "rate"])
    axes.text((_PLACE["sn2"] + _PLACE["rate"]) / 2 + 0.1, y + 0.12, "mean", ha="center", fontsize=9)
    signal = {"ha": "center", "va": "bottom", "fontsize": 9}
    axes.text((_PLACE["sn1"] + _PLACE["sy1"]) / 2, y + 0.12, "$y[t]$", **signal)
    if has_synapse:
        axes.text((_PLACE["sy1"] + _PLACE["fc2"]) / 2, y + 0.12, "$I[t]$", **signal)
    if recurrent is not None:
        _loop(axes, y, colour)


def _first(module: nn.Module, name: str) -> nn.Module | None:
    """Return the first module called ``name`` below ``module``."""
    found = (part for path, part in module.named_modules() if path.rpartition(".")[2] == name)
    return next(found, None)


def _linear(layer: nn.Linear) -> str:
    return f"Linear\n{layer.in_features} → {layer.out_features}"


def _box(axes: Axes, x: float, y: float, label: str, colour: str | None) -> None:
    frame(axes, x, y, (_WIDTH, _HEIGHT), colour, 2.4)
    axes.text(x, y, label, ha="center", va="center", fontsize=9, color=colour or "black", linespacing=1.4)


def _wires(axes: Axes, y: float, stops: Sequence[str]) -> None:
    half = {"x": 0.4, "rate": 0.38}
    for start, end in pairwise(stops):
        left = _PLACE[start] + half.get(start, _WIDTH / 2)
        arrow(axes, (left, y), (_PLACE[end] - half.get(end, _WIDTH / 2), y), GREY)


def _loop(axes: Axes, y: float, colour: str) -> None:
    """Draw the spikes' way back from the hidden neurons to the linear layer before them."""
    start, end, top = _PLACE["sn1"], _PLACE["rc"], y + 0.86
    axes.plot([start, start, end], [y + _HEIGHT / 2, top, top], color=colour, linewidth=1.8)
    arrow(axes, (end, top), (end, y + _HEIGHT / 2), colour)
    axes.text((start + end) / 2, top + 0.07, "$y[t-1]$", ha="center", va="bottom", fontsize=10, color=colour)


@plt.rc_context(RC | {"axes.grid": False, "font.size": 9})
def compare_activity(
    records: Mapping[str, Activity], image: Tensor, classes: Sequence[str], index: int = 0
) -> Figure:
    """Draw what several networks do with one image: a column for each, time from left to right everywhere.

    The membrane potential at the bottom belongs to the hidden neuron in the middle of those that fire, when they are
    sorted by their number of spikes.

    Args:
        records: name of each network to its record.
        image: what they saw, ``[H, T]`` in [0, 1].
        classes: name of each read-out neuron.
        index: number of the image in the records.
    """
    figure, rows = plt.subplots(
        4,
        len(records),
        figsize=(9, 8.4),
        height_ratios=(2.3, 2.0, 1.5, 1.4),
        sharex=True,
        sharey="row",
        squeeze=False,
    )
    for column, (name, record) in enumerate(records.items()):
        neuron = _typical(record.hidden_spikes[:, index])
        picture, hidden, read_out, trace = rows[:, column]
        _draw_image(picture, image)
        picture.set_title(name, fontsize=11, color=STYLE[name]["color"], weight="bold")
        _draw_raster(hidden, record.hidden_spikes[:, index], neuron)
        _draw_raster(read_out, record.read_out_spikes[:, index])
        read_out.set_yticks(range(len(classes)), classes)
        _draw_trace(trace, record, index, "hidden", neuron)
        trace.set_title(f"hidden neuron {neuron}", fontsize=9, loc="left")
        trace.set_xlabel("time step t")
    for axes, label in zip(
        rows[:, 0], ("pixel", "hidden neuron", "read-out neuron", "potential v,\ncurrent I"), strict=True
    ):
        axes.set_ylabel(label)
    figure.align_ylabels(rows[:, 0])
    legends = [axes.get_legend_handles_labels() for axes in rows[3]]
    longest = max(legends, key=lambda legend: len(legend[1]))
    figure.legend(*longest, loc="outside lower center", ncols=4, fontsize=9)
    return figure


@plt.rc_context(RC | {"axes.grid": False, "font.size": 10})
def activity(
    name: str,
    record: Activity,
    image: Tensor,
    classes: Sequence[str],
    index: int = 0,
    layer: str = "hidden",
    neuron: int = 0,
) -> Figure:
    """Draw what one network does with one image, and the membrane potential of one of its neurons.

    Args:
        name: of the network, for the title.
        record: what it did.
        image: what it saw, ``[H, T]`` in [0, 1].
        classes: name of each read-out neuron.
        index: number of the image in the record.
        layer: ``"hidden"`` or ``"read-out"``, where the neuron is.
        neuron: its number in the layer.

    Raises:
        ValueError: an unknown ``layer``.
    """
    if layer not in ("hidden", "read-out"):
        raise ValueError(f'layer must be "hidden" or "read-out", got {layer!r}')
    figure, ((picture, read_out), (hidden, trace)) = plt.subplots(2, 2, figsize=(9, 6), sharex=True)
    _draw_image(picture, image)
    picture.set_ylabel("pixel")
    _draw_raster(hidden, record.hidden_spikes[:, index], neuron if layer == "hidden" else None)
    hidden.set_ylabel("hidden neuron")
    _draw_raster(read_out, record.read_out_spikes[:, index], neuron if layer == "read-out" else None)
    read_out.set_yticks(range(len(classes)), classes)
    read_out.set_ylabel("read-out neuron")
    _draw_trace(trace, record, index, layer, neuron)
    has_current = layer == "hidden" and record.current is not None
    trace.set_ylabel("potential v, current I" if has_current else "membrane potential v")
    trace.set_title(f"{layer} neuron {neuron}", fontsize=10, loc="left")
    figure.legend(*trace.get_legend_handles_labels(), loc="outside lower center", ncols=4, fontsize=9)
    for axes in (hidden, trace):
        axes.set_xlabel("time step t")
    figure.suptitle(name, fontsize=11, color=STYLE[name]["color"], weight="bold")
    return figure


def _typical(spikes: Tensor) -> int:
    """Return the neuron in the middle of those that fire, by their number of spikes ``[T, n]``; 0 if none does."""
    counts = spikes.sum(0)
    firing = counts.argsort(stable=True)[int((counts == 0).sum()) :]
    return int(firing[len(firing) // 2]) if len(firing) else 0


def _draw_image(axes: Axes, image: Tensor) -> None:
    axes.imshow(image.numpy(), cmap="gray_r", vmin=0, vmax=1, aspect="auto")
    axes.set_yticks([0, 9, 18, 27])
    axes.set_xticks([0, 7, 14, 21, 27])


def _draw_raster(axes: Axes, spikes: Tensor, marked: int | None = None) -> None:
    """Draw spikes ``[T, n]`` as one row of ticks for each neuron, with a band behind neuron ``marked``."""
    axes.eventplot(
        [np.flatnonzero(neuron) for neuron in spikes.T.numpy()],
        colors=QUANTITY["spike"],
        linelengths=0.8,
        linewidths=1.6,
    )
    if marked is not None:
        axes.axhspan(marked - 0.5, marked + 0.5, color="#DDDDDD", linewidth=0, zorder=0)
    axes.set_ylim(spikes.shape[1] - 0.5, -0.5)
    axes.set_yticks(range(0, spikes.shape[1], 10 if spikes.shape[1] > 10 else 3))


def _draw_trace(axes: Axes, record: Activity, index: int, layer: str, neuron: int) -> None:
    hidden = layer == "hidden"
    v, spikes = (
        (record.hidden_v, record.hidden_spikes) if hidden else (record.read_out_v, record.read_out_spikes)
    )
    axes.axhline(1, color=QUANTITY["threshold"], linestyle=":", linewidth=1.2, label="threshold")
    axes.plot(
        v[:, index, neuron].numpy(), color=QUANTITY["membrane"], linewidth=1.6, label="membrane potential v"
    )
    if hidden and record.current is not None:
        current = record.current[:, index, neuron].numpy()
        axes.plot(
            current, color=QUANTITY["current"], linestyle="--", linewidth=1.8, label="synaptic current I"
        )
    fired = np.flatnonzero(spikes[:, index, neuron].numpy())
    axes.plot(
        fired,
        np.ones(len(fired)),
        linestyle="",
        marker="|",
        markersize=9,
        markeredgewidth=2,
        color=QUANTITY["spike"],
        label="spike",
    )
