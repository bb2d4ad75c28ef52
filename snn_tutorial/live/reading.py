"""Views of an image that is read column by column: step through it, and guess what it shows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from IPython.display import HTML

from snn_tutorial.live import packed, view
from snn_tutorial.plot.reading import reading_step

_FIRST_STEP = 9


def column_reader(images: np.ndarray, labels: np.ndarray, classes: Sequence[str]) -> HTML:
    """Return a view of any of these images at any time step, read by columns or by rows.

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
        "the image, the input of this step, and the input so far",
    )


def guessing_game(
    images: np.ndarray, labels: np.ndarray, classes: Sequence[str], answers: Mapping[int, Sequence[int]]
) -> HTML:
    """Return a game: the reader names images of which only the first columns are visible, against a classifier.

    Args:
        images: grey images ``[n, 28, 28]``, 0 to 255; they are part of the page.
        labels: class of each image, ``[n]``.
        classes: names of the classes.
        answers: the classifier's answers ``[n]`` for each number of visible columns.
    """
    data = {"images": packed(images), "labels": np.asarray(labels).tolist(), "classes": list(classes)}
    rounds = [{"columns": count, "answers": list(map(int, found))} for count, found in answers.items()]
    first = next(iter(answers))
    seen = np.where(np.arange(28) < first, images[0], 0)  # the still picture gives nothing away either
    figure = reading_step(seen, first - 1, "?")
    return view("game", {**data, "rounds": rounds}, figure, "the first columns of an image")
