"""Views of an image that is read column by column: step through it, and guess what it shows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from IPython.display import HTML

from snn_tutorial.live import packed, view
from snn_tutorial.live.frames import Text, around, frames, line, raster
from snn_tutorial.plot.reading import reading_step

_FIRST_STEP = 9
#: How dark the ground of what has not been read is, and how much of its ink is shown.
_GROUND, _DIM = 0.08, 0.22


def column_reader(images: np.ndarray, labels: np.ndarray, classes: Sequence[str]) -> HTML:
    """Return a view of any of these images at any time step, read by columns or by rows.

    Args:
        images: grey images ``[n, 28, 28]``, 0 to 255, as they are seen (not transposed); they are part of the page.
        labels: class of each image, ``[n]``.
        classes: names of the classes.
    """
    names = [f"{k}: {classes[label]}" for k, label in enumerate(labels)]
    order = np.arange(28)

    def frame(k: int, by: int) -> tuple[list[dict[str, Any]], Text]:
        name, line_of = classes[labels[k]], ("column", "row")[by]
        image = images[k].T.astype(np.uint8)  # column after column, as it is seen
        x_seq = image if by == 0 else images[k].astype(np.uint8)
        read, step = (
            np.broadcast_to(one, image.shape) for one in ((order[:, None], order)[by], order[:, None])
        )
        seen = raster(
            image,
            around(28, 28, line_of),
            **{"from": read, "later": [_GROUND, _DIM], "isSquare": True, "title": f"{name}, {line_of} {{t}}"},
            **{"xLabel": "column of the image", "yLabel": "row of the image"},
        )
        points: dict[str, Any] = {"x": x_seq, "y": order, "color": "input"}
        now = {
            **{
                "x": [0, 1],
                "y": [27.5, -0.5],
                "title": "input at t = {t}",
                "xLabel": "x[t, i]",
                "yLabel": "feature i",
            },
            "marks": [line(**points), {"kind": "dots", **points, "size": 2.5}],
        }
        so_far = raster(
            x_seq,
            around(28, 28),
            **{"from": step, "later": [_GROUND, 0], "isSquare": True, "title": "input so far"},
            **{"xLabel": "time step t", "yLabel": "feature i"},
        )
        charts = {
            "the image, with a frame around what is read in this step": seen,
            "the 28 grey values of this step": now,
            "the inputs of all steps so far, side by side": so_far,
        }
        ink = x_seq.sum(1, dtype=float).cumsum()
        said = (
            f"Step {{t}} is {line_of} {{t}} of image {k} ({name}): {{}} of its 28 pixels are not 0. "
            "{} % of the image's ink has been read."
        )
        shares = np.rint(100 * ink / max(1, ink[-1])).astype(int)
        return [{"alt": alt, "panels": [panel]} for alt, panel in charts.items()], [
            said,
            (x_seq > 0).sum(1),
            shares,
        ]

    return frames(
        {"image": names, "read by": ["column", "row"]},
        frame,
        reading_step(images[0], _FIRST_STEP, classes[labels[0]]),
        "the image, the input of this step, and the input so far",
        time={"label": "time step t", "steps": 28, "first": _FIRST_STEP},
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
