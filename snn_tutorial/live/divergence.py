"""Two runs of a network side by side: which spike differs first, and what the neuron holds then."""

from __future__ import annotations

import html
from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
from IPython.display import HTML

from snn_tutorial.live import floats, packed, started

__all__ = ["Run", "first_difference", "side_by_side"]


class Run(NamedTuple):
    """What neurons do in a run, by its name: their spikes, and their potentials after each step, ``[T, N, size]``."""

    name: str
    spikes: np.ndarray
    potentials: np.ndarray


def first_difference(here: Run, there: Run, image: int) -> tuple[int, int] | None:
    """Return the step and the neuron of the first spike that differs; None if none does."""
    differs = here.spikes[:, image] != there.spikes[:, image]
    if not differs.any():
        return None
    step = int(differs.any(1).argmax())
    return step, int(differs[step].argmax())


def side_by_side(changes: Mapping[str, tuple[Run, Run]], threshold: float = 1.0) -> HTML:
    """Return a view of pairs of runs, each by the name of what has changed between them, for the same images."""
    data, said = [], []
    for name, (here, there) in changes.items():
        steps, images, neurons = here.spikes.shape
        places = [first_difference(here, there, image) for image in range(images)]
        traces = np.zeros((2, images, steps))
        for image, place in enumerate(places):
            for run, of in enumerate((here, there)):
                traces[run, image] = of.potentials[:, image, place[1] if place else 0]
        data.append(
            {
                **{"name": name, "here": here.name, "there": there.name, "first": places},
                "spikes": packed(here.spikes + 2 * there.spikes),
                "traces": [floats(trace) for trace in traces],
            }
        )
        if places[0]:
            said.append(f"{name}: the first difference is in step {places[0][0]}, neuron {places[0][1]}.")
    sizes = {"steps": steps, "images": images, "neurons": neurons, "threshold": threshold}
    inside = f'<p class="snn-static">{html.escape(" ".join(said))}</p>'
    return started("divergence", {"changes": data, **sizes}, inside)
