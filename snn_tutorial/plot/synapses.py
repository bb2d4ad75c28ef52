"""Stateful synapses: what a filter makes of spikes, how its time constant is learned, and where state sits."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Circle, FancyBboxPatch

from snn_tutorial.plot.overview import arrow
from snn_tutorial.plot.style import OKABE_ITO, QUANTITY, RC

#: The two filters that the chapter compares; line and marker tell them apart in black and white.
FILTER_STYLE: dict[str, dict[str, Any]] = {
    "synapse filter": {"color": QUANTITY["current"], "linestyle": "-", "marker": "o"},
    "low-pass": {"color": OKABE_ITO["black"], "linestyle": "--", "marker": "x"},
}

_SIZED = {"markersize": 4, "linewidth": 1.8}

# Edge and face of what holds each kind of state in the picture of a network.
_MEMBRANE = (QUANTITY["membrane"], "#E8E8E8")
_SPIKE = (QUANTITY["spike"], "#F9E0D0")
_CURRENT = (QUANTITY["current"], "#F3E1EB")


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
    figure, (top, bottom) = plt.subplots(2, 1, figsize=(8, 4), sharex=True, height_ratios=(1, 4))
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


@plt.rc_context(RC)
def superposition(responses: Mapping[str, tuple[Sequence[float], Sequence[float]]]) -> Figure:
    """Draw, for each filter, the response to two trains together beside the sum of the responses to each alone.

    Args:
        responses: a key of :data:`FILTER_STYLE` to the pair (together, sum), each ``[T]``.
    """
    figure, all_axes = plt.subplots(1, len(responses), figsize=(8, 2.9), sharey=True, squeeze=False)
    for axes, (name, (together, alone)) in zip(all_axes[0], responses.items(), strict=True):
        if not np.allclose(together, alone):
            steps = np.arange(len(alone))
            axes.fill_between(
                steps, alone, together, color=OKABE_ITO["orange"], alpha=0.35, label="difference"
            )
        axes.plot(together, label=r"$F(s_a + s_b)$", **FILTER_STYLE[name], **_SIZED)
        axes.plot(alone, "s", color="#666666", markerfacecolor="none", label=r"$F(s_a) + F(s_b)$")
        axes.set_title(name, fontsize=11)
        axes.set_xlabel("time step t")
        axes.xaxis.get_major_locator().set_params(integer=True)
        axes.legend(fontsize=9)
    all_axes[0, 0].set_ylabel("synaptic current I[t]")
    return figure


@plt.rc_context(RC)
def mean_current(
    p: Sequence[float], simulated: Mapping[str, tuple[Sequence[float], Sequence[float]]], tau: float
) -> Figure:
    r"""Draw the mean current against the probability of a spike: what was derived, and what a simulation gives.

    .. math:: E[I] = \tau\,\frac{p}{1-p} \text{ (synapse filter)}, \qquad E[I] = \tau\,p \text{ (low-pass)}

    Args:
        p: probabilities that were simulated, ``[P]``.
        simulated: a key of :data:`FILTER_STYLE` to the pair (mean, half width of its confidence interval), ``[P]``.
        tau: time constant in steps.
    """
    fine = np.linspace(0.02, 0.96, 200)
    derived = {"synapse filter": tau * fine / (1 - fine), "low-pass": tau * fine}
    formula = {"synapse filter": r"$\tau p\,/\,(1-p)$", "low-pass": r"$\tau p$"}
    figure, axes = plt.subplots(figsize=(7, 3.8))
    for name, (mean, half_width) in simulated.items():
        style = FILTER_STYLE[name]
        axes.plot(
            fine,
            derived[name],
            color=style["color"],
            linestyle=style["linestyle"],
            label=f"{name}: {formula[name]}",
        )
        axes.errorbar(
            p,
            mean,
            half_width,
            color=style["color"],
            marker=style["marker"],
            linestyle="none",
            capsize=4,
            label=f"{name}: simulated",
        )
    axes.axhline(tau, color=QUANTITY["threshold"], linewidth=1, linestyle=":")
    axes.text(0.02, tau * 1.07, r"$\tau$", color=QUANTITY["threshold"])
    axes.set_yscale("log")
    axes.yaxis.set_major_formatter(lambda value, _: f"{value:g}")
    axes.set_xlim(0, 1)
    axes.set_xlabel("probability p of a spike in each step")
    axes.set_ylabel("mean current E[I]")
    axes.legend(fontsize=9)
    return figure


@plt.rc_context(RC)
def half_lives(taus: Sequence[float], half_life: Sequence[float]) -> Figure:
    r"""Draw the current after a single spike, :math:`(1 - 1/\tau)^t`, and mark where half of it is left.

    Args:
        taus: time constants in steps, up to five.
        half_life: silent steps after which half is left, one for each tau.
    """
    colours = [OKABE_ITO[name] for name in ("black", "blue", "green", "vermilion", "purple")]
    t = np.geomspace(0.5, 6 * max(half_life), 300)
    figure, axes = plt.subplots(figsize=(8, 3.4))
    axes.axhline(0.5, color=QUANTITY["threshold"], linewidth=1, linestyle=":")
    for tau, half, colour, marker in zip(taus, half_life, colours, "osD^v", strict=False):
        axes.plot(t, (1 - 1 / tau) ** t, color=colour, linewidth=1.8)
        axes.plot(half, 0.5, marker, color=colour, markersize=8)
        steps = "step" if half == 1 else "steps"
        text = rf"$\tau$ = {tau:g}:" + f"\n{half:.3g} {steps}"
        axes.annotate(text, (half, 0.5), (10, 4), textcoords="offset points", color=colour, fontsize=10)
    axes.set_xscale("log")
    axes.xaxis.set_major_formatter(lambda value, _: f"{value:g}")
    axes.set_xlim(t[0], t[-1])
    axes.set_ylim(0, 1.05)
    axes.set_xlabel("silent time steps after a spike")
    axes.set_ylabel("part of the current left")
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
    figure, all_axes = plt.subplots(2, len(steps), figsize=(9, 3.7), squeeze=False)
    for (top, bottom), t in zip(all_axes.T, steps, strict=True):
        top.imshow(spikes[t], cmap="gray_r", vmin=0, vmax=1)
        top.set_title(f"t = {t}", fontsize=11)
        picture = bottom.imshow(current[t], cmap="PuOr", vmin=-limit, vmax=limit)
        for axes in (top, bottom):
            axes.set_xticks([])
            axes.set_yticks([])
            axes.spines[:].set(visible=True, color=QUANTITY["threshold"], linewidth=0.8)
    all_axes[0, 0].set_ylabel("input spikes")
    all_axes[1, 0].set_ylabel(f"current of\n{name}")
    figure.colorbar(picture, ax=all_axes, label="current I[t]", aspect=25)
    return figure


@plt.rc_context(RC)
def constant_inputs(runs: Mapping[float, Mapping[str, Sequence[float]]]) -> Figure:
    """Draw what the filters make of inputs that stay the same, one panel for each.

    Args:
        runs: the constant input x to, for each key of :data:`FILTER_STYLE`, its current ``[T]``.
    """
    figure, all_axes = plt.subplots(1, len(runs), figsize=(9, 2.9), sharey=True, squeeze=False)
    for axes, (x, both) in zip(all_axes[0], runs.items(), strict=True):
        for name, current in both.items():
            style = FILTER_STYLE[name]
            axes.plot(current, color=style["color"], linestyle=style["linestyle"], linewidth=2, label=name)
        axes.set_title(f"x = {x:g} in every step", fontsize=11)
        axes.set_xlabel("time step t")
    all_axes[0, 0].set_ylabel("current I[t]")
    all_axes[0, 0].legend(fontsize=9)
    return figure


@plt.rc_context(RC)
def tau_fit(
    loss: Sequence[float],
    tau: Sequence[float],
    hidden_tau: float,
    landscape: tuple[Sequence[float], Sequence[float]],
) -> Figure:
    """Draw a filter's time constant while it is learned: loss and tau against the step, and the loss against tau.

    Args:
        loss: mean squared error before each step, ``[steps]``.
        tau: time constant before each step, ``[steps]``.
        hidden_tau: the one to be found.
        landscape: time constants and the loss of each, to draw the loss as a function of tau.
    """
    line = {"color": QUANTITY["current"], "linewidth": 2}
    goal = {"color": QUANTITY["threshold"], "linestyle": ":", "linewidth": 1.5}
    figure, (left, middle, right) = plt.subplots(1, 3, figsize=(9.5, 3.2))
    left.plot(loss, **line)
    left.set_yscale("log")
    left.set_ylabel("loss (mean squared error)")
    middle.plot(tau, **line)
    middle.axhline(hidden_tau, **goal)
    middle.text(len(tau) - 1, hidden_tau * 0.97, "hidden tau", ha="right", va="top", fontsize=9)
    middle.set_ylim(0, None)
    middle.set_ylabel("time constant tau (steps)")
    for axes in (left, middle):
        axes.set_xlabel("step of gradient descent")
    right.plot(*landscape, color=OKABE_ITO["black"], linewidth=1.2)
    right.plot(tau, loss, "o", color=QUANTITY["current"], markersize=5)
    right.axvline(hidden_tau, **goal)
    right.set_xlabel("time constant tau (steps)")
    right.set_ylabel("loss (mean squared error)")
    for axes, title in ((left, "loss"), (middle, "tau"), (right, "loss against tau")):
        axes.set_title(title, fontsize=11)
    return figure


@plt.rc_context(RC)
def channel_fit(tau: np.ndarray, hidden_tau: Sequence[float], shared: Sequence[float]) -> Figure:
    """Draw one time constant for each channel while they are learned, and the one that all channels would share.

    Args:
        tau: time constant of each channel before each step, ``[steps, C]``, up to five channels.
        hidden_tau: the ones to be found, ``[C]``.
        shared: time constant that a filter with a single one has before each step, ``[steps]``.
    """
    colours = [OKABE_ITO[name] for name in ("blue", "sky blue", "green", "orange", "vermilion")]
    figure, axes = plt.subplots(figsize=(7, 3.8))
    for channel, (found, goal) in enumerate(zip(tau.T, hidden_tau, strict=True)):
        axes.axhline(goal, color=QUANTITY["threshold"], linestyle=":", linewidth=1.2)
        axes.plot(found, color=colours[channel], linewidth=2)
        axes.annotate(
            f"channel {channel}", (len(found) - 1, found[-1]), (6, 0), textcoords="offset points"
        ).set_va("center")
    axes.plot(shared, color=OKABE_ITO["black"], linestyle="--", linewidth=1.5)
    axes.annotate(
        "one tau for all", (len(shared) - 1, shared[-1]), (6, 0), textcoords="offset points"
    ).set_va("center")
    axes.set_yscale("log")
    axes.set_yticks(hidden_tau, [f"{goal:g}" for goal in hidden_tau])
    axes.minorticks_off()
    axes.grid(False)
    axes.set_xlim(0, len(shared))
    axes.set_xlabel("step of gradient descent")
    axes.set_ylabel("time constant tau (steps)")
    return figure


@plt.rc_context(RC | {"axes.grid": False})
def srnn() -> Figure:
    """Draw a recurrent network of spiking neurons and mark every place that keeps state from one step to the next."""
    figure, axes = plt.subplots(figsize=(9, 4.3))
    axes.set_xlim(0, 18)
    axes.set_ylim(-0.3, 8.3)
    axes.set_aspect("equal")
    axes.set_axis_off()
    _layer(axes, 1.2, "input", "x[t]", ("#888888", "white"))
    _layer(axes, 7.2, "recurrent layer", "v", _MEMBRANE)
    _layer(axes, 16.0, "read-out", "v", _MEMBRANE)
    _box(axes, 7.2, 7.3, "y[t-1]", _SPIKE)
    _box(axes, 11.0, 3.5, r"$\tau$:  I[t]", _CURRENT)
    _arrow(axes, (2.0, 3.5), (6.3, 3.5), "weights")
    _arrow(axes, (8.1, 3.5), (9.65, 3.5))
    axes.text(9.1, 3.25, "y[t]", ha="center", va="top", fontsize=10)
    _arrow(axes, (12.35, 3.5), (15.1, 3.5), "weights")
    _arrow(axes, (8.9, 3.5), (8.55, 7.3), connectionstyle="angle,angleA=90,angleB=0,rad=6")
    _arrow(axes, (5.85, 7.3), (5.5, 3.6), connectionstyle="angle,angleA=180,angleB=90,rad=6")
    axes.text(5.3, 5.5, "recurrent\nweights", ha="right", va="center", fontsize=10)
    for x, (edge, face), name, text in (
        (4.0, _MEMBRANE, "membrane state v", "one for each neuron"),
        (9.0, _SPIKE, "last spikes y[t-1]", "kept by the recurrent container"),
        (14.2, _CURRENT, "synapse state I[t]", "one for each filtered line"),
    ):
        frame = {"boxstyle": "round,pad=0.25", "facecolor": face, "edgecolor": edge, "linewidth": 1.5}
        axes.text(x, 0.72, name, ha="center", weight="bold", fontsize=10, bbox=frame)
        axes.text(x, -0.1, text, ha="center", fontsize=9)
    return figure


def _layer(axes: Axes, x: float, label: str, inside: str, colours: tuple[str, str]) -> None:
    edge, face = colours
    for y in (1.9, 3.5, 5.1):
        axes.add_patch(Circle((x, y), 0.68, facecolor=face, edgecolor=edge, linewidth=1.8, zorder=2))
        axes.text(x, y, inside, ha="center", va="center", fontsize=10, zorder=3)
    axes.text(x, 5.95, label, ha="center", va="bottom", fontsize=10, weight="bold")


def _box(axes: Axes, x: float, y: float, text: str, colours: tuple[str, str]) -> None:
    edge, face = colours
    axes.add_patch(
        FancyBboxPatch(
            (x - 1.2, y - 0.5),
            2.4,
            1.0,
            boxstyle="round,pad=0.1",
            facecolor=face,
            edgecolor=edge,
            linewidth=1.8,
        )
    )
    axes.text(x, y, text, ha="center", va="center", fontsize=11)


def _arrow(
    axes: Axes, start: tuple[float, float], end: tuple[float, float], text: str = "", **style: Any
) -> None:
    arrow(axes, start, end, "black", mutation_scale=13, linewidth=1.5, **style)
    if text:
        axes.text((start[0] + end[0]) / 2, start[1] + 0.2, text, ha="center", va="bottom", fontsize=10)
