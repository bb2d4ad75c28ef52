"""Look through the images that a network takes for another class."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from IPython.display import HTML

from snn_tutorial.live import deflated, view
from snn_tutorial.plot.confusion import pictures

_SIDE, _SHOWN = 28, 6
#: Of the static figure, which has five in a row.
_IN_A_ROW = 5


def confused_images(
    images: np.ndarray, labels: np.ndarray, guesses: Mapping[str, np.ndarray], classes: Sequence[str]
) -> HTML:
    """Return a view with a network's confusion matrix and, for the cell that is chosen, up to six images.

    It starts with the most frequent error of the first network.

    Args:
        images: grey images ``[n, 28, 28]``, whole numbers from 0 to 255.
        labels: true class of each image, ``[n]``.
        guesses: network's name to the class that it chose for each image, ``[n]``.
        classes: names of the classes.

    Raises:
        ValueError: an array has another shape, or there is a class without a name, or no network.
    """
    if images.shape != (len(images), _SIDE, _SIDE):
        raise ValueError(f"images must have shape [n, {_SIDE}, {_SIDE}], got {list(images.shape)}")
    if not guesses:
        raise ValueError("guesses must hold at least one network")
    for name, found in {"labels": labels, **{f"guesses[{key!r}]": of for key, of in guesses.items()}}.items():
        _check_classes(name, found, len(images), len(classes))
    size = len(classes)
    cells = {name: _by_cell(labels, guess, size) for name, guess in guesses.items()}
    shown = sorted({index for found in cells.values() for fits in found for index in fits[:_SHOWN].tolist()})
    place = {index: k for k, index in enumerate(shown)}
    counts = {name: [len(fits) for fits in found] for name, found in cells.items()}

    network = next(iter(guesses))
    errors = np.array(counts[network]).reshape(size, size) * ~np.eye(size, dtype=bool)
    first = int(errors.argmax())
    fits = cells[network][first][:_IN_A_ROW]
    return view(
        "confusion",
        {
            "classes": list(classes),
            "networks": list(guesses),
            "counts": list(counts.values()),
            "shown": [
                [[place[index] for index in fits[:_SHOWN].tolist()] for fits in found]
                for found in cells.values()
            ],
            "images": deflated(images[shown]),
            "numbers": shown,
            "first": divmod(first, size),
        },
        pictures(images[fits], [f"image {index}" for index in fits]),
        f"confusion matrix of a network, and images behind one of its cells; drawn are those of the class "
        f"{classes[first // size]} that the network {network} takes for {classes[first % size]}",
    )


def _check_classes(name: str, found: np.ndarray, images: int, classes: int) -> None:
    if found.shape != (images,):
        raise ValueError(
            f"{name} must hold one class for each of the {images} images, got shape {list(found.shape)}"
        )
    if images and not (found.min() >= 0 and found.max() < classes and np.issubdtype(found.dtype, np.integer)):
        raise ValueError(
            f"{name} must hold whole numbers from 0 to {classes - 1}, as there are {classes} classes"
        )


def _by_cell(labels: np.ndarray, guess: np.ndarray, classes: int) -> list[np.ndarray]:
    """Return the images of each cell of the confusion matrix, row by row."""
    cell = labels.astype(int) * classes + guess
    return [np.flatnonzero(cell == k) for k in range(classes**2)]
