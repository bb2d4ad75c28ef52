"""The front page's picture, and the boxes and arrows that drawings of networks share."""

from __future__ import annotations

from typing import Any

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Circle, FancyArrowPatch, FancyBboxPatch, Rectangle

from snn_tutorial.plot.style import GREY, NO_GRID, QUANTITY, STYLE, WIDTH

_COLUMN = 9  # the column that is read
_LAYERS = {"28": 0.6, "32": 3.2, "10": 5.8}  # number of inputs or neurons, and where they stand
_MEMORY = {
    "plain": "membrane potentials only",
    "stateful-synapse": "currents that decay",
    "feedback": "spikes return a step later",
}


@plt.rc_context(NO_GRID)
def overview(image: np.ndarray) -> Figure:
    """Draw the front page's picture: an image read column by column, and what the three networks remember with.

    Args:
        image: one grey image ``[28, 28]``.
    """
    figure, (left, right) = plt.subplots(1, 2, figsize=(WIDTH, 3.4), width_ratios=(1, 1.6))
    left.imshow(image)
    left.axvspan(_COLUMN + 0.5, 27.5, color="white", alpha=0.75, linewidth=0)
    frame_of_column = Rectangle((_COLUMN - 0.5, -0.5), 1, 28, fill=False, edgecolor=QUANTITY["input"])
    left.add_patch(frame_of_column).set_linewidth(2.5)
    left.set_title("one column in each step")
    left.set(xlabel="column = time step t", ylabel="pixel", xticks=(0, 9, 18, 27), yticks=(0, 9, 18, 27))
    right.set_axis_off()
    right.set(xlim=(0, 6.6), ylim=(-1.3, 5.3), aspect="equal")
    for y, (name, memory) in zip((4.1, 2.25, 0.0), _MEMORY.items(), strict=True):
        _draw_network(right, y, name, memory)
    right.text(3.2, -0.7, "inputs, hidden and output neurons", ha="center", va="top", color=GREY)
    return figure


def _draw_network(axes: Axes, y: float, name: str, memory: str) -> None:
    """Draw inputs -> hidden -> output neurons at height ``y``, with the part that this network adds."""
    colour = STYLE[name]["color"]
    for label, x in _LAYERS.items():
        axes.add_patch(Circle((x, y), 0.45, facecolor="white", edgecolor=colour, linewidth=1.8))
        axes.text(x, y, label, ha="center", va="center")
    for start, end in ((0.6, 3.2), (3.2, 5.8)):
        arrow(axes, (start + 0.5, y), (end - 0.5, y), colour)
    if name == "stateful-synapse":
        axes.add_patch(Rectangle((4.1, y - 0.3), 0.7, 0.6, facecolor="white", edgecolor=colour, zorder=3))
        axes.text(4.45, y, r"$\tau$", ha="center", va="center", color=colour, zorder=4)
    if name == "feedback":
        loop = {"connectionstyle": "arc3,rad=1.7"}
        arrow(axes, (3.45, y + 0.42), (2.95, y + 0.42), colour, **loop)
    above = 1.0 if name == "feedback" else 0.6
    axes.text(0.1, y + above, name, va="bottom", weight="bold", color=colour)
    axes.text(6.5, y + above, memory, va="bottom", ha="right")


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
