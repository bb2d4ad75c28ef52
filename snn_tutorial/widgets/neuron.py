"""Drive one neuron, with its own spike fed back or without."""

from __future__ import annotations

import torch
from ipywidgets import Checkbox, Dropdown, FloatSlider, VBox
from matplotlib.figure import Figure

from snn_core.layer import ElementWiseRecurrentContainer
from snn_core.neuron import IFNode
from snn_tutorial.plot.neurons import neuron_traces
from snn_tutorial.probe import trace
from snn_tutorial.widgets import WIDE, explorer

#: What can be chosen as reset. A menu shows nothing as long as its value is None, so its values are these names.
_RESETS: dict[str, float | None] = {"soft, v_reset=None": None, "hard, v_reset=0": 0.0}


def driven_neuron(steps: int = 12) -> VBox:
    """Return a view of an IF neuron that gets one input x[0], with controls for the neuron and its feedback.

    Args:
        steps: number of time steps T.
    """

    def draw(first: float, v_threshold: float, reset: str, recurrent: bool) -> Figure:
        neuron = IFNode(v_threshold=v_threshold, v_reset=_RESETS[reset])
        net = ElementWiseRecurrentContainer(neuron, torch.add) if recurrent else neuron
        x_seq = torch.zeros(steps)
        x_seq[0] = first
        record = trace(net, x_seq)
        fed_back = "x[t] + y[t-1]" if recurrent else "x[t]"
        return neuron_traces({f"i[t] = {fed_back}; spikes in {steps} steps: {int(record.s.sum())}": record})

    # Steps of 1/4 are exact in binary, so no spike hangs on a rounding error.
    controls = {
        "first": FloatSlider(value=1.5, min=0, max=3, step=0.25, description="input x[0]", style=WIDE),
        "v_threshold": FloatSlider(
            value=1, min=0.5, max=2, step=0.25, description="threshold v_threshold", style=WIDE
        ),
        "reset": Dropdown(options=list(_RESETS), description="reset", style=WIDE),
        "recurrent": Checkbox(value=True, description="feed the spike back", indent=False),
    }
    values = list(controls.values())
    alt = "input, membrane potential and spikes of one neuron in each time step"
    return explorer(draw, controls, alt=alt, rows=[values[:2], values[2:]])
