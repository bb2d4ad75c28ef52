"""Walk through a NIR graph, one time step after the other."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np
from ipywidgets import BoundedIntText, IntSlider, VBox
from matplotlib.figure import Figure

from snn_tutorial.plot.exchange import graph_step
from snn_tutorial.widgets import WIDE, explorer

if TYPE_CHECKING:
    import nir


def graph_walker(graph: nir.NIRGraph, record: Mapping[str, np.ndarray], images: np.ndarray) -> VBox:
    """Return a view of what every node gives at any time step, for any of the images.

    Args:
        graph: as :func:`snn_exchange.to_nir` makes it.
        record: what each node gives, ``[T, N, size]``.
        images: the pictures, ``[N, H, T]`` in [0, 1].
    """

    def draw(t: int, image: int) -> Figure:
        one = {name: values[:, image] for name, values in record.items()}
        return graph_step(graph, one, t, images[image])

    controls = {
        "t": IntSlider(value=9, min=0, max=images.shape[2] - 1, description="time step t", style=WIDE),
        "image": BoundedIntText(value=0, min=0, max=len(images) - 1, description="test image", style=WIDE),
    }
    return explorer(
        draw, controls, alt="the graph with what each node gives in this step, and the picture so far"
    )
