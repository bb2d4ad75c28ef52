"""Scrub through the steps in which a network reads a picture."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from ipywidgets import BoundedIntText, IntSlider, ToggleButtons, VBox
from matplotlib.figure import Figure

from snn_tutorial.plot.reading import reading_step
from snn_tutorial.widgets import WIDE, explorer


def column_reader(images: np.ndarray, labels: np.ndarray, classes: Sequence[str]) -> VBox:
    """Return a view of any picture at any time step, read by columns or by rows.

    Args:
        images: grey images ``[n, 28, 28]``, 0 to 255, as they are seen (not transposed).
        labels: class of each image, ``[n]``.
        classes: names of the classes.
    """

    def draw(t: int, image: int, order: str) -> Figure:
        return reading_step(images[image], t, classes[labels[image]], order)

    controls = {
        "t": IntSlider(value=9, min=0, max=27, description="time step t", style=WIDE),
        "image": BoundedIntText(value=0, min=0, max=len(images) - 1, description="test image", style=WIDE),
        "order": ToggleButtons(options=["column", "row"], description="read by", style=WIDE),
    }
    return explorer(draw, controls, alt="the picture, the input of this step, and what has come so far")
