"""The front page's picture."""

from __future__ import annotations

from typing import Any

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Circle, FancyArrowPatch, FancyBboxPatch, Rectangle

from snn_tutorial.plot.style import RC, STYLE

#: Of lines and words that are no network's.
GREY = "#555555"


@plt.rc_context(RC | {"axes.grid": False})
def overview(image: np.ndarray) -> Figure:
    """Draw the front page's picture: an image read column by column, and what the three networks remember with.

    Args:
        image: one grey image ``[28, 28]``.
    """
    figure, (left, right) = plt.subplots(1, 2, figsize=(9, 3.6), width_ratios=(1, 2.1))
    _draw_reading(left, image, column=9)
    right.set_axis_off()
    right.set_xlim(0, 10)
    right.set_ylim(-0.9, 5.4)
    right.set_title("three ways to remember the columns before", fontsize=11)
    for row, (name, memory) in enumerate(
        {
            "plain": "remembers with its membranes only",
            "stateful-synapse": "synapses keep a decaying current",
            "feedback": "spikes come back one step later",
        }.items()
    ):
        _draw_network(right, 4.3 - 2 * row, name, memory)
    return figure


def _draw_reading(axes: Axes, image: np.ndarray, column: int) -> None:
    axes.imshow(image, cmap="gray_r")
    axes.axvspan(column + 0.5, 27.5, color="white", alpha=0.75, linewidth=0)
    axes.add_patch(Rectangle((column - 0.5, -0.5), 1, 28, fill=False, edgecolor="#D55E00", linewidth=2))
    axes.set_title(f"one column in each step (t = {column})", fontsize=11)
    axes.set_xlabel("column = time step t")
    axes.set_ylabel("pixel = input feature")
    axes.set_xticks([0, 9, 18, 27])
    axes.set_yticks([0, 9, 18, 27])


def _draw_network(axes: Axes, y: float, name: str, memory: str) -> None:
    """Draw input -> hidden -> read-out at height ``y``, with the part that this network adds."""
    colour = STYLE[name]["color"]
    stops = {"28 inputs": 0.9, "32 IF": 3.6, "10 IF": 6.3}
    for label, x in stops.items():
        axes.add_patch(Circle((x, y), 0.42, facecolor="white", edgecolor=colour, linewidth=1.8))
        axes.text(x, y - 0.52, label, ha="center", va="top", fontsize=9)
    for start, end in ((0.9, 3.6), (3.6, 6.3)):
        arrow(axes, (start + 0.45, y), (end - 0.45, y), colour, shrinkA=2, shrinkB=2)
    if name == "stateful-synapse":
        axes.add_patch(
            Rectangle((4.6, y - 0.26), 0.66, 0.52, facecolor="white", edgecolor=colour, linewidth=1.8)
        )
        axes.text(4.93, y, r"$\tau$", ha="center", va="center", color=colour)
    if name == "feedback":
        loop = {"connectionstyle": "arc3,rad=1.6", "shrinkA": 2, "shrinkB": 2}
        arrow(axes, (3.85, y + 0.38), (3.35, y + 0.38), colour, **loop)
    axes.text(7.1, y + 0.08, name, va="bottom", weight="bold", color=colour, fontsize=10)
    axes.text(7.1, y - 0.02, memory, va="top", fontsize=8)


def arrow(
    axes: Axes, start: tuple[float, float], end: tuple[float, float], colour: str, **style: Any
) -> None:
    """Draw an arrow from ``start`` to ``end``, in data units; ``style`` goes to matplotlib's FancyArrowPatch."""
    looks = {"arrowstyle": "-|>", "mutation_scale": 12, "linewidth": 1.8, "shrinkA": 0, "shrinkB": 0} | style
    axes.add_patch(FancyArrowPatch(start, end, color=colour, **looks))


def frame(
    axes: Axes, x: float, y: float, size: tuple[float, float], colour: str | None, width: float, **style: Any
) -> None:
    """Draw a frame with round corners about (x, y), in data units: white if it has a colour, else grey and thin.

    ``width`` is the line's where there is a colour; ``style`` goes to matplotlib's FancyBboxPatch.
    """
    axes.add_patch(
        FancyBboxPatch(
            (x - size[0] / 2, y - size[1] / 2),
            *size,
            boxstyle="round,pad=0,rounding_size=0.12",
            facecolor="#F4F4F4" if colour is None else "white",
            edgecolor=colour or GREY,
            linewidth=1.2 if colour is None else width,
            **style,
        )
    )
