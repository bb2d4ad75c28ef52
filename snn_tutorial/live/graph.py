"""Follow the numbers through a NIR graph, one time step after the other."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from IPython.display import HTML

from sequential_fmnist.data import SequentialFashionMNIST
from snn_exchange.nir_read import chain_of
from snn_tutorial.live.frames import Text, around, frames, raster
from snn_tutorial.plot.exchange import nir_graph

if TYPE_CHECKING:
    import nir

_FIRST_STEP = 9
_SPIKING = ("IF", "LIF")
#: Of nodes by their kind.
_COLORS = {"Input": "input", "IF": "spike", "LIF": "spike", "I": "current", "LI": "current"}


def graph_walker(graph: nir.NIRGraph, record: Mapping[str, np.ndarray], images: np.ndarray) -> HTML:
    """Return a view of what every node gives at any time step, for any of the images.

    Args:
        graph: as :func:`snn_exchange.to_nir` makes it.
        record: what each node gives, ``[T, N, size]``.
        images: the pictures, ``[N, H, T]`` in [0, 1].
    """
    count, rows, steps = images.shape
    names: list[str] = []
    path, loops = chain_of(graph)
    for place, name in enumerate(path):
        names += [name, *(loop.through for loop in loops if loop.source == place)]
    kinds = {name: type(graph.nodes[name]).__name__ for name in names}
    after = {name: [target for source, target in graph.edges if source == name] for name in names}

    def color_of(place: int, name: str) -> str:
        is_back = any(names.index(target) <= place for target in after[name])
        return _COLORS.get(kinds[name], "loop" if is_back else "threshold")

    def goes_to(place: int, name: str) -> str:
        """Return where what a node gives goes, unless that is the node below; back it takes a step."""
        found = [(target, names.index(target)) for target in after[name]]
        others = [(target, to) for target, to in found if to != place + 1]
        return "".join(f" → {target}{', one step later' if to <= place else ''}" for target, to in others)

    def given(name: str, values: np.ndarray) -> list[str]:
        """Return in words what a node gives in each step."""
        if kinds[name] in _SPIKING:
            return [f"{(step > 0).sum()} of {len(step)} fire" for step in values]
        if kinds[name] == "Input":
            return [f"{len(step)} pixels" for step in values]
        return [f"{step.min():.1f} to {step.max():.1f}".replace("-", "\u2212") for step in values]

    def frame(image: int) -> tuple[list[dict[str, Any]], Text]:
        panels = []
        mean = np.zeros(0)
        fire = {}
        for place, name in enumerate(names):
            values = record[name][:, image]
            x = np.arange(values.shape[1])
            marks: list[dict[str, Any]] = [
                {"kind": "bars", "x": x, "y": values, "color": color_of(place, name)}
            ]
            is_last, end = kinds[name] == "Output", goes_to(place, name)
            if is_last:
                mean = np.cumsum(values, 0) / np.arange(1, steps + 1)[:, None]
                marks.append({"kind": "dots", "x": x, "y": mean, "size": 3})
                end = "; ● mean so far"
            if kinds[name] in _SPIKING:
                fire[name] = given(name, values)
            ends = {
                "x": [-0.5, len(x) - 0.5],
                "y": [min(0, np.floor(values.min())), np.ceil(values.max()) or 1],
            }
            title = [f"{kinds[name]} {name}: {{}}{end}", given(name, values)]
            panels.append(
                {**ends, "height": 70 if is_last else 34, "isBare": True, "title": title, "marks": marks}
            )
        read = np.rint(255 * images[image].T).astype(np.uint8)
        seen = {"from": np.broadcast_to(np.arange(steps)[:, None], read.shape), "later": [0, 0.2]}
        look = {"isBare": True, "isSquare": True, "height": 112}
        classes = SequentialFashionMNIST.classes
        best = [classes[label] for label in mean.argmax(1)]
        said = "; ".join([*(f"{{}} in {name}" for name in fire), "the mean output so far is largest for {}"])
        return [
            {
                "alt": "the picture, with a frame around the column that is read",
                "panels": [raster(read, around(steps, rows), **seen, **look)],
            },
            {"alt": "what each node gives", "isWide": True, "names": list(classes), "panels": panels},
        ], [f"Step {{t}} of test image {image}: {said}.", *fire.values(), best]

    time = {"label": "time step t", "steps": steps, "first": min(_FIRST_STEP, steps - 1)}
    alt = "the graph, in the view with what each node gives in one time step, and the picture so far"
    return frames({"test image": [str(k) for k in range(count)]}, frame, nir_graph(graph), alt, time=time)
