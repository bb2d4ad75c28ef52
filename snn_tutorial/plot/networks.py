"""The three networks: how they are built, what their neurons do, and how far back their gradients reach."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise

import matplotlib.pyplot as plt
import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from torch import Tensor, nn

from snn_core.surrogate import SurrogateFunction, heaviside
from snn_tutorial.plot.overview import GREY, arrow, frame
from snn_tutorial.plot.style import OKABE_ITO, QUANTITY, RC, STYLE
from snn_tutorial.probe import Activity

#: The layers from the top to the bottom of a drawing, and where each stands.
_PLACE = {"x": 8.0, "fc1": 6.9, "rc": 5.7, "sn1": 4.5, "sy1": 3.3, "fc2": 2.1, "sn2": 1.0, "rate": 0.0}
_SIZE = (2.25, 0.8)  # of a box
_COLUMN = 3.0  # from one network to the next
_LINES = ("-", "--", "-.", ":", (0, (5, 1, 1, 1, 1, 1)))
_COLOURS = [OKABE_ITO[name] for name in ("blue", "vermilion", "black", "green", "purple")]


@plt.rc_context(RC | {"axes.grid": False})
def three_networks(nets: Mapping[str, nn.Module]) -> Figure:
    """Draw each network layer by layer, with sizes and numbers of parameters as they are in its modules.

    Args:
        nets: name of each network, one of :data:`sequential_fmnist.networks.NETWORKS`, to the network.
    """
    figure, axes = plt.subplots(figsize=(7, 7.4))
    axes.set_axis_off()
    axes.set(xlim=(-1.6, _COLUMN * len(nets) - 1.75), ylim=(-0.3, 9.1))
    for column, (name, net) in enumerate(nets.items()):
        _draw_network(axes, _COLUMN * column, name, net)
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
    for key, label in labels.items():
        y = _PLACE[key]
        if key not in ("x", "rate"):
            frame(axes, x, y, _SIZE, colour if key in own else None, 2.4)
        axes.text(x, y, label, ha="center", va="center", color=colour if key in own else "black")
    for start, end in pairwise(key for key in _PLACE if key in labels):
        gaps = [0.2 if key in ("x", "rate") else _SIZE[1] / 2 for key in (start, end)]
        arrow(axes, (x, _PLACE[start] - gaps[0]), (x, _PLACE[end] + gaps[1]), GREY)
    axes.text(x + 0.1, _PLACE["sn1"] - 0.6, "$y[t]$", va="center")
    axes.text(x + 0.1, _PLACE["rate"] + 0.42, "mean over t", va="center")
    if "sy1" in own:
        axes.text(x + 0.1, _PLACE["sy1"] - 0.6, "$I[t]$", va="center", color=colour)
    if "rc" in own:
        _draw_loop(axes, x, colour)
    total = sum(p.numel() for p in net.parameters())
    axes.text(x, 9.0, name, ha="center", va="top", weight="bold", color=colour)
    axes.text(x, 8.68, f"{total:,} parameters", ha="center", va="top")


def _draw_loop(axes: Axes, x: float, colour: str) -> None:
    """Draw the spikes' way back from the hidden neurons to the linear layer before them."""
    edge, far, start, end = x - _SIZE[0] / 2, x - _SIZE[0] / 2 - 0.3, _PLACE["sn1"], _PLACE["rc"]
    axes.plot([edge, far, far], [start, start, end], color=colour, linewidth=1.8)
    arrow(axes, (far, end), (edge, end), colour)
    axes.text(far + 0.07, (start + end) / 2, "$y[t-1]$", va="center", color=colour)


@plt.rc_context(RC)
def staircase(values: np.ndarray, losses: np.ndarray, now: float) -> Figure:
    """Draw a loss against one weight, everything else fixed.

    Args:
        values: values of the weight, ``[n]``.
        losses: loss for each value, ``[n]``.
        now: the value that the weight has.
    """
    figure, axes = plt.subplots(figsize=(6.4, 3.2))
    axes.plot(values, losses, ".", markersize=3, color=OKABE_ITO["blue"])
    axes.margins(y=0.12)
    axes.axvline(now, color=QUANTITY["threshold"], linestyle="--", linewidth=1.2, label="the weight now")
    axes.legend(fontsize=9, loc="upper left")
    axes.set_xlabel("value of one weight")
    axes.set_ylabel("loss of one image")
    return figure


