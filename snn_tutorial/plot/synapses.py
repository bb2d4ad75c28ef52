"""Where a stateful synapse keeps its currents."""

from __future__ import annotations

import matplotlib.pyplot as plt
from matplotlib.figure import Figure

from snn_tutorial.plot.style import GREY, NO_GRID, QUANTITY, WIDTH


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
