"""Stateful synapses: what a filter makes of spikes, and of an image."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import torch
from matplotlib.colors import ListedColormap
from matplotlib.figure import Figure

from snn_core.synapse import LowPassSynapse, SynapseFilter
from snn_tutorial.plot.neurons import draw_spikes
from snn_tutorial.plot.style import NO_GRID, PLUM, QUANTITY, RC, WIDTH, legend_above, ramp, stacked

#: The synapse filter, and what it is compared with.
_LOOKS: tuple[dict[str, Any], ...] = (
    {"color": QUANTITY["current"], "linestyle": "-", "marker": "o"},
    {"color": QUANTITY["threshold"], "linestyle": "--", "marker": "x"},
)
_SPIKES = ListedColormap(["white", QUANTITY["spike"]])
#: Grey below 0, the colour of currents above it.
_CURRENT = ramp("current", (0, "#333333"), (0.5, "white"), (0.8, QUANTITY["current"]), (1, PLUM))


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
def current_maps(spikes: np.ndarray, current: np.ndarray, steps: Sequence[int], name: str) -> Figure:
    """Draw the spikes of an image in some time steps, and the current of one channel in the same steps.

    Args:
        spikes: ``[T, H, W]``, 0 or 1.
        current: ``[T, H, W]``.
        steps: time steps to draw.
        name: what the current is of, for the label.
    """
    limit = np.abs(current[list(steps)]).max()
    figure, all_axes = plt.subplots(2, len(steps), figsize=(WIDTH, 2.9))
    for (top, bottom), t in zip(all_axes.T, steps, strict=True):
        top.imshow(spikes[t], cmap=_SPIKES, vmin=0, vmax=1)
        top.set_title(f"t = {t}")
        picture = bottom.imshow(current[t], cmap=_CURRENT, vmin=-limit, vmax=limit)
        for axes in (top, bottom):
            axes.set(xticks=[], yticks=[])
            axes.spines[:].set(visible=True, color=QUANTITY["threshold"], linewidth=0.8)
    all_axes[0, 0].set_ylabel("input spikes")
    all_axes[1, 0].set_ylabel(f"current of\n{name}")
    figure.colorbar(picture, ax=all_axes, label="current I[t]", aspect=25)
    return figure
