"""Stateful synapses: what a filter makes of spikes, and how its time constant is learned."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.colors import LinearSegmentedColormap, ListedColormap
from matplotlib.figure import Figure

from snn_tutorial.plot.style import OKABE_ITO, QUANTITY, RC

#: The two filters that the chapter compares; line and marker tell them apart in black and white.
FILTER_STYLE: dict[str, dict[str, Any]] = {
    "synapse filter": {"color": QUANTITY["current"], "linestyle": "-", "marker": "o"},
    "low-pass": {"color": QUANTITY["threshold"], "linestyle": "--", "marker": "x"},
}

_SIZED = {"markersize": 4, "linewidth": 1.8}
_SPIKES = ListedColormap(["white", QUANTITY["spike"]])
#: Grey below 0, the colour of currents above it.
_CURRENT = LinearSegmentedColormap.from_list(
    "current", [(0, "#333333"), (0.5, "white"), (0.8, QUANTITY["current"]), (1, "#5B1F4A")]
)


def currents(s: Sequence[float], tau: float) -> dict[str, np.ndarray]:
    r"""Return the current of the synapse filter and that of a plain low-pass, each ``[T]``, for one input.

    .. math::
        \text{synapse filter:}\quad & I[t] = I[t-1] - (1 - s[t])\,\tfrac{1}{\tau}\,I[t-1] + s[t] \\
        \text{low-pass:}\quad       & I[t] = (1 - \tfrac{1}{\tau})\,I[t-1] + s[t]

    Args:
        s: spikes or any other input, ``[T]``.
        tau: time constant in steps.
    """
    runs: dict[str, list[float]] = {name: [] for name in FILTER_STYLE}
    synapse = low_pass = 0.0
    for x in s:
        synapse = synapse - (1 - x) * synapse / tau + x
        low_pass = (1 - 1 / tau) * low_pass + x
        runs["synapse filter"].append(synapse)
        runs["low-pass"].append(low_pass)
    return {name: np.array(run) for name, run in runs.items()}


@plt.rc_context(RC)
def traces(s: Sequence[float], both: Mapping[str, Sequence[float]], title: str = "") -> Figure:
    """Draw a spike train and, below it, what the filters make of it.

    Args:
        s: spikes, ``[T]``.
        both: a key of :data:`FILTER_STYLE` to its current, ``[T]``.
        title: text above.
    """
    steps = np.arange(len(s))
    figure, (top, bottom) = plt.subplots(2, 1, figsize=(6.5, 4), sharex=True, height_ratios=(1, 4))
    fired = steps[np.asarray(s) > 0]
    top.vlines(fired, 0, 1, color=QUANTITY["spike"], linewidth=2.5)
    top.set_yticks([])
    top.set_ylim(0, 1.1)
    top.set_ylabel("spikes\ns[t]", rotation=0, ha="right", va="center")
    top.grid(False)
    top.tick_params(bottom=False)
    bottom.vlines(fired, 0, 1, color=QUANTITY["spike"], alpha=0.15, transform=bottom.get_xaxis_transform())
    for name, current in both.items():
        bottom.plot(steps, current, label=name, **FILTER_STYLE[name], **_SIZED)
    bottom.set_xlabel("time step t")
    bottom.set_ylabel("synaptic current I[t]")
    bottom.set_xlim(-0.5, len(s) - 0.5)
    bottom.set_ylim(0, max(1.0, *(np.max(current) for current in both.values())) * 1.08)
    bottom.xaxis.get_major_locator().set_params(integer=True)
    top.set_title(title, loc="left", fontsize=11)
    top.legend(
        *bottom.get_legend_handles_labels(),
        loc="lower right",
        bbox_to_anchor=(1, 1),
        borderaxespad=0,
        ncols=len(both),
    )
    return figure


@plt.rc_context(RC | {"axes.grid": False})
def current_maps(spikes: np.ndarray, current: np.ndarray, steps: Sequence[int], name: str) -> Figure:
    """Draw the spikes of an image in some time steps, and the current of one channel in the same steps.

    Args:
        spikes: ``[T, H, W]``, 0 or 1.
        current: ``[T, H, W]``.
        steps: time steps to draw.
        name: what the current is of, for the label.
    """
    limit = np.abs(current[list(steps)]).max()
    figure, all_axes = plt.subplots(2, len(steps), figsize=(7, 3.3), squeeze=False)
    for (top, bottom), t in zip(all_axes.T, steps, strict=True):
        top.imshow(spikes[t], cmap=_SPIKES, vmin=0, vmax=1)
        top.set_title(f"t = {t}", fontsize=11)
        picture = bottom.imshow(current[t], cmap=_CURRENT, vmin=-limit, vmax=limit)
        for axes in (top, bottom):
            axes.set_xticks([])
            axes.set_yticks([])
            axes.spines[:].set(visible=True, color=QUANTITY["threshold"], linewidth=0.8)
    all_axes[0, 0].set_ylabel("input spikes")
    all_axes[1, 0].set_ylabel(f"current of\n{name}")
    figure.colorbar(picture, ax=all_axes, label="current I[t]", aspect=25)
    return figure


@plt.rc_context(RC)
def tau_fit(loss: Sequence[float], tau: Sequence[float], hidden_tau: float) -> Figure:
    """Draw a filter's time constant and its loss against the step of gradient descent.

    Args:
        loss: mean squared error before each step, ``[steps]``.
        tau: time constant before each step, ``[steps]``.
        hidden_tau: the one to be found.
    """
    figure, (top, bottom) = plt.subplots(2, figsize=(6, 4.2), sharex=True)
    top.plot(tau, color=QUANTITY["current"], linewidth=2)
    top.axhline(hidden_tau, color=QUANTITY["threshold"], linestyle=":", linewidth=1.5)
    top.text(0, hidden_tau * 0.97, "hidden time constant", va="top")
    top.set_ylim(0, None)
    top.set_ylabel("time constant\n(steps)")
    bottom.plot(loss, color=OKABE_ITO["orange"], linewidth=2)
    bottom.set_yscale("log")
    bottom.set_ylabel("loss (mean\nsquared error)")
    bottom.set_xlabel("step of gradient descent")
    figure.align_ylabels()
    return figure
