"""Choose how long ago a cue was, and see which networks still tell one from another."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from IPython.display import HTML

from snn_tutorial.live import view
from snn_tutorial.plot.long import plane

#: The networks that are shown, a kind of memory each.
SHOWN = (
    "plain",
    "adaptive threshold",
    "stateful synapse",
    "feedback",
    "feedback through a stateful synapse",
    "GRU",
)


def cue_explorer(inside: Mapping[str, Any], k: int | None = None) -> HTML:
    """Return a view of the states of trained networks with a choice of the steps since the cue.

    Args:
        inside: ``results/long_inside.json``.
        k: what is shown first, one of its ``after``; None takes the delay that the networks were trained on.

    Raises:
        ValueError: ``inside`` lacks one of the networks, or ``k`` is not one of its ``after``.
    """
    after = list(inside["after"])
    first = inside["delay"] if k is None else k
    if first not in after:
        raise ValueError(f"k must be one of {', '.join(map(str, after))}, got {first}")
    missing = [kind for kind in SHOWN if kind not in inside["networks"]]
    if missing:
        raise ValueError(f"inside has no networks {missing}")
    return view(
        "cue",
        {
            "after": after,
            "first": first,
            "symbols": list(inside["symbols"]),
            "networks": [_seen(kind, inside["networks"][kind]["trained"]) for kind in SHOWN],
        },
        plane(inside, first, SHOWN),
        "states of six trained networks in two dimensions, each point the number of its cue",
    )


def _seen(name: str, trained: Mapping[str, Any]) -> dict[str, Any]:
    """Return what is drawn of a network."""
    return {
        "name": name,
        "probe": [mean for mean, *_ in trained["held"]],
        "points": np.round(trained["plane"], 4).reshape(len(trained["plane"]), -1).tolist(),
    }
