"""Colours, line styles and settings that all figures share."""

from __future__ import annotations

from typing import Any

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

#: The networks; the line style tells them apart in black and white.
STYLE: dict[str, dict[str, Any]] = {
    "plain": {"color": QUANTITY["membrane"], "linestyle": ":"},
    "stateful-synapse": {"color": QUANTITY["current"], "linestyle": "--"},
    "feedback": {"color": QUANTITY["loop"], "linestyle": "-"},
    "gru": {"color": OKABE_ITO["orange"], "linestyle": "-."},
    "lstm": {"color": OKABE_ITO["sky blue"], "linestyle": (0, (5, 1, 1, 1, 1, 1))},
}

RC: dict[str, Any] = {
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.alpha": 0.3,
    "figure.constrained_layout.use": True,
    "font.size": 11,
    "legend.frameon": False,
    "savefig.dpi": 160,
}
