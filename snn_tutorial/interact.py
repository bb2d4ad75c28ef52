"""Sliders where a kernel runs, and a picture where none does."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from IPython.display import Image, display
from ipywidgets import interactive

__all__ = ["WIDGET", "interact"]

#: By this a notebook shows a widget; tools/run_notebooks.py leaves it out of what is saved.
WIDGET = "application/vnd.jupyter.widget-view+json"


def interact(draw: Callable[..., Image], **controls: Any) -> None:
    """Call ``draw`` with what the reader sets, as ``ipywidgets.interact``; without a kernel show its first picture.

    Args:
        draw: returns a picture, made by :func:`~snn_tutorial.page.show`; each of its arguments has a default.
        **controls: what each argument may be, as for ``ipywidgets.interact``: ``(0.5, 2.0, 0.1)`` is a slider with
            its least value, its largest and its step.
    """
    shown = interactive(draw, {"auto_display": True}, **controls)
    if shown.result is None:  # ipywidgets 7, which Colab has, would wait until it displays the widget itself
        shown.update()
    pictures, about = shown.result._repr_mimebundle_()
    view = {"version_major": 2, "version_minor": 0, "model_id": shown.model_id}
    display({**pictures, WIDGET: view}, metadata=about, raw=True)
