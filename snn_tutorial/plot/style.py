"""Colours, line styles and settings that all figures share."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import matplotlib
import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

#: Eight colours that stay apart in every form of colour blindness: M. Okabe, K. Ito, "Color universal design", 2008.
OKABE_ITO: dict[str, str] = {
    "black": "#000000",
    "orange": "#E69F00",
    "sky blue": "#56B4E9",
    "green": "#009E73",
    "yellow": "#F0E442",
    "blue": "#0072B2",
    "vermilion": "#D55E00",
    "purple": "#CC79A7",
}

#: One colour for one thing, in every chapter, figure and view. A network has the colour of what its memory is in.
QUANTITY: dict[str, str] = {
    "input": OKABE_ITO["green"],
    "membrane": OKABE_ITO["black"],
    "spike": OKABE_ITO["vermilion"],
    "current": OKABE_ITO["purple"],
    "loop": OKABE_ITO["blue"],
    "threshold": "#666666",
}

#: Of lines and words that are no quantity's.
GREY = "#555555"
BROWN, NAVY = "#8C564B", "#17365D"

#: The networks; the line style tells them apart in black and white.
STYLE: dict[str, dict[str, Any]] = {
    "plain": {"color": QUANTITY["membrane"], "linestyle": ":"},
    "stateful-synapse": {"color": QUANTITY["current"], "linestyle": "--"},
    "feedback": {"color": QUANTITY["loop"], "linestyle": "-"},
    "gru": {"color": OKABE_ITO["orange"], "linestyle": "-."},
    "lstm": {"color": OKABE_ITO["sky blue"], "linestyle": (0, (5, 1, 1, 1, 1, 1))},
}

RC: dict[str, Any] = dict(
    matplotlib.rc_params_from_file(Path(__file__).with_name("tutorial.mplstyle"), use_default_template=False)
)
#: Of every figure, in inches.
WIDTH: float = RC["figure.figsize"][0]
#: Of pictures and drawings.
NO_GRID: dict[str, Any] = RC | {"axes.grid": False}


def stacked(panels: int, height: float, **options: Any) -> tuple[Figure, list[Axes]]:
    """Return a figure, ``height`` inches high, and its panels, one below the other on the same x axis."""
    figure, axes = plt.subplots(panels, figsize=(WIDTH, height), sharex=True, squeeze=False, **options)
    return figure, list(axes[:, 0])


def legend_above(figure: Figure, columns: int) -> None:
    """Put one legend for all panels above them, where it hides no curve; what panels share is in it once."""
    found: dict[str, Any] = {}
    for axes in figure.axes:
        for handle, label in zip(*axes.get_legend_handles_labels(), strict=True):
            found.setdefault(label, handle)
    figure.legend(found.values(), found.keys(), loc="outside upper center", ncols=columns)


def drawn(figure: Figure, dpi: int) -> np.ndarray:
    """Return ``figure`` as pixels, ``[height, width, 3]`` from 0 to 255, and close it."""
    figure.set_dpi(dpi)
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    plt.close(figure)
    return np.array(canvas.buffer_rgba())[..., :3]
