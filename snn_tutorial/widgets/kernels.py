"""Time the torch loop against the fused scan at a size of your choice."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from ipywidgets import Dropdown, SelectionSlider, VBox
from matplotlib.figure import Figure

from snn_tutorial.measure import LAYERS, loop_and_fused
from snn_tutorial.plot.kernels import bars
from snn_tutorial.widgets import WIDE, explorer

#: Sizes small enough for an answer within two seconds.
STEPS, SAMPLES, HIDDEN = (7, 14, 28, 56, 112), (1, 8, 32, 64, 256), (8, 16, 32, 64, 128)


def timed(
    layer: str,
    T: int,
    N: int,
    hidden: int,
    measure: Callable[[str, int, int, int], Mapping[str, float]] = loop_and_fused,
) -> Figure:
    """Measure forward and backward through a layer now, in the loop and fused, and draw both times.

    Args:
        layer: one of :data:`snn_tutorial.measure.LAYERS`.
        T: time steps.
        N: samples.
        hidden: neurons, or synapses, of a sample.
        measure: what takes the times, see :func:`snn_tutorial.measure.loop_and_fused`.
    """
    title = f"{layer}: {T} steps, {N} samples, {hidden} hidden"
    return bars(measure(layer, T, N, hidden), title)


def speed_explorer() -> VBox:
    """Return a view with a layer and its sizes; each change takes the times anew, on the machine that runs it."""
    style: dict[str, Any] = {"style": WIDE}
    late = style | {
        "continuous_update": False
    }  # a measurement for where a slider stops, not for where it passes
    controls = {
        "layer": Dropdown(options=LAYERS, description="layer", **style),
        "T": SelectionSlider(options=STEPS, value=28, description="time steps T", **late),
        "N": SelectionSlider(options=SAMPLES, value=32, description="samples N", **late),
        "hidden": SelectionSlider(options=HIDDEN, value=32, description="hidden", **late),
    }
    return explorer(timed, controls, alt="time of forward and backward, in the torch loop and fused")
