"""Draw a spike train, and see the currents that synapses make of it."""

from __future__ import annotations

from collections.abc import Sequence

import matplotlib.pyplot as plt
import torch
from IPython.display import HTML
from matplotlib.figure import Figure
from torch import Tensor

from snn_core.cells import Cell
from snn_core.checks import Like
from snn_core.more.synapse import DoubleExponentialSynapse
from snn_core.synapse import LowPassSynapse, SynapseFilter
from snn_tutorial.live import view
from snn_tutorial.live.javascript import cell_code
from snn_tutorial.plot.style import QUANTITY, RC, legend_above, stacked


def rise(tau: float) -> float:
    """Return the rise of the double-exponential synapse whose decay is ``tau``: 2 steps, less for a tau below 3."""
    return min(2.0, (1 + tau) / 2)


def synapse_explorer(s: Sequence[int], tau: float = 5.0) -> HTML:
    """Return a view where spikes are drawn, with a slider for tau, and the currents of the synapses.

    Args:
        s: spikes at the start, ``[T]``, 0 or 1.
        tau: time constant at the start, in steps, from 1.1 to 50.
    """
    train = [int(spike) for spike in s]
    # Steps of 0.1 up to 10, of 1 above.
    taus = sorted({*(k / 10 for k in range(11, 100)), *range(10, 51), tau})
    return view(
        "synapse",
        {
            "spikes": train,
            "tau": tau,
            "filters": {name: cell_code(cell) for name, cell in _cells(tau).items()},
            "stops": [
                {
                    "tau": stop,
                    "rise": rise(stop),
                    "parameters": {
                        name: [one.item() for one in vars(cell).values() if isinstance(one, Tensor)]
                        for name, cell in _cells(stop).items()
                    },
                }
                for stop in taus
            ],
        },
        _currents(train, tau),
        "spike train, and the currents of the synapse filter and of the low-pass",
    )


@plt.rc_context(RC)
def _currents(train: Sequence[int], tau: float) -> Figure:
    """Draw a spike train and, below it, the currents of the synapse filter and of the low-pass."""
    figure, (top, bottom) = stacked(2, 4, height_ratios=(1, 4))
    top.bar(range(len(train)), train, 0.15, color=QUANTITY["spike"])
    top.set(ylabel="spike s", yticks=(0, 1))
    s_seq = torch.tensor(train, dtype=torch.float32)[:, None]
    for synapse, label, line, color in (
        (SynapseFilter(tau), "synapse filter", ".-", QUANTITY["current"]),
        (LowPassSynapse(tau), "low-pass", ".--", QUANTITY["threshold"]),
    ):
        bottom.plot(synapse.forward_sequence(s_seq)[:, 0], line, label=label, color=color)
    bottom.set(xlabel="time step t", ylabel="synaptic current I")
    legend_above(figure, columns=2)
    return figure


def _cells(tau: float) -> dict[str, Cell]:
    """Return the cell of each synapse, whose numbers are parameters that the page changes, in double precision."""
    synapses = {
        "synapse filter": SynapseFilter(tau),
        "low-pass": LowPassSynapse(tau),
        "double-exponential": DoubleExponentialSynapse(rise(tau), tau),
    }
    like = Like(torch.Size((1, 1)), torch.float64, torch.device("cpu"))
    cells = {name: synapse.cell(like) for name, synapse in synapses.items()}
    for cell in cells.values():
        numbers = {name: value for name, value in vars(cell).items() if isinstance(value, float)}
        vars(cell).update({name: torch.tensor(value, dtype=like.dtype) for name, value in numbers.items()})
    return cells
