"""Scrub through the steps in which a network reads a picture."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from IPython.display import HTML

from snn_tutorial.live import packed, view
from snn_tutorial.plot.reading import reading_step

_FIRST_STEP = 9


def column_reader(images: np.ndarray, labels: np.ndarray, classes: Sequence[str]) -> HTML:
    """Return a view of any of these pictures at any time step, read by columns or by rows.

    Args:
        images: grey images ``[n, 28, 28]``, 0 to 255, as they are seen (not transposed); they are part of the page.
        labels: class of each image, ``[n]``.
        classes: names of the classes.
    """
    names = [classes[label] for label in labels]
    return view(
        "reading",
        {"images": packed(images), "names": names, "first": _FIRST_STEP},
        reading_step(images[0], _FIRST_STEP, names[0]),
        "the picture, the input of this step, and what has come so far",
    )


def guessing_game(
    images: np.ndarray, labels: np.ndarray, classes: Sequence[str], answers: Mapping[int, Sequence[int]]
) -> HTML:
    """Return a game: the reader names pictures of which only some columns have come, against a classifier.

    Args:
        images: grey images ``[n, 28, 28]``, 0 to 255; they are part of the page.
        labels: class of each image, ``[n]``.
        classes: names of the classes.
        answers: number of columns after which one may guess to the classes that the classifier answers, ``[n]``.
    """
    data = {"images": packed(images), "labels": np.asarray(labels).tolist(), "classes": list(classes)}
    rounds = [{"columns": count, "answers": list(map(int, found))} for count, found in answers.items()]
    figure = reading_step(images[0], rounds[0]["columns"] - 1, "?")
    return view(
        "game", {**data, "rounds": rounds}, figure, "a picture of which the first columns can be seen"
    )
