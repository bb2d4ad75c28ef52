"""Look through the images that a network takes for another class."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from IPython.display import HTML

from snn_tutorial.live import packed, view
from snn_tutorial.plot.confusion import pictures

_SHOWN = 3
#: Of the static figure, which has five in a row.
_IN_A_ROW = 5


def confused_images(
    images: np.ndarray, labels: np.ndarray, guesses: Mapping[str, np.ndarray], classes: Sequence[str]
) -> HTML:
    """Return a view with a network's confusion matrix and, for the cell that is chosen, up to three images.

    It starts with the most frequent error of the first network.

    Args:
        images: grey images ``[n, 28, 28]``, whole numbers from 0 to 255.
        labels: true class of each image, ``[n]``.
        guesses: network's name to the class that it chose for each image, ``[n]``.
        classes: names of the classes.
    """
    size = len(classes)
    cells = {name: _by_cell(labels, guess, size) for name, guess in guesses.items()}
    shown = sorted({index for found in cells.values() for fits in found for index in fits[:_SHOWN].tolist()})
    place = {index: k for k, index in enumerate(shown)}

    network, found = next(iter(cells.items()))
    errors = np.array([len(fits) for fits in found]).reshape(size, size) * ~np.eye(size, dtype=bool)
    first = int(errors.argmax())
    fits = found[first][:_IN_A_ROW]
    return view(
        "confusion",
        {
            "classes": list(classes),
            "networks": list(guesses),
            "cells": [
                [{"count": len(fits), "shown": [place[k] for k in fits[:_SHOWN].tolist()]} for fits in found]
                for found in cells.values()
            ],
            "images": packed(images[shown], is_deflated=True),
            "numbers": shown,
            "first": divmod(first, size),
        },
        pictures(images[fits], [f"image {index}" for index in fits]),
        f"confusion matrix of a network, and images behind one of its cells; drawn are those of the class "
        f"{classes[first // size]} that the network {network} takes for {classes[first % size]}",
    )


def _by_cell(labels: np.ndarray, guess: np.ndarray, classes: int) -> list[np.ndarray]:
    """Return the images of each cell of the confusion matrix, row by row."""
    cell = labels.astype(int) * classes + guess
    return [np.flatnonzero(cell == k) for k in range(classes**2)]
