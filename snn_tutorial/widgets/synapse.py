"""Draw a spike train, and see what a stateful synapse makes of it."""

from __future__ import annotations

from collections.abc import Sequence

from ipywidgets import FloatSlider, Layout, ToggleButton, VBox
from matplotlib.figure import Figure

from snn_tutorial.plot.synapses import currents, traces
from snn_tutorial.widgets import WIDE, explorer


def synapse_explorer(s: Sequence[int], tau: float = 5.0) -> VBox:
    """Return a view with a slider for tau, one button for each time step, and the current of both filters.

    Args:
        s: spikes at the start, ``[T]``, 0 or 1.
        tau: time constant at the start, in steps, from 1.1 to 50.
    """

    def draw(tau: float, **spikes: bool) -> Figure:
        train = [int(spikes[name]) for name in buttons]
        return traces(train, currents(train, tau), title=rf"$\tau$ = {tau:g} steps")

    slider = FloatSlider(value=tau, min=1.1, max=50, step=0.1, description="tau (steps)", style=WIDE)
    narrow = Layout(width="38px", padding="0", margin="1px")
    buttons = {
        f"s{t}": ToggleButton(
            value=bool(spike), description=str(t), tooltip=f"a spike in step {t}", layout=narrow
        )
        for t, spike in enumerate(s)
    }
    return explorer(
        draw,
        {"tau": slider, **buttons},
        alt="spike train, and the current of the synapse filter and of the low-pass",
        rows=[[slider], list(buttons.values())],
    )
