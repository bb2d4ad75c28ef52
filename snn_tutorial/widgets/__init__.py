"""Views that need a kernel, since they run Python on the reader's machine; :mod:`snn_tutorial.live` has all others."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from IPython.display import display
from ipywidgets import HBox, Layout, VBox, Widget, interactive_output
from matplotlib.figure import Figure

from snn_tutorial.page import show

#: Style of a control whose description is shown in full.
WIDE = {"description_width": "initial"}


def explorer(draw: Callable[..., Figure], controls: Mapping[str, Widget], alt: str) -> VBox:
    """Return controls above a figure that is drawn again whenever one of them changes.

    Works with ipywidgets 7 and 8. An error in ``draw`` appears in place of the figure.

    Args:
        draw: takes the controls' values by name and returns a figure.
        controls: name of each argument of ``draw`` to the widget that gives its value.
        alt: what the figure shows, for readers who cannot see it.
    """

    def update(**values: Any) -> None:
        display(show(draw(**values), alt=alt))

    wrap = Layout(flex_flow="row wrap", align_items="center")
    return VBox([HBox(list(controls.values()), layout=wrap), interactive_output(update, dict(controls))])
