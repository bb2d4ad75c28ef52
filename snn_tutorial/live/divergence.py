"""Two runs of a network side by side: which spike differs first, and what the neuron holds then."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
from IPython.display import HTML

from snn_tutorial.live.frames import Text, around, frames, line, squares

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
    pairs = list(changes.values())
    steps, images, neurons = pairs[0][0].spikes.shape

    def frame(change: int, image: int) -> tuple[list[dict[str, Any]], Text]:
        here, there = pairs[change]
        place = first_difference(here, there, image)
        neuron = place[1] if place else 0
        one, other = here.spikes[:, image] > 0, there.spikes[:, image] > 0
        x, potentials = [-0.5, steps - 0.5], [run.potentials[:, image, neuron] for run in pairs[change]]
        low, high = min(one.min() for one in potentials), max(one.max() for one in potentials)
        # Up to a step, what is later is not seen yet.
        columns = {"from": np.broadcast_to(np.arange(steps)[:, None], (steps, neurons))}
        marks = [
            squares(one & ~other, color="spike", label="here alone", **columns),
            squares(other & ~one, color="loop", label="there alone", **columns),
            squares(np.where(one & other, 0.25, 0), **columns),
            *([around(steps, neurons, step=place[0])] if place else []),
        ]
        lines = [line(x, [threshold, threshold], dashed=True, label="threshold")]
        for v, color, label in zip(potentials, ("spike", "loop"), ("here", "there"), strict=True):
            options = {"label": label, "dashed": label == "there", "grows": True}
            lines.append(line(np.arange(steps), v, color, **options))
        above = {"x": x, "y": [neurons - 0.5, -0.5], "height": 200, "yLabel": "neuron", "title": "spikes"}
        below = {"x": x, "y": [max(-3, min(0, low)), min(4, max(1.5, high))], "height": 110}
        labels = {"yLabel": f"v of neuron {neuron}", "xLabel": "time step t"}
        alt = "spikes of both runs, and the potentials of the neuron that differs first"
        charts = [{"alt": alt, "panels": [{**above, "marks": marks}, {**below, **labels, "marks": lines}]}]
        names = f"Here: {here.name}. There: {there.name}."
        if place is None:
            return charts, f"{names} No spike of this image differs."
        who = "here" if one[place] else "there"
        shares = 100 * (one != other).sum(1).cumsum() / (neurons * np.arange(1, steps + 1))
        found = f"First difference: step {place[0]}, neuron {neuron} fires {who} alone."
        return charts, [
            f"{names} {found} So far {{}} % of all chances to fire differ.",
            [f"{one:.1f}" for one in shares],
        ]

    said = []
    for name, (here, there) in changes.items():
        if (place := first_difference(here, there, 0)) is not None:
            said.append(f"{name}: the first difference is in step {place[0]}, neuron {place[1]}.")
    choices: dict[str, list[Any]] = {"change": list(changes), "image": list(range(images))}
    time = {"label": "time step t", "steps": steps, "first": steps - 1}
    return frames(choices, frame, " ".join(said), time=time)
