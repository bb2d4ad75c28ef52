"""Scrub through the steps in which a network reads a picture."""

from __future__ import annotations

from collections.abc import Sequence

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
