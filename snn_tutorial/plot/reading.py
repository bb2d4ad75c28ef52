"""How a picture is read column by column: pictures of the data, of the layout [T, N, features], and two animations."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from snn_tutorial.plot.style import OKABE_ITO, QUANTITY, RC

#: How long an animation shows a step, and its last step, in milliseconds.
STEP_MS = 110
PAUSE_MS = 1800

#: How much of the ink of pixels that were not read yet is shown, and the grey on which they lie.
_DIM = 0.22
_UNREAD = 236

#: The curves of :func:`accuracy_by_column`: line styles and markers tell them apart in black and white.
_CURVES = (
    {"color": OKABE_ITO["blue"], "linestyle": "-", "marker": "o"},
    {"color": OKABE_ITO["vermilion"], "linestyle": "--", "marker": "s"},
    {"color": OKABE_ITO["black"], "linestyle": ":", "marker": "^"},
)


@plt.rc_context(RC | {"axes.grid": False})
def class_rows(
    images: np.ndarray, labels: np.ndarray, classes: Sequence[str], per_class: int = 13, seed: int = 0
) -> Figure:
    """Draw a row of pictures for each class, chosen at random.

    Args:
        images: grey images ``[n, 28, 28]``.
        labels: class of each image, ``[n]``.
        classes: names of the classes.
        per_class: pictures in a row; every class needs as many.
        seed: of the choice.
    """
    rng = np.random.default_rng(seed)
    figure, all_axes = plt.subplots(
        len(classes), 1, figsize=(9, 0.64 * len(classes)), squeeze=False, layout="none"
    )
    figure.subplots_adjust(left=0.13, right=0.995, top=0.995, bottom=0.005, hspace=0.06)
    for label, (axes, name) in enumerate(zip(all_axes[:, 0], classes, strict=True)):
        chosen = rng.choice(np.flatnonzero(labels == label), per_class, replace=False)
        axes.imshow(np.hstack(images[chosen]), cmap="gray_r", vmin=0, vmax=255)
        axes.set_ylabel(name, rotation=0, ha="right", va="center")
        _bare(axes)
    return figure


def _bare(axes: Axes) -> None:
    """Take ticks and frame away, and keep the labels."""
    axes.set_xticks([])
    axes.set_yticks([])
    for spine in axes.spines.values():
        spine.set_visible(False)


def _mark(axes: Axes, t: int, order: str = "column") -> Rectangle:
    """Put a frame around the column or row that is read at step ``t``, a little larger, so that it hides no pixel."""
    corner, size = (t - 0.6, -0.6), (1.2, 28.2)
    if order == "row":
        corner, size = corner[::-1], size[::-1]
    frame = Rectangle(corner, *size, fill=False, edgecolor=QUANTITY["input"], linewidth=2.5, clip_on=False)
    return axes.add_patch(frame)


def _picture_axes(axes: Axes) -> None:
    """Label the axes of a picture that is drawn as it is seen."""
    axes.set_xlabel("column of the picture")
    axes.set_ylabel("row of the picture")
    axes.set_xticks([0, 9, 18, 27])
    axes.set_yticks([0, 9, 18, 27])


def _partly_read(image: np.ndarray, t: int, order: str) -> np.ndarray:
    """Return the picture as grey values to draw, where what comes after step ``t`` is dim on a grey ground."""
    picture = 255.0 - image
    later = np.arange(28) > t
    later = later[None, :] if order == "column" else later[:, None]
    return np.where(later, _UNREAD - _DIM * image, picture)


def _raster_axes(axes: Axes, steps: int = 28, features: int = 28) -> None:
    """Label the axes of a sequence that is drawn with time to the right and features downwards."""
    axes.set_xlabel("time step t")
    axes.set_xticks(np.linspace(0, steps - 1, 4).round().astype(int))
    axes.set_yticks(np.linspace(0, features - 1, 4).round().astype(int))


@plt.rc_context(RC | {"axes.grid": False})
def reading_step(image: np.ndarray, t: int, name: str, order: str = "column") -> Figure:
    """Draw one step of reading: the picture, the 28 values of this step, and all that has come so far.

    Args:
        image: one grey image ``[28, 28]``, 0 to 255, as it is seen (not transposed).
        t: time step, 0 to 27.
        name: the image's class.
        order: ``"column"`` or ``"row"``: which lines of the picture are read.

    Raises:
        ValueError: another ``order``, or ``t`` out of range.
    """
    if order not in ("column", "row"):
        raise ValueError(f'order must be "column" or "row", not {order!r}')
    if not 0 <= t < 28:
        raise ValueError(f"t must be 0 to 27, got {t}")
    x_seq = (image.T if order == "column" else image) / 255  # [T, features]
    figure, (left, middle, right) = plt.subplots(1, 3, figsize=(9, 3.5), width_ratios=(1, 0.62, 1))
    left.imshow(_partly_read(image, t, order), cmap="gray", vmin=0, vmax=255)
    _mark(left, t, order)
    left.set_title(f"{name}, {order} {t}", fontsize=11)
    _picture_axes(left)
    _Bars(middle).show(x_seq[t])
    middle.set_box_aspect(1 / 0.62)
    middle.set_title(f"input at t = {t}", fontsize=11)
    _Raster(right, x_seq).show(t)
    right.set_title("what has come so far", fontsize=11)
    return figure


class _Bars:
    """The input of one step as 28 horizontal bars, the first feature on top."""

    def __init__(self, axes: Axes) -> None:
        self._bars = axes.barh(np.arange(28), np.zeros(28), height=0.8, color=QUANTITY["input"])
        axes.set_xlim(0, 1)
        axes.set_ylim(27.5, -0.5)
        axes.set_xlabel("grey value x[t, i]")
        axes.set_ylabel("feature i")
        axes.set_xticks([0, 0.5, 1], ["0", "0.5", "1"])
        axes.set_yticks([0, 9, 18, 27])

    def show(self, values: np.ndarray) -> None:
        """Set the lengths of the bars to ``values [28]``."""
        for bar, value in zip(self._bars, values, strict=True):
            bar.set_width(value)


class _Raster:
    """A sequence ``x_seq [28, 28]`` with time to the right, as far as it has come."""

    def __init__(self, axes: Axes, x_seq: np.ndarray) -> None:
        self._values = x_seq.T
        self._picture = axes.imshow(self._values, cmap="gray_r", vmin=0, vmax=1)
        self._frame = _mark(axes, 0)
        axes.set_facecolor(str(_UNREAD / 255))
        _raster_axes(axes)
        axes.set_ylabel("feature i")

    def show(self, t: int) -> None:
        """Show steps 0 to ``t``; the rest is left to the grey ground."""
        later = np.broadcast_to(np.arange(28) > t, self._values.shape)
        self._picture.set_data(np.ma.masked_array(self._values, mask=later))
        self._frame.set_x(t - 0.6)


@plt.rc_context(RC | {"axes.grid": False})
def layout(x_seq: np.ndarray, sample: int = 0, feature: int = 14) -> Figure:
    """Draw a batch ``[T, N, features]``: as a deck of T cards, one sample of it, and one feature of that sample.

    Args:
        x_seq: grey values in [0, 1], ``[28, N, 28]``; a handful of samples can be seen best.
        sample: the sample that is taken out.
        feature: the feature of it that is taken out.
    """
    T, N, H = x_seq.shape
    figure, (deck, one, trace) = plt.subplots(1, 3, figsize=(9, 3.6), width_ratios=(1.5, 1, 1.05))
    _draw_deck(deck, x_seq, sample)
    deck.set_title(f"x_seq  [T, N, features] = [{T}, {N}, {H}]", fontsize=11)
    one.imshow(x_seq[:, sample].T, cmap="gray_r", vmin=0, vmax=1)
    one.axhspan(feature - 0.5, feature + 0.5, fill=False, edgecolor=QUANTITY["input"], linewidth=2)
    _raster_axes(one, T, H)
    one.set_ylabel("feature i")
    one.set_title(f"x_seq[:, {sample}]  [T, features]", fontsize=11)
    trace.step(np.arange(T), x_seq[:, sample, feature], where="mid", color=QUANTITY["input"], linewidth=2)
    trace.set_xlabel("time step t")
    trace.set_ylabel("input current x[t]")
    trace.set_ylim(-0.03, 1.03)
    trace.set_xticks([0, 9, 18, 27])
    trace.set_box_aspect(1)
    trace.set_title(f"x_seq[:, {sample}, {feature}]  [T]", fontsize=11)
    return figure


def _draw_deck(axes: Axes, x_seq: np.ndarray, sample: int) -> None:
    """Draw four of the T steps as cards ``[N, features]``, later ones further up; mark ``sample`` in each."""
    T, N, H = x_seq.shape
    height, right, up = 12.0, 5.0, 14.5
    cards = np.linspace(0, T - 1, 4).round().astype(int)
    for place, t in enumerate(cards):
        x, y, row = right * place, up * place, height / N
        axes.imshow(x_seq[t], cmap="gray_r", vmin=0, vmax=1, extent=(x, x + H, y, y + height))
        axes.add_patch(Rectangle((x, y), H, height, fill=False, edgecolor="#666666"))
        corner = (x, y + height - (sample + 1) * row)
        axes.add_patch(Rectangle(corner, H, row, fill=False, edgecolor=QUANTITY["input"], linewidth=2))
        axes.text(x + H + 0.8, y + height / 2, f"t = {t}", fontsize=10, va="center")
    axes.text(H / 2, -1, f"{H} features", ha="center", va="top", fontsize=10)
    axes.text(-0.8, height / 2, f"N = {N}", ha="right", va="center", rotation=90, fontsize=10)
    axes.set_xlim(-4, right * 3 + H + 9)
    axes.set_ylim(-5, up * 3 + height + 1)
    axes.set_aspect("equal")
    axes.set_axis_off()


@plt.rc_context(RC | {"axes.grid": False})
def rasters(sequences: Mapping[str, np.ndarray]) -> Figure:
    """Draw sequences side by side as a network gets them: time to the right, features downwards.

    Args:
        sequences: title of each panel to grey values in [0, 1], ``[T, features]``.
    """
    figure, all_axes = plt.subplots(1, len(sequences), figsize=(3 * len(sequences), 3.2), squeeze=False)
    for axes, (title, x_seq) in zip(all_axes[0], sequences.items(), strict=True):
        axes.imshow(x_seq.T, cmap="gray_r", vmin=0, vmax=1)
        _raster_axes(axes, *x_seq.shape)
        axes.set_title(title, fontsize=10)
    all_axes[0, 0].set_ylabel("feature i")
    return figure


@plt.rc_context(RC)
def accuracy_by_column(curves: Mapping[str, Sequence[float]], ceiling: float, subset: bool = False) -> Figure:
    """Draw the test accuracy of linear classifiers against the column.

    Args:
        curves: name of each kind of classifier to its accuracies in [0, 1], one for each column; three at most.
        ceiling: accuracy of the classifier that sees all pixels.
        subset: whether they were fitted on the embedded subset only; the figure then says so.
    """
    figure, axes = plt.subplots(figsize=(8, 4.2))
    for style, (name, values) in zip(_CURVES, curves.items(), strict=False):
        axes.plot(range(len(values)), 100 * np.asarray(values), label=name, markersize=5, **style)
    for level, text in ((100 * ceiling, "all pixels"), (10, "chance")):
        axes.axhline(level, color="#666666", linewidth=1, zorder=0)
        axes.text(0, level + 1, text, va="bottom", fontsize=10, color="#444444")
    axes.set_xlabel("time step t = column")
    axes.set_ylabel("test accuracy (%)")
    axes.set_ylim(0, 100)
    axes.set_xticks([0, 9, 18, 27])
    if subset:
        axes.set_title("6,000 of 60,000 training images", loc="left", fontsize=11)
    axes.legend(loc="lower center", bbox_to_anchor=(0.55, 0.11))
    return figure


@plt.rc_context(RC | {"axes.grid": False})
def column_pairs(
    correlation: np.ndarray, columns: Sequence[int], accuracy: np.ndarray, best: tuple[int, int]
) -> Figure:
    """Draw the correlation of two columns, and the accuracy of a classifier that sees both.

    Args:
        correlation: correlation of each column with each, ``[28, 28]``.
        columns: the columns of which pairs were tried, ``[K]``.
        accuracy: test accuracy in [0, 1] of the classifier of each two of them, ``[K, K]``, symmetric.
        best: two of ``columns``, the pair to mark.
    """
    figure, (left, right) = plt.subplots(1, 2, figsize=(9, 3.9))
    picture = left.imshow(correlation, cmap="RdBu_r", vmin=-1, vmax=1)
    figure.colorbar(picture, ax=left, label="correlation", shrink=0.85)
    left.set_title("correlation of two columns", fontsize=11)
    left.set_xticks([0, 9, 18, 27])
    left.set_yticks([0, 9, 18, 27])
    picture = right.imshow(100 * accuracy, cmap="viridis")
    figure.colorbar(picture, ax=right, label="test accuracy (%)", shrink=0.85)
    right.set_title("classifier that sees two columns", fontsize=11)
    places = np.arange(0, len(columns), 3)
    right.set_xticks(places, [columns[place] for place in places])
    right.set_yticks(places, [columns[place] for place in places])
    first, second = (columns.index(column) for column in best)
    for x, y in ((first, second), (second, first)):
        right.add_patch(Rectangle((x - 0.5, y - 0.5), 1, 1, fill=False, edgecolor="black", linewidth=2))
    for axes in (left, right):
        axes.set_xlabel("column t")
        axes.set_ylabel("column u")
    return figure


def reading_gif(image: np.ndarray, name: str) -> bytes:
    """Return an animation of a picture that is read column by column, as the bytes of a GIF file.

    A frame marks the column that is read, and columns not read yet are dim; beside it stand the step and the class.
    It has 28 frames and repeats after a pause.

    Args:
        image: one grey image ``[28, 28]``, 0 to 255.
        name: its class.
    """
    with plt.rc_context(RC | {"axes.grid": False}):
        figure, (left, right) = plt.subplots(1, 2, figsize=(7.2, 3.9), layout="none")
        # Fixed places: a layout that fits itself to the texts would make the picture jump.
        figure.subplots_adjust(left=0.09, right=0.99, top=0.97, bottom=0.14, wspace=0.08)
        picture = left.imshow(_partly_read(image, 0, "column"), cmap="gray", vmin=0, vmax=255)
        mark = _mark(left, 0)
        _picture_axes(left)
        right.set_axis_off()
        step = right.text(0.08, 0.80, "", fontsize=32, color=QUANTITY["input"], transform=right.transAxes)
        read = right.text(0.08, 0.72, "", fontsize=13, va="top", transform=right.transAxes)
        right.text(0.08, 0.34, "class, to be named at the end", fontsize=13, transform=right.transAxes)
        right.text(0.08, 0.18, name, fontsize=22, transform=right.transAxes)

    def draw(t: int) -> None:
        picture.set_data(_partly_read(image, t, "column"))
        mark.set_x(t - 0.6)
        step.set_text(f"t = {t}")
        read.set_text(f"column {t} comes in,\n{27 - t} still to come")

    return _gif(figure, draw)


def column_gif(image: np.ndarray) -> bytes:
    """Return an animation of the columns of a picture as a network gets them, as the bytes of a GIF file.

    Bars show the 28 values of the step; a raster collects the steps. It has 28 frames and repeats after a pause.

    Args:
        image: one grey image ``[28, 28]``, 0 to 255.
    """
    x_seq = image.T / 255  # [T, features]
    with plt.rc_context(RC | {"axes.grid": False}):
        figure, (left, right) = plt.subplots(1, 2, figsize=(7.2, 3.9), width_ratios=(0.8, 1), layout="none")
        figure.subplots_adjust(left=0.09, right=0.98, top=0.91, bottom=0.14, wspace=0.24)
        bars, raster = _Bars(left), _Raster(right, x_seq)
        left.set_box_aspect(1 / 0.8)
        title = left.set_title("input at t = 27", fontsize=13)
        right.set_title("what has come so far", fontsize=13)

    def draw(t: int) -> None:
        bars.show(x_seq[t])
        title.set_text(f"input at t = {t}")
        raster.show(t)

    return _gif(figure, draw)


def _gif(figure: Figure, draw: Callable[[int], None], steps: int = 28) -> bytes:
    """Return the frames that ``draw`` makes of ``figure`` as the bytes of a GIF file, and close the figure."""
    # Only here, since imageio comes with the extra `notebooks`.
    import imageio.v3

    canvas = FigureCanvasAgg(figure)
    frames = []
    for t in range(steps):
        draw(t)
        canvas.draw()
        # 32 levels in each channel: so few colours fit into a palette exactly, and what stands still costs no bytes.
        shades = np.round(np.asarray(canvas.buffer_rgba())[..., :3] / 255 * 31)
        frames.append(np.round(shades / 31 * 255).astype(np.uint8))
    plt.close(figure)
    durations = [STEP_MS] * (steps - 1) + [PAUSE_MS]
    return imageio.v3.imwrite(
        "<bytes>", np.stack(frames), plugin="pillow", extension=".gif", duration=durations, loop=0
    )
