"""Interactive views for the chapters, a module each; they draw with :mod:`snn_tutorial.plot` and need ipywidgets."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from IPython.display import display
from ipywidgets import HBox, Layout, VBox, Widget, interactive_output
from matplotlib.figure import Figure

from snn_tutorial.page import show

#: Style of a control whose description is shown in full.
WIDE = {"description_width": "initial"}


def explorer(
    draw: Callable[..., Figure],
    controls: Mapping[str, Widget],
    alt: str,
    rows: Sequence[Sequence[Widget]] | None = None,
) -> VBox:
    """Return controls above a figure that is drawn again whenever one of them changes.

    Works with ipywidgets 7 and 8. An error in ``draw`` appears in place of the figure.

    Args:
        draw: takes the controls' values by name and returns a figure.
        controls: name of each argument of ``draw`` to the widget that gives its value.
        alt: what the figure shows, for readers who cannot see it.
        rows: the controls as they are laid out, a list for each row; None puts all into one that wraps.
    """

    def update(**values: Any) -> None:
        display(show(draw(**values), alt=alt))

    wrap = Layout(flex_flow="row wrap", align_items="center")
    boxes = [HBox(list(row), layout=wrap) for row in rows or [controls.values()]]
    return VBox([*boxes, interactive_output(update, dict(controls))])
