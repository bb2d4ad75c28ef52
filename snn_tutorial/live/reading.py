"""Scrub through the steps in which a network reads a picture."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from IPython.display import HTML

from snn_tutorial.live import packed, view
from snn_tutorial.plot.reading import reading_step

#: Most images of a view: they are part of the page.
MOST_IMAGES = 40
_FIRST_STEP = 9


def column_reader(images: np.ndarray, labels: np.ndarray, classes: Sequence[str]) -> HTML:
    """Return a view of any of these pictures at any time step, read by columns or by rows.

    Args:
        images: up to 40 grey images ``[n, 28, 28]``, 0 to 255, as they are seen (not transposed).
        labels: class of each image, ``[n]``.
        classes: names of the classes.

    Raises:
        ValueError: an argument is not of this kind.
    """
    images, labels = np.asarray(images), np.asarray(labels)
    if images.ndim != 3 or images.shape[1:] != (28, 28) or not 1 <= len(images) <= MOST_IMAGES:
        raise ValueError(f"images must be 1 to {MOST_IMAGES} images [n, 28, 28], got {list(images.shape)}")
    try:
        pixels = packed(images)
    except ValueError as error:
        raise ValueError("images must hold whole numbers from 0 to 255") from error
    if labels.shape != images.shape[:1] or not np.isin(labels, np.arange(len(classes))).all():
        raise ValueError(f"labels must be {len(images)} numbers of the {len(classes)} classes")
    names = [classes[label] for label in labels]
    return view(
        "reading",
        {"images": pixels, "names": names, "first": _FIRST_STEP},
        reading_step(images[0], _FIRST_STEP, names[0]),
        "the picture, the input of this step, and what has come so far",
    )
