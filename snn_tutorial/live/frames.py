"""Views of what is computed before: a reader chooses a frame from menus, and a step of it on a slider."""

from __future__ import annotations

import html
from collections.abc import Callable, Mapping, Sequence
from itertools import product
from typing import Any

import numpy as np
from IPython.display import HTML
from matplotlib.figure import Figure

from snn_tutorial.live import floats, packed, started, view

#: With {t} for the step, or a list of it and, for each {} in it, the values of all steps.
Text = str | list[Any]


def frames(
    choices: Mapping[str, Sequence[Any]],
    frame: Callable[..., tuple[list[dict[str, Any]], Text]],
    still: Figure | str,
    alt: str = "",
    first: Sequence[int] = (),
    time: Mapping[str, Any] | None = None,
) -> HTML:
    """Return a view of what ``frame`` gives for each choice: the charts, and a sentence.

    Args:
        choices: labels of menus to their options: strings for a menu, numbers for a slider, False and True for a box.
        frame: called with the place of an option of each. A chart is a ``Drawing`` of ``frames.js``; arrays of
            its marks are kept once, those of uint8 as shares of 255.
        still: what stands there without JavaScript.
        alt: what a figure ``still`` shows.
        first: places of the options to begin with, 0 if not given.
        time: slider for the step, ``Time`` of ``frames.js``.
    """
    arrays: dict[tuple[Any, ...], int] = {}

    def kept(value: Any) -> Any:
        if isinstance(value, dict):
            return {key: kept(one) for key, one in value.items()}
        if isinstance(value, (list, tuple)):
            return [kept(one) for one in value]
        if not isinstance(value, np.ndarray):
            return value.item() if isinstance(value, np.generic) else value
        if value.dtype == bool:
            key = ("bits", value.shape, packed(np.packbits(value)))
        elif value.dtype == np.uint8:
            key = ("bytes", value.shape, packed(value))
        else:
            key = ("floats", value.shape, floats(value))
        return arrays.setdefault(key, len(arrays))

    shown = []
    for places in product(*(range(len(options)) for options in choices.values())):
        charts, said = frame(*places)
        texts = said if isinstance(said, str) else [said[0], *(list(values) for values in said[1:])]
        shown.append({"charts": kept(charts), "said": kept(texts)})
    begin = [*first, *[0] * (len(choices) - len(first))]
    data: dict[str, Any] = {
        "arrays": [dict(zip(("kind", "shape", "values"), key, strict=True)) for key in arrays],
        "menus": [
            {"label": label, "options": kept(list(options)), "first": place}
            for (label, options), place in zip(choices.items(), begin, strict=True)
        ],
        "frames": shown,
    }
    if time is not None:
        data["time"] = dict(time)
    if isinstance(still, Figure):
        return view("frames", data, still, alt)
    return started("frames", data, f'<p class="snn-static">{html.escape(still)}</p>')


def raster(columns: np.ndarray, *marks: dict[str, Any], **options: Any) -> dict[str, Any]:
    """Return a panel with numbers ``[columns, rows]`` from 0 to 1 as squares, and more marks; see ``frames.js``."""
    width, height = columns.shape
    grid = {key: options.pop(key) for key in ("from", "until", "later") if key in options}
    ends = {"x": [-0.5, width - 0.5], "y": [height - 0.5, -0.5]}
    return {**ends, **options, "marks": [squares(columns, **grid), *marks]}


def squares(columns: np.ndarray, **options: Any) -> dict[str, Any]:
    """Return the mark of a raster."""
    return {"kind": "grid", "columns": columns, "x": [0], "y": [0], **options}


def line(x: Any, y: Any, color: str = "threshold", **options: Any) -> dict[str, Any]:
    """Return a line; an array ``[steps, n]`` has another one for each step."""
    return {"kind": "line", "x": x, "y": y, "color": color, **options}


def around(width: int, height: int, by: str = "column", step: int | None = None) -> dict[str, Any]:
    """Return a frame around the column or row of each step, or of one."""
    length, ends = (width, height) if by == "column" else (height, width)
    at = np.arange(length)[:, None] if step is None else np.array([[step]])
    along = at + np.array([-0.5, 0.5, 0.5, -0.5, -0.5])
    across = np.broadcast_to(np.array([0, 0, 1, 1, 0]) * ends - 0.5, along.shape)
    x, y = (along, across) if by == "column" else (across, along)
    return line(*((x, y) if step is None else (x[0], y[0])), "input")