@plt.rc_context(RC)
def surrogates(functions: Sequence[SurrogateFunction]) -> Figure:
    """Draw surrogate functions g(x) beside the step that they approximate, and their derivatives g'(x).

    Args:
        functions: up to five surrogate functions.
    """
    x = torch.linspace(-2, 2, 801)
    figure, (left, right) = plt.subplots(1, 2, figsize=(9, 3.6))
    left.plot(x, heaviside(x).numpy(), color="#BBBBBB", linewidth=5, label="Heaviside step")
    for function, line, colour in zip(functions, _LINES, _COLOURS, strict=False):
        label = f"{type(function).__name__}, alpha = {function.alpha:g}"
        left.plot(x, function.primitive(x).numpy(), linestyle=line, color=colour, linewidth=1.8)
        right.plot(
            x, function.derivative(x).numpy(), linestyle=line, color=colour, linewidth=1.8, label=label
        )
    left.set_ylim(-0.15, 1.15)
    left.set_ylabel("g(x)")
    right.set_ylabel("g'(x)")
    for axes in (left, right):
        axes.set_xlabel("distance to the threshold, x = h - v_threshold")
    left.legend(fontsize=9, loc="upper left")
    right.set_ylim(top=1.55)
    right.legend(fontsize=9, loc="upper left", ncols=1)
    return figure


@plt.rc_context(RC | {"axes.grid": False})
def compare_activity(
    records: Mapping[str, Activity], image: Tensor, classes: Sequence[str], index: int = 0
) -> Figure:
    """Draw what networks do with one image: a column for each, time from left to right everywhere.

    The membrane potential at the bottom belongs to the hidden neuron in the middle of those that fire, when they are
    sorted by their number of spikes.

    Args:
        records: name of each network to its record.
        image: what they saw, ``[H, T]`` in [0, 1].
        classes: name of each output neuron.
        index: number of the image in the records.
    """
    figure, rows = plt.subplots(
        4,
        len(records),
        figsize=(7, 9),
        height_ratios=(1.6, 2, 2, 1.4),
        sharex=True,
        sharey="row",
        squeeze=False,
    )
    for column, (name, record) in enumerate(records.items()):
        spikes = record.hidden_spikes[:, index]
        neuron = _typical(spikes)
        picture, hidden, output, trace = rows[:, column]
        picture.imshow(image.numpy(), cmap="gray_r", vmin=0, vmax=1, aspect="auto")
        picture.set_title(name, fontsize=11, color=STYLE[name]["color"], weight="bold")
        picture.set(xticks=[0, 9, 18, 27], yticks=[0, 9, 18, 27])
        _draw_raster(hidden, spikes)
        hidden.axhspan(neuron - 0.5, neuron + 0.5, color="#DDDDDD", linewidth=0, zorder=0)
        hidden.set_yticks(range(0, spikes.shape[1], 10))
        _draw_raster(output, record.read_out_spikes[:, index])
        output.set_yticks(range(len(classes)), classes)
        _draw_trace(trace, record, index, neuron)
        trace.set_xlabel("time step t")
    for axes, label in zip(
        rows[:, 0], ("pixel", "hidden neuron", "output neuron", "one neuron"), strict=True
    ):
        axes.set_ylabel(label)
    figure.align_ylabels(rows[:, 0])
    legends = [axes.get_legend_handles_labels() for axes in rows[3]]
    figure.legend(*max(legends, key=lambda legend: len(legend[1])), loc="outside lower center", ncols=2)
    return figure


