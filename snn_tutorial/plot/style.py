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

#: The networks; the line style tells them apart in black and white.
STYLE: dict[str, dict[str, Any]] = {
    "plain": {"color": OKABE_ITO["black"], "linestyle": ":"},
    "stateful-synapse": {"color": OKABE_ITO["vermilion"], "linestyle": "--"},
    "feedback": {"color": OKABE_ITO["blue"], "linestyle": "-"},
}

#: What flows through a neuron has one colour in every chapter.
QUANTITY: dict[str, str] = {
    "input": OKABE_ITO["green"],
    "membrane": OKABE_ITO["blue"],
    "spike": OKABE_ITO["vermilion"],
    "current": OKABE_ITO["purple"],
    "threshold": "#666666",
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
