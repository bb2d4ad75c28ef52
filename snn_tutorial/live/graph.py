"""Follow the numbers through a NIR graph, one time step after the other."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np
from IPython.display import HTML

from snn_tutorial.live import packed, view
from snn_tutorial.plot.exchange import chain_of, graph_step, ways_back

if TYPE_CHECKING:
    import nir

_MOST_IMAGES = 10
_FIRST_STEP = 9


def graph_walker(graph: nir.NIRGraph, record: Mapping[str, np.ndarray], images: np.ndarray) -> HTML:
    """Return a view of what every node gives at any time step, for any of the images.

    Args:
        graph: as :func:`snn_exchange.to_nir` makes it.
        record: what each node gives, ``[T, N, size]``.
        images: the pictures, ``[N, H, T]`` in [0, 1], at most 10.

    Raises:
        ValueError: the graph is no chain with ways back, or ``record`` or ``images`` do not fit.
    """
    images = np.asarray(images)
    if images.ndim != 3 or not 1 <= len(images) <= _MOST_IMAGES or not images.size:
        raise ValueError(f"images must be 1 to {_MOST_IMAGES} pictures [N, H, T], not {images.shape}")
    if not ((images >= 0) & (images <= 1)).all():
        raise ValueError("images must lie in [0, 1]")
    number, rows, steps = images.shape
    names = []
    ways = ways_back(graph, chain_of(graph))
    for name in chain_of(graph):
        names += [name, *(way for way, (source, _) in ways.items() if source == name)]
    given = {}
    for name in names:
        if name not in record:
            raise ValueError(f"record has no node {name!r}")
        given[name] = np.asarray(record[name], dtype="<f4")
        if given[name].ndim != 3 or given[name].shape[:2] != (steps, number) or not given[name].size:
            raise ValueError(f"record[{name!r}] must be [{steps}, {number}, size], not {given[name].shape}")
        if not np.isfinite(given[name]).all():
            raise ValueError(f"record[{name!r}] must be finite")
    first = min(_FIRST_STEP, steps - 1)
    return view(
        "graph",
        {
            "steps": steps,
            "rows": rows,
            "first": first,
            "pictures": packed(np.rint(255 * images)),
            "nodes": [
                {
                    "name": name,
                    "kind": type(graph.nodes[name]).__name__,
                    "size": values.shape[2],
                    "values": packed(np.frombuffer(values.tobytes(), np.uint8)),
                }
                for name, values in given.items()
            ],
            "edges": [[names.index(source), names.index(target)] for source, target in graph.edges],
        },
        graph_step(graph, {name: values[:, 0] for name, values in given.items()}, first, images[0]),
        "the graph with what each node gives in one time step, and the picture so far",
    )
