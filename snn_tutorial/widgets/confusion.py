"""Look through the images that a network takes for another class."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from ipywidgets import Dropdown, VBox
from matplotlib.figure import Figure

from snn_tutorial.plot.confusion import pictures
from snn_tutorial.widgets import WIDE, explorer

_SHOWN = 10


def confused_images(
    images: np.ndarray, labels: np.ndarray, guesses: Mapping[str, np.ndarray], classes: Sequence[str]
) -> VBox:
    """Return a view with a choice of network, true class and answer, and up to ten images that fit.

    Args:
        images: grey images ``[n, 28, 28]``.
        labels: true class of each image, ``[n]``.
        guesses: network's name to the class that it chose for each image, ``[n]``.
        classes: names of the classes.
    """

    def draw(network: str, true: int, answer: int) -> Figure:
        fits = np.flatnonzero((labels == true) & (guesses[network] == answer))
        return pictures(images[fits[:_SHOWN]], [f"image {index}" for index in fits[:_SHOWN]])

    names = [(name, index) for index, name in enumerate(classes)]
    controls = {
        "network": Dropdown(options=list(guesses), description="network", style=WIDE),
        "true": Dropdown(options=names, value=classes.index("Shirt"), description="true class", style=WIDE),
        "answer": Dropdown(
            options=names, value=classes.index("T-shirt/top"), description="answer", style=WIDE
        ),
    }
    return explorer(draw, controls, alt="images of the true class for which the network gave the answer")
