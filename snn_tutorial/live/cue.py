"""Choose how long ago a cue was, and see which networks still tell one from another."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from IPython.display import HTML

from snn_tutorial.live import view
from snn_tutorial.plot.fair import plane


def cue_explorer(inside: Mapping[str, Any]) -> HTML:
    """Return a view of the states of trained networks with a choice of the steps since the cue.

    It starts at the distance that the networks were trained on.

    Args:
        inside: ``results/fair_inside.json``.
    """
    first = inside["distance"]
    return view(
        "cue",
        {
            "after": inside["after"],
            "first": first,
            "symbols": list(inside["symbols"]),
            "networks": [
                {"name": name, "probe": network["held"], "points": network["plane"]}
                for name, network in inside["networks"].items()
            ],
        },
        plane(inside, first, list(inside["networks"])),
        "states of six trained networks in two dimensions, each point the number of its cue",
    )
