"""Stateful synapses: what a filter makes of spikes, and of an image."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import torch
from matplotlib.colors import ListedColormap
from matplotlib.figure import Figure
from torch import Tensor

from snn_core.synapse import LowPassSynapse, SynapseFilter
from snn_tutorial.plot.neurons import draw_spikes
from snn_tutorial.plot.style import GREY, NO_GRID, PLUM, QUANTITY, RC, WIDTH, legend_above, ramp, stacked

#: The synapse filter, and what it is compared with.
_LOOKS: tuple[dict[str, Any], ...] = (
    {"color": QUANTITY["current"], "linestyle": "-", "marker": "o"},
    {"color": QUANTITY["threshold"], "linestyle": "--", "marker": "x"},
)
_SPIKES = ListedColormap(["white", QUANTITY["spike"]])
_CURRENT = ramp("current", (0, "white"), (0.6, QUANTITY["current"]), (1, PLUM))


def currents(s: Sequence[float], tau: float) -> dict[str, np.ndarray]:
    """Return the current of the synapse filter and that of the low-pass, each ``[T]``, for spikes ``[T]``."""
    s_seq = torch.tensor(s, dtype=torch.float64)[:, None]
    synapses = {"synapse filter": SynapseFilter(tau), "low-pass": LowPassSynapse(tau)}
    return {name: one.double().forward_sequence(s_seq)[:, 0].numpy() for name, one in synapses.items()}


@plt.rc_context(RC)
def traces(s: Sequence[float], both: Mapping[str, Sequence[float]], title: str = "") -> Figure:
    """Draw a spike train and, below it, what a synapse filter makes of it, and what something else does.

    Args:
        s: spikes, ``[T]``.
        both: label of the filter, and of what it is compared with, to their currents, ``[T]``.
        title: text above.
    """
    steps = np.arange(len(s))
    figure, (top, bottom) = stacked(2, 4, height_ratios=(1, 4))
    draw_spikes(top, np.asarray(s))
    top.set_title(title)
    bottom.vlines(
        np.flatnonzero(s), 0, 1, color=QUANTITY["spike"], alpha=0.15, transform=bottom.get_xaxis_transform()
    )
    for (name, current), look in zip(both.items(), _LOOKS, strict=True):
        bottom.plot(steps, current, label=name, markersize=4, linewidth=1.8, **look)
    highest = max(1.0, *(np.max(current) for current in both.values()))
    bottom.set(xlabel="time step t", ylabel="synaptic current I[t]", ylim=(0, 1.08 * highest))
    bottom.set_xlim(-0.5, len(s) - 0.5)
    bottom.xaxis.get_major_locator().set_params(integer=True)
    legend_above(figure, columns=2)
    return figure


@plt.rc_context(NO_GRID)
def noisy_pictures(rows: Mapping[str, Tensor], steps: Sequence[int]) -> Figure:
    """Draw pictures at some time steps, a row for each sequence of them.

    Args:
        rows: label of each row, "spikes" or a current, to ``[T, H, W]``. Each picture of a current goes from its
            smallest value, white, to its largest.
        steps: time steps to draw.
    """
    figure, all_axes = plt.subplots(
        len(rows), len(steps), figsize=(WIDTH, 0.3 + 1.4 * len(rows)), squeeze=False
    )
    for k, (label, seq) in enumerate(rows.items()):
        for axes, t in zip(all_axes[k], steps, strict=True):
            axes.imshow(seq[t], cmap=_SPIKES if label == "spikes" else _CURRENT)
            axes.set(xticks=[], yticks=[], title="" if k else f"t = {t}")
            axes.spines[:].set(visible=True, color=QUANTITY["threshold"], linewidth=0.8)
        all_axes[k, 0].set_ylabel(label)
    return figure


@plt.rc_context(NO_GRID)
def filter_places() -> Figure:
    """Draw three neurons that reach two others through weights, with a filter after the weights, or before them."""
    figure, panels = plt.subplots(1, 2, figsize=(WIDTH, 2.5))
    inputs, outputs = (-1.0, 0.0, 1.0), (-0.5, 0.5)
    titles = {"after the weights": outputs, "before the weights": inputs}
    for axes, (title, places) in zip(panels, titles.items(), strict=True):
        is_after = places == outputs
        left, right = (0.0, 2.2) if is_after else (0.8, 3.0)
        for y in inputs:
            for z in outputs:
                axes.plot([left, right], [y, z], color=GREY, linewidth=1.5, zorder=0)
        for start, stop, rows in ((0.0, left, inputs), (right, 3.0, outputs)):
            for y in rows:
                axes.plot([start, stop], [y, y], color=GREY, linewidth=1.5, zorder=0)
        axes.scatter([0] * 3, inputs, 190, color=QUANTITY["spike"])
        axes.scatter([3] * 2, outputs, 190, color="white", edgecolor=QUANTITY["membrane"], linewidth=2)
        axes.scatter([2.2 if is_after else 0.8] * len(places), places, 190, QUANTITY["current"], "s")
        axes.text((left + right) / 2, 1.25, "6 weights", ha="center")
        axes.text(
            2.2 if is_after else 0.8, -1.55, f"{len(places)} currents", ha="center", color=QUANTITY["current"]
        )
        axes.set(xlim=(-0.4, 3.4), ylim=(-1.7, 1.6), title=title)
        axes.set_axis_off()
    return figure


@plt.rc_context(RC)
def loss_curve(taus: Sequence[float], losses: Sequence[float]) -> Figure:
    """Draw the loss of a filter against its time constant."""
    figure, axes = plt.subplots(figsize=(WIDTH, 2.6))
    axes.plot(taus, losses, color=QUANTITY["current"])
    axes.set(xlabel=r"$\tau$ (steps)", ylabel="loss", xlim=(1, max(taus)), ylim=(0, None))
    return figure
