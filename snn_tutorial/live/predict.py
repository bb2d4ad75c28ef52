"""Questions before their answers: each stays folded until the reader has chosen, guessed or drawn.

What is right is what the chapter has computed. Without JavaScript the answer is a fold that opens by hand.
"""

from __future__ import annotations

import html
import re
from collections.abc import Mapping, Sequence

from IPython.display import HTML
from matplotlib.figure import Figure
from nbconvert.filters.markdown import markdown2html

from snn_tutorial.live import picture_url, started

#: A part of an answer: Markdown, or a figure and what it shows.
Part = str | tuple[Figure, str]


def choice(options: Sequence[str], right: str, *answer: Part) -> HTML:
    """Ask for one of ``options``, of which ``right`` is one; ``answer`` is what opens then.

    Raises:
        ValueError: ``right`` is not among the options.
    """
    if right not in options:
        raise ValueError(f"right must be one of {list(options)}, got {right!r}")
    data = {"options": list(options), "right": options.index(right)}
    return started("predict", data, _folded(answer, " / ".join(options)))


def guess(
    right: float, ends: tuple[float, float], *answer: Part, step: float = 1, unit: str = "", first: float
) -> HTML:
    """Ask for a number on a slider between ``ends``, which begins at ``first``.

    Raises:
        ValueError: ``right`` is not between the ends.
    """
    if not ends[0] <= right <= ends[1]:
        raise ValueError(f"right must be from {ends[0]} to {ends[1]}, got {right}")
    data = {"ends": list(ends), "step": step, "first": first, "unit": unit, "right": float(right)}
    return started("predict", data, _folded(answer, f"A number from {ends[0]:g} to {ends[1]:g}{unit}."))


def sketch(
    asked: str,
    curves: Mapping[str, Sequence[float]],
    x: Sequence[float],
    *answer: Part,
    ends: tuple[float, float],
    labels: tuple[str, str],
    unit: str = "points",
    log: bool = False,
) -> HTML:
    """Ask for the curve ``asked``; the other ``curves`` are shown from the start.

    Args:
        asked: the name of one of the curves.
        curves: each has a value for each of ``x``.
        x: where a point can be set, in growing order.
        answer: what opens with the curve.
        ends: of the y axis; all values lie between them.
        labels: of the axes, x and y.
        unit: of a difference of y.
        log: whether the x axis is logarithmic.
    """
    known = {name: [float(y) for y in values] for name, values in curves.items()}
    right = known.pop(asked)
    data = {"x": [float(at) for at in x], "ends": list(ends), "labels": list(labels), "unit": unit}
    data |= {"known": known, "asked": asked, "right": right, "isLog": log}
    points = (f"{name}: {', '.join(f'{y:.3g}' for y in values)}." for name, values in known.items())
    text = f"{labels[1]} at {labels[0]} {', '.join(f'{at:g}' for at in x)}: {' '.join(points)} {asked}: ?"
    return started("sketch", data, _folded(answer, text))


def _folded(answer: Sequence[Part], question: str) -> str:
    """Return the folded answer, below what is asked, which a script replaces by what one can choose."""
    parts = "".join(_shown(part) for part in answer)
    # The site looks for formulas in this class.
    fold = f'<details class="tex2jax_process"><summary>Answer</summary>{parts}</details>'
    return f'<span class="snn-static">{html.escape(question)}</span>{fold}'


def _shown(part: Part) -> str:
    if isinstance(part, str):
        # Everywhere understood as a formula.
        return re.sub(r"(?<![$\\])\$([^$]+)\$(?!\$)", r"\\(\1\\)", markdown2html(part))
    figure, alt = part
    return f'<img alt="{html.escape(alt)}" src="{picture_url(figure)}">'
