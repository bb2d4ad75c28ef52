"""How an image is read column by column: the data, two animations, and what classifiers of columns get right."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import imageio.v3
import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from snn_tutorial.plot.style import GREY, NO_GRID, QUANTITY, RC, WIDTH

#: How long an animation shows a step, and its last step, in milliseconds, and how often it begins again.
STEP_MS, PAUSE_MS, REPEATS = 110, 1800, 2

#: How much of the ink of pixels that were not read yet is shown, and the grey on which they lie.
_DIM = 0.22
_UNREAD = 236

_TICKS = (0, 9, 18, 27)
#: All that reaches a classifier is input; line styles and markers tell its curves apart.
_CURVES = (
    {"linestyle": "-", "marker": "o"},
    {"linestyle": "--", "marker": "s"},
    {"linestyle": ":", "marker": "^"},
)


@plt.rc_context(NO_GRID)
def class_rows(images: np.ndarray, labels: np.ndarray, classes: Sequence[str], seed: int = 0) -> Figure:
    """Draw a row of eight images for each class, chosen at random.

    Args:
        images: grey images ``[n, 28, 28]``.
        labels: class of each image, ``[n]``.
        classes: names of the classes.
        seed: of the choice.
    """
    rng = np.random.default_rng(seed)
    rows = [rng.choice(np.flatnonzero(labels == label), 8, replace=False) for label in range(len(classes))]
    figure, axes = plt.subplots(figsize=(WIDTH, 0.58 * len(classes)))
    axes.imshow(np.vstack([np.hstack(images[row]) for row in rows]), vmin=0, vmax=255)
    axes.set_yticks(14 + 28 * np.arange(len(classes)), classes)
    axes.set_xticks([])
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)
    return figure


def _draw_image(axes: Axes, image: np.ndarray, t: int) -> None:
    """Draw an image as it is seen, what comes after column ``t`` dim on a grey ground, with a frame around it."""
    later = np.arange(28) > t
    axes.imshow(np.where(later, _UNREAD - _DIM * image, 255.0 - image), cmap="gray", vmin=0, vmax=255)
    _mark(axes, t)
    axes.set(xlabel="column", ylabel="row", xticks=_TICKS, yticks=_TICKS)


def _mark(axes: Axes, t: int) -> None:
    """Put a frame around column ``t``, a little larger, so that it hides no pixel."""
    look = {"fill": False, "edgecolor": QUANTITY["input"], "linewidth": 2.5, "clip_on": False}
    axes.add_patch(Rectangle((t - 0.6, -0.6), 1.2, 28.2, **look))


def _draw_step(axes: Axes, values: np.ndarray) -> None:
    """Draw the input of one step as 28 horizontal bars, the first feature on top."""
    axes.barh(np.arange(28), values, height=0.8, color=QUANTITY["input"])
    axes.set(xlim=(0, 1), ylim=(27.5, -0.5), xlabel="grey value", ylabel="feature i", yticks=_TICKS)
    axes.set_xticks([0, 0.5, 1], ["0", "0.5", "1"])


def _draw_sequence(axes: Axes, x_seq: np.ndarray, t: int | None = None) -> None:
    """Draw ``x_seq [28, features]`` with time to the right, up to step ``t``; the rest is left to the grey ground."""
    later = np.broadcast_to(np.arange(28) > (27 if t is None else t), x_seq.T.shape)
    axes.imshow(np.ma.masked_array(x_seq.T, mask=later), vmin=0, vmax=1)
    axes.set_facecolor(str(_UNREAD / 255))
    if t is not None:
        _mark(axes, t)
    axes.set(xlabel="time step t", xticks=_TICKS, yticks=_TICKS)


@plt.rc_context(NO_GRID)
def reading_step(image: np.ndarray, t: int, name: str) -> Figure:
    """Draw one step of reading: the image, the 28 values of this step, and all that has come so far.

    Args:
        image: one grey image ``[28, 28]``, 0 to 255, as it is seen (not transposed).
        t: time step, 0 to 27.
        name: the image's class.
    """
    x_seq = image.T / 255  # [T, features]
    figure, (left, middle, right) = plt.subplots(1, 3, figsize=(WIDTH, 2.6), width_ratios=(1, 0.62, 1))
    _draw_image(left, image, t)
    left.set_title(f"{name}, column {t}")
    _draw_step(middle, x_seq[t])
    middle.set_box_aspect(1 / 0.62)
    middle.set_title(f"input, t = {t}")
    _draw_sequence(right, x_seq, t)
    right.set_title("input so far")
    return figure


@plt.rc_context(NO_GRID)
def rasters(sequences: Mapping[str, np.ndarray]) -> Figure:
    """Draw sequences side by side as a network gets them: time to the right, features downwards.

    Args:
        sequences: title of each panel to grey values in [0, 1], ``[28, features]``.
    """
    figure, all_axes = plt.subplots(1, len(sequences), figsize=(WIDTH, 2.5), squeeze=False)
    for axes, (title, x_seq) in zip(all_axes[0], sequences.items(), strict=True):
        _draw_sequence(axes, x_seq)
        axes.set_title(title)
    all_axes[0, 0].set_ylabel("feature i")
    return figure


@plt.rc_context(RC)
def accuracy_by_column(curves: Mapping[str, Sequence[float]]) -> Figure:
    """Draw the test accuracy of classifiers of an image's columns against the time step.

    Args:
        curves: name of each kind of classifier to its accuracies in [0, 1], one for each column; three at most.
    """
    figure, axes = plt.subplots()
    for style, (name, values) in zip(_CURVES, curves.items(), strict=False):
        axes.plot(100 * np.asarray(values), color=QUANTITY["input"], markersize=5, **style)
        axes.text(28, 100 * values[-1], name, va="center")
    _accuracy_axes(axes, "time step t = column")
    axes.set_xticks(_TICKS)
    return figure


@plt.rc_context(RC)
def accuracy_by_distance(accuracy: Mapping[int, float], alone: float) -> Figure:
    """Draw the test accuracy of the best two columns against their distance.

    Args:
        accuracy: distance to the accuracy in [0, 1].
        alone: accuracy of the best column alone, in [0, 1].
    """
    figure, axes = plt.subplots(figsize=(WIDTH, 3.2))
    percent = 100 * np.array([*accuracy.values()])
    axes.plot(accuracy.keys(), percent, "o-", color=QUANTITY["input"], markersize=5)
    axes.axhline(100 * alone, color=GREY, linestyle="--", linewidth=1.2)
    axes.text(1, 100 * alone - 1.5, "best column alone", va="top", color=GREY)
    _accuracy_axes(axes, "distance of the two columns, in time steps")
    axes.set_xticks([1, 8, 14, 20, 27])
    return figure


def _accuracy_axes(axes: Axes, label: str) -> None:
    axes.axhline(10, color=GREY, linewidth=1, zorder=0)
    axes.text(axes.get_xlim()[0] + 0.5, 11, "chance", va="bottom", color=GREY)
    axes.set(xlabel=label, ylabel="test accuracy (%)", ylim=(0, 90))


def reading_gif(image: np.ndarray, name: str) -> bytes:
    """Return an animation of an image that is read column by column, as the bytes of a GIF file.

    A frame marks the column that is read, and columns not read yet are dim; beside it stand the step and the class.

    Args:
        image: one grey image ``[28, 28]``, 0 to 255.
        name: its class.
    """

    def draw(t: int) -> Figure:
        figure, (left, right) = plt.subplots(1, 2, figsize=(5.6, 3.2), layout="none")
        figure.subplots_adjust(left=0.1, right=0.99, top=0.97, bottom=0.16, wspace=0.08)
        _draw_image(left, image, t)
        right.set_axis_off()
        right.text(0.08, 0.78, f"t = {t}", fontsize=26, color=QUANTITY["input"])
        right.text(0.08, 0.72, f"column {t} comes in,\n{27 - t} still to come", va="top")
        right.text(0.08, 0.3, "class, to be given\nat the end")
        right.text(0.08, 0.14, name, fontsize=18)
        return figure

    return _gif(draw)


def column_gif(image: np.ndarray) -> bytes:
    """Return an animation of the columns of an image as a network gets them, as the bytes of a GIF file.

    Bars show the 28 values of the step; a raster collects the steps.

    Args:
        image: one grey image ``[28, 28]``, 0 to 255.
    """

    def draw(t: int) -> Figure:
        figure, (left, right) = plt.subplots(1, 2, figsize=(5.6, 3.2), width_ratios=(0.8, 1), layout="none")
        figure.subplots_adjust(left=0.1, right=0.98, top=0.9, bottom=0.16, wspace=0.24)
        _draw_step(left, image[:, t] / 255)
        left.set_box_aspect(1 / 0.8)
        left.set_title(f"input at t = {t}")
        _draw_sequence(right, image.T / 255, t)
        right.set_title("input so far")
        return figure

    return _gif(draw)


def _gif(draw: Callable[[int], Figure]) -> bytes:
    """Return the figures that ``draw`` makes for steps 0 to 27 as a GIF file, which stops at the last step.

    Their layout is fixed: one that fits itself to the texts would make the image jump.
    """
    frames = []
    for t in range(28):
        with plt.rc_context(NO_GRID):
            figure = draw(t)
        canvas = FigureCanvasAgg(figure)
        canvas.draw()
        plt.close(figure)
        # 32 levels in each channel: so few colours fit into a palette exactly, and what stands still costs no bytes.
        shades = np.round(np.asarray(canvas.buffer_rgba())[..., :3] / 255 * 31)
        frames.append(np.round(shades / 31 * 255).astype(np.uint8))
    times = [STEP_MS] * 27 + [PAUSE_MS]
    return imageio.v3.imwrite(
        "<bytes>", np.stack(frames), plugin="pillow", extension=".gif", duration=times, loop=REPEATS
    )