def _typical(spikes: Tensor) -> int:
    """Return the neuron in the middle of those that fire, by their number of spikes ``[T, n]``; 0 if none does."""
    counts = spikes.sum(0)
    firing = counts.argsort(stable=True)[int((counts == 0).sum()) :]
    return int(firing[len(firing) // 2]) if len(firing) else 0


def _draw_raster(axes: Axes, spikes: Tensor) -> None:
    """Draw spikes ``[T, n]`` as one row of ticks for each neuron."""
    places = [np.flatnonzero(neuron) for neuron in spikes.T.numpy()]
    axes.eventplot(places, colors=QUANTITY["spike"], linelengths=0.8, linewidths=1.6)
    axes.set_ylim(spikes.shape[1] - 0.5, -0.5)


def _draw_trace(axes: Axes, record: Activity, index: int, neuron: int) -> None:
    """Draw the potential of a hidden neuron, its spikes and, with a stateful synapse, the current that it causes."""
    axes.axhline(1, color=QUANTITY["threshold"], linestyle=":", linewidth=1.2, label="threshold")
    v = record.hidden_v[:, index, neuron].numpy()
    axes.plot(v, color=QUANTITY["membrane"], linewidth=1.6, label="membrane potential v")
    if record.current is not None:
        current = record.current[:, index, neuron].numpy()
        axes.plot(
            current, color=QUANTITY["current"], linestyle="--", linewidth=1.8, label="synaptic current I"
        )
    fired = np.flatnonzero(record.hidden_spikes[:, index, neuron].numpy())
    ticks = {"linestyle": "", "marker": "|", "markersize": 9, "markeredgewidth": 2, "label": "spike"}
    axes.plot(fired, np.ones(len(fired)), color=QUANTITY["spike"], **ticks)


def _label_columns(axes: Axes, title: str) -> None:
    axes.set_title(title, fontsize=11)
    axes.set_xlabel("column t")
    axes.set_xticks([0, 7, 14, 21, 27])


def _label_gradients(figure: Figure) -> None:
    """Name the vertical axis of a row of panels, and put one legend for all of them below."""
    figure.axes[0].set_ylabel("gradient norm |dL/dx[t]|")
    handles = figure.axes[-1].get_legend_handles_labels()
    figure.legend(*handles, loc="outside lower center", ncols=3, fontsize=9)


@plt.rc_context(RC | {"font.size": 10})
def gradient_profiles(
    panels: Mapping[str, Mapping[str, Tensor]], log: bool = True, cut: int | None = None
) -> Figure:
    """Draw the norm of a loss's gradient against the column that it is taken for.

    Args:
        panels: title of each panel to its curves: a name to the norms of the columns, ``[T]``.
        log: whether the vertical axis is logarithmic; the panels then share it.
        cut: column before which the history was cut; None draws no line there.
    """
    figure, all_axes = plt.subplots(1, len(panels), figsize=(9, 3.6), sharey=log, squeeze=False)
    for axes, (title, curves) in zip(all_axes[0], panels.items(), strict=True):
        for position, (name, norms) in enumerate(curves.items()):
            style = STYLE.get(name, {"color": _COLOURS[position], "linestyle": _LINES[position]})
            axes.plot(norms.numpy(), label=name, linewidth=1.8, **style)
        if log:
            axes.set_yscale("log")
        else:
            axes.set_ylim(bottom=0)
        if cut is not None:
            axes.axvline(cut - 0.5, color=QUANTITY["threshold"], linestyle=":", linewidth=1.2)
        _label_columns(axes, title)
    _label_gradients(figure)
    return figure


@plt.rc_context(RC | {"font.size": 10})
def gradient_spread(norms: Mapping[str, Tensor]) -> Figure:
    """Draw how much the gradient that reaches a column differs from image to image.

    Args:
        norms: name of each network to the norms for each column and image, ``[T, N]``. Images without any gradient
            at the last column are left out.
    """
    figure, all_axes = plt.subplots(1, len(norms), figsize=(9, 3.6), sharey=True, squeeze=False)
    for axes, (name, values) in zip(all_axes[0], norms.items(), strict=True):
        colour, values = STYLE[name]["color"], values[:, values[-1] > 0]
        low, middle, high = np.quantile(values.numpy(), (0.25, 0.5, 0.75), axis=1)
        steps = np.arange(len(middle))
        axes.fill_between(steps, low, high, color=colour, alpha=0.2, linewidth=0, label="half of the images")
        axes.plot(middle, color=colour, linewidth=1.8, label="median image")
        axes.plot(values.max(1).values.numpy(), color=colour, linestyle=":", linewidth=1.8, label="largest")
        axes.set_yscale("log")
        _label_columns(axes, name)
    _label_gradients(figure)
    return figure


@plt.rc_context(RC | {"font.size": 10})
def step_norms(norms: Mapping[str, Sequence[float]]) -> Figure:
    """Draw the norm of the gradient of all weights against the training step.

    Args:
        norms: name of each network, or of each way to train it, to the norm in every step.
    """
    figure, all_axes = plt.subplots(1, len(norms), figsize=(9, 3.2), sharey=True, squeeze=False)
    for axes, (name, values), own in zip(all_axes[0], norms.items(), _COLOURS, strict=False):
        colour = "#999999" if name == "plain" else STYLE.get(name, {"color": own})["color"]
        axes.plot(values, ".", markersize=3, color=colour)
        median = float(np.median(values))
        axes.axhline(median, color="black", linestyle="--", linewidth=1.4)
        axes.set_yscale("log")
        axes.set_title(f"{name}\nmedian {median:.2f}, largest {max(values):.2f}", fontsize=10)
        axes.set_xlabel("training step")
    all_axes[0, 0].set_ylabel("gradient norm of all weights")
    return figure


@plt.rc_context(RC)
def stretch(found: Mapping[str, Tensor]) -> Figure:
    """Draw by how much the product of a loop's factors stretches at most, against the number of factors.

    Args:
        found: name of each curve to the stretch for each number of factors and image, ``[steps, N]``.
    """
    figure, axes = plt.subplots(figsize=(6.4, 3.4))
    for (name, values), colour in zip(found.items(), _COLOURS, strict=False):
        steps = np.arange(1, len(values) + 1)
        axes.plot(
            steps, values.median(1).values.numpy(), color=colour, linewidth=1.8, label=f"{name}, median"
        )
        axes.plot(
            steps,
            values.max(1).values.numpy(),
            color=colour,
            linestyle=":",
            linewidth=1.8,
            label=f"{name}, largest",
        )
    axes.set_yscale("log")
    axes.set_xlabel("number of time steps back")
    axes.set_ylabel("largest stretch of a gradient")
    axes.legend(fontsize=9, loc="upper left")
    return figure
