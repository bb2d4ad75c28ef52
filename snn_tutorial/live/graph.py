"""Follow the numbers through a NIR graph, one time step after the other."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np
from IPython.display import HTML

from sequential_fmnist.data import SequentialFashionMNIST
from snn_exchange.nir_read import chain_of
from snn_tutorial.live import floats, packed, view
from snn_tutorial.plot.exchange import nir_graph

if TYPE_CHECKING:
    import nir

_FIRST_STEP = 9


def graph_walker(graph: nir.NIRGraph, record: Mapping[str, np.ndarray], images: np.ndarray) -> HTML:
    """Return a view of what every node gives at any time step, for any of the images.

    Args:
        graph: as :func:`snn_exchange.to_nir` makes it.
        record: what each node gives, ``[T, N, size]``.
        images: the pictures, ``[N, H, T]`` in [0, 1].
    """
    _, rows, steps = images.shape
    names = []
    path, loops = chain_of(graph)
    for place, name in enumerate(path):
        names += [name, *(loop.through for loop in loops if loop.source == place)]
    first = min(_FIRST_STEP, steps - 1)
    return view(
        "graph",
        {
            "steps": steps,
            "rows": rows,
            "first": first,
            "pictures": packed(np.rint(255 * images)),
            "classes": list(SequentialFashionMNIST.classes),
            "nodes": [
                {
                    "name": name,
                    "kind": type(graph.nodes[name]).__name__,
                    "size": record[name].shape[2],
                    "values": floats(record[name]),
                }
                for name in names
            ],
            "edges": [[names.index(source), names.index(target)] for source, target in graph.edges],
        },
        nir_graph(graph),
        "the graph, in the view with what each node gives in one time step, and the picture so far",
    )
