"""The gradient through time: surrogates, how far it reaches back, and where it grows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import matplotlib.pyplot as plt
import numpy as np
import torch
from matplotlib.figure import Figure
from torch import Tensor

from snn_core.surrogate import SurrogateFunction, heaviside
from snn_tutorial.plot.style import (
    BROWN,
    NAVY,
    NO_GRID,
    OKABE_ITO,
    QUANTITY,
    RC,
    STYLE,
    WIDTH,
    legend_above,
    stacked,
)
from snn_tutorial.plot.training import WAYS

#: Of surrogate functions, none of which has the colour of a quantity.
_LOOKS = [
    {"color": OKABE_ITO["orange"], "linestyle": "-"},
    {"color": OKABE_ITO["sky blue"], "linestyle": "--"},
    {"color": BROWN, "linestyle": "-."},
    {"color": "#7F7F7F", "linestyle": ":"},
    {"color": NAVY, "linestyle": (0, (5, 1, 1, 1))},
]


@plt.rc_context(RC)
def staircase(values: np.ndarray, losses: Sequence[float], now: float) -> Figure:
    """Draw the loss of one image for each of the values of one weight, which is ``now`` in the network."""
    figure, axes = plt.subplots(figsize=(WIDTH, 3.2))
    axes.plot(values, losses, ".", markersize=3, color=OKABE_ITO["orange"])
    axes.margins(y=0.12)
    axes.axvline(now, color=QUANTITY["threshold"], linestyle="--", linewidth=1.2)
    axes.text(now, 1, " the weight now", va="top", transform=axes.get_xaxis_transform())
    axes.set(xlabel="value of one weight", ylabel="loss of one image")
    return figure


@plt.rc_context(RC)
def surrogates(functions: Sequence[SurrogateFunction]) -> Figure:
    """Draw up to five functions g(x) over the step that they approximate, and below them their derivatives g'(x)."""
    x = torch.linspace(-2, 2, 801)
    figure, (above, below) = stacked(2, 5.6)
    above.plot(x, heaviside(x).numpy(), color="#BBBBBB", linewidth=5, label="Heaviside step")
    for function, look in zip(functions, _LOOKS, strict=False):
        label = f"{type(function).__name__}, alpha = {function.alpha:g}"
        above.plot(x, function.primitive(x).numpy(), linewidth=1.8, label=label, **look)
        below.plot(x, function.derivative(x).numpy(), linewidth=1.8, **look)
    above.set_ylabel("g(x)")
    below.set(ylabel="g'(x)", xlabel="distance to the threshold, x = h - v_threshold")
    legend_above(figure, columns=2)
    return figure


@plt.rc_context(RC)
def gradient_spread(norms: Mapping[str, Tensor]) -> Figure:
    """Draw how much the gradient that reaches a column differs from image to image.

    Args:
        norms: name of each network to the norms for each column and image, ``[T, N]``. Images without any gradient
            at the last column are left out.
    """
    figure, panels = stacked(len(norms), 2.1 * len(norms) + 1, sharey=True)
    for axes, (name, values) in zip(panels, norms.items(), strict=True):
        colour, values = STYLE[name]["color"], values[:, values[-1] > 0]
        low, middle, high = np.quantile(values.numpy(), (0.25, 0.5, 0.75), axis=1)
        steps = np.arange(len(middle))
        axes.fill_between(
            steps, low, high, color=colour, alpha=0.2, linewidth=0, label="middle half of images"
        )
        axes.plot(middle, color=colour, linewidth=1.8, label="median image")
        axes.plot(values.max(1).values.numpy(), color=colour, linestyle=":", linewidth=1.8, label="largest")
        axes.set(title=name, yscale="log", ylabel="G[t]", xticks=[0, 7, 14, 21, 27])
    axes.set_xlabel("column t")
    legend_above(figure, columns=3)
    return figure


@plt.rc_context(RC)
def step_norms(norms: Mapping[str, Sequence[float]]) -> Figure:
    """Draw the norm of the gradient in each training step of the feedback network, a panel for each way to train it."""
    figure, panels = stacked(len(norms), 1.9 * len(norms) + 0.4, sharey=True)
    looks = [STYLE["feedback"], *WAYS]
    for axes, (name, values), look in zip(panels, norms.items(), looks, strict=False):
        axes.plot(values, ".", markersize=3, color=look["color"])
        axes.axhline(float(np.median(values)), color=QUANTITY["threshold"], linestyle="--", linewidth=1.4)
        axes.set(title=name, yscale="log", ylabel="norm")
    axes.set_xlabel("training step")
    return figure


@plt.rc_context(RC)
def stretch(found: Mapping[str, Tensor]) -> Figure:
    """Draw the largest stretch of a product of factors against their number.

    Args:
        found: ``"cut"`` and other ways to the stretch for each number of factors and image, ``[steps, N]``.
    """
    figure, axes = plt.subplots()
    for (name, values), look in zip(found.items(), [STYLE["feedback"], WAYS[1]], strict=False):
        steps, colour = np.arange(1, len(values) + 1), look["color"]
        middle, largest = values.median(1).values.numpy(), values.max(1).values.numpy()
        axes.plot(steps, middle, color=colour, linewidth=1.8, label=f"{name}, median")
        axes.plot(steps, largest, ":", color=colour, linewidth=1.8, label=f"{name}, largest")
    axes.set(yscale="log", xlabel="number of time steps back", ylabel="largest stretch of a gradient")
    legend_above(figure, columns=2)
    return figure


@plt.rc_context(RC)
def collapse(shares: Sequence[float], norms: Sequence[float], update: int) -> Figure:
    """Draw the norm of the gradient in each update of an epoch, and the accuracy before and after each.

    Args:
        shares: accuracies as fractions, one more than updates.
        norms: of the gradient of each update.
        update: the one that is marked.
    """
    figure, (above, below) = stacked(2, 4.6)
    look = {"color": STYLE["feedback"]["color"]}
    above.plot(norms, ".", markersize=4, **look)
    above.plot(update, norms[update], "o", markersize=8, color=OKABE_ITO["orange"])
    above.set(yscale="log", ylabel="norm of the gradient")
    below.plot(100 * np.asarray(shares), linewidth=1.8, **look)
    below.axvline(update, color=OKABE_ITO["orange"], linestyle="--", linewidth=1.4)
    below.set(ylabel="test accuracy (%)", xlabel="update of the epoch", ylim=(0, 100))
    return figure


@plt.rc_context(NO_GRID)
def by_neuron(found: Mapping[str, Tensor]) -> Figure:
    """Draw the size of a gradient for each hidden neuron and time step, ``[T, hidden]``, a panel for each way."""
    figure, panels = stacked(len(found), 2.6 * len(found) + 0.4)
    powers = {name: values.abs().clamp(min=1e-30).log10().T.numpy() for name, values in found.items()}
    high = int(np.ceil(max(each.max() for each in powers.values())))
    for axes, (name, each) in zip(panels, powers.items(), strict=True):
        drawn = axes.imshow(each, vmin=high - 7, vmax=high, aspect="auto", interpolation="nearest")
        axes.set(title=name, ylabel="hidden neuron", xticks=[0, 7, 14, 21, 27])
    panels[-1].set_xlabel("time step")
    figure.colorbar(drawn, ax=panels, label="size of the gradient, power of 10")
    return figure
