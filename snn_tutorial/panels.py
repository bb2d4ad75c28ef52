"""Panels of ipywidgets for a running notebook: the kernel computes with the reader's settings, and shows the result.

A page without a kernel shows a sentence in their place.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

from IPython.display import Markdown, display
from ipywidgets import Dropdown, SelectionSlider, Widget, interactive

from sequential_fmnist.experiments.fair.plan import FAIR, final
from sequential_fmnist.experiments.frame import execute
from snn_tutorial.interact import WIDGET
from snn_tutorial.plot.kernels import table

__all__ = ["panel", "recall_panel"]


def panel(button: str, compute: Callable[..., None], **controls: Widget) -> None:
    """Show controls, and below them what ``compute`` displays when the button is pressed.

    Args:
        button: what is written on it.
        compute: called with the values of the controls, by their names.
        **controls: widgets with a description.
    """
    shown = interactive(compute, {"manual": True, "manual_name": button}, **controls)
    names = ", ".join(control.description for control in controls.values())
    text = f'"{button}" in a running notebook: the kernel computes with your {names}.'
    view = {"version_major": 2, "version_minor": 0, "model_id": shown.model_id}
    display({"text/plain": text, "text/html": f"<p><em>{text}</em></p>", WIDGET: view}, raw=True)


def recall_panel(evidence_dir: str) -> None:
    """Show a panel that trains a network to recall a cue over a distance, from a time constant, and lists the answers.

    Args:
        evidence_dir: holds the runs, from which the recipes are taken.
    """
    rows: list[tuple[Any, ...]] = []

    def compute(kind: str, distance: int, tau: float, steps: int) -> None:
        spec = final(FAIR.store(evidence_dir).records(), "recall", kind, "informed", 200)
        network = dataclasses.replace(spec.network, start="given", tau=tau, distance=distance)
        task = dataclasses.replace(spec.task, distance=distance)
        training = dataclasses.replace(spec.training, epochs=steps)
        found = execute(dataclasses.replace(spec, network=network, task=task, training=training))
        rows.append((kind, distance, f"{tau:g}", found["steps"], f"{100 * found['accuracy']:.1f} %"))
        display(Markdown(table(("network", "D", "tau", "steps", "accuracy"), rows)))

    panel(
        "Train",
        compute,
        kind=Dropdown(options=["plain", "stateful synapse"], value="stateful synapse", description="network"),
        distance=SelectionSlider(options=[10, 25, 50, 100, 200, 400], value=50, description="D"),
        tau=SelectionSlider(options=[2.0, 5.0, 10.0, 30.0, 100.0, 300.0], value=10.0, description="tau"),
        steps=SelectionSlider(options=[100, 200, 400], value=200, description="steps"),
    )
