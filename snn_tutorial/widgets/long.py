"""Choose how long ago a cue was, and see which networks still tell one from another."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ipywidgets import SelectionSlider, VBox
from matplotlib.figure import Figure

from snn_tutorial.plot.long import plane
from snn_tutorial.widgets import WIDE, explorer

#: The networks that are shown, a kind of memory each.
SHOWN = (
    "plain",
    "adaptive threshold",
    "stateful synapse",
    "feedback",
    "feedback, learned delays",
    "GRU",
)


def cue_explorer(inside: Mapping[str, Any], k: int | None = None) -> VBox:
    """Return a view of the states of trained networks with a choice of the steps since the cue.

    Args:
        inside: ``results/long_inside.json``.
        k: what is shown first, one of its ``after``; None takes the delay that the networks were trained on.

    Raises:
        ValueError: ``k`` is not one of these.
    """
    after = list(inside["after"])
    first = inside["delay"] if k is None else k
    if first not in after:
        raise ValueError(f"k must be one of {', '.join(map(str, after))}, got {first}")

    def draw(k: int) -> Figure:
        return plane(inside, k, SHOWN)

    slider = SelectionSlider(
        options=after, value=first, description="steps since the cue", style=WIDE, layout={"width": "95%"}
    )
    return explorer(
        draw,
        {"k": slider},
        alt="states of six trained networks in two dimensions, each point the number of its cue",
    )
