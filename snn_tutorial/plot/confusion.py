"""Which classes a network takes for which, and pictures with what networks said about them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from snn_tutorial.plot.style import RC

_PER_ROW = 5


def confusion_matrix(labels: np.ndarray, guesses: np.ndarray, classes: int) -> np.ndarray:
    """Return how many per cent of each class (row) were taken for each class (column), ``[classes, classes]``.

    A class without images has a row of zeros.
    """
    counts = np.zeros((classes, classes))
    np.add.at(counts, (labels, guesses), 1)
    return 100 * counts / np.maximum(counts.sum(1, keepdims=True), 1)


@plt.rc_context(RC | {"axes.grid": False, "font.size": 9})
def confusion(labels: np.ndarray, guesses: Mapping[str, np.ndarray], classes: Sequence[str]) -> Figure:
    """Draw the confusion matrix of each network.

    Args:
        labels: true class of each image, ``[n]``.
        guesses: network's name to the class that it chose for each image, ``[n]``.
        classes: names of the classes.
    """
    figure, all_axes = plt.subplots(1, len(guesses), figsize=(9, 4.1), sharey=True, squeeze=False)
    for axes, (name, guess) in zip(all_axes[0], guesses.items(), strict=True):
        picture = _draw_matrix(axes, confusion_matrix(labels, guess, len(classes)), classes)
        axes.set_title(name, fontsize=11)
        axes.set_xlabel("network's answer")
    all_axes[0, 0].set_ylabel("true class")
    figure.colorbar(picture, ax=all_axes, label="images of the class (%)", shrink=0.6, aspect=25)
    return figure


def _draw_matrix(axes: Axes, percent: np.ndarray, classes: Sequence[str]) -> plt.cm.ScalarMappable:
    picture = axes.imshow(percent, cmap="Blues", vmin=0, vmax=100)
    places = np.arange(len(classes))
    axes.set_xticks(places, classes, rotation=90)
    axes.set_yticks(places, classes)
    for row, column in np.argwhere(percent >= 5):
        value = percent[row, column]
        colour = "white" if value > 60 else "black"
        axes.text(column, row, f"{value:.0f}", ha="center", va="center", fontsize=7, color=colour)
    return picture


@plt.rc_context(RC | {"axes.grid": False, "font.size": 9})
def pictures(images: np.ndarray, captions: Sequence[str]) -> Figure:
    """Draw images in rows of five, each with a caption above; without any image the figure says so.

    Args:
        images: grey images ``[n, 28, 28]``.
        captions: text for each image, one or more lines.
    """
    rows = max(1, -(-len(images) // _PER_ROW))
    lines = max((caption.count("\n") + 1 for caption in captions), default=1)
    figure, all_axes = plt.subplots(rows, _PER_ROW, figsize=(9, rows * (1.5 + 0.18 * lines)), squeeze=False)
    for axes in all_axes.flat:
        axes.set_axis_off()
    for axes, image, caption in zip(all_axes.flat, images, captions, strict=False):
        axes.imshow(image, cmap="gray_r", vmin=0, vmax=255)
        axes.set_title(caption, fontsize=9)
    if not len(images):
        figure.text(0.5, 0.5, "no such image", ha="center", va="center", fontsize=11)
    return figure
