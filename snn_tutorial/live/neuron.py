"""Drive one neuron, with its own spike fed back or without."""

from __future__ import annotations

import torch
from IPython.display import HTML
from torch import Tensor

from snn_core.cells import IF, Cell, ElementWiseFeedback, State
from snn_core.layer import ElementWiseRecurrentContainer
from snn_core.neuron import IFNode
from snn_core.surrogate import Sigmoid
from snn_tutorial.live import view
from snn_tutorial.live.javascript import cell_code
from snn_tutorial.plot.neurons import neuron_traces
from snn_tutorial.probe import trace

_RESETS: dict[str, float | None] = {"soft, v_reset=None": None, "hard, v_reset=0": 0.0}


class Watched(IF):
    """An IF neuron with what comes into it, i[t], and its potential before the reset, h[t], as two more states."""

    @property
    def others(self) -> tuple[float | Tensor, ...]:
        return 0.0, 0.0

    def step(self, x: Tensor, state: State) -> tuple[Tensor, State]:
        s, (v,) = super().step(x, state[:1])
        return s, (v, x, self.charge(x, state[0]))


def driven_neuron(steps: int = 12) -> HTML:
    """Return a view of an IF neuron that gets one input x[0], with controls for the neuron and its feedback.

    Args:
        steps: number of time steps T.
    """
    threshold = torch.tensor(1.0)  # a parameter, so that the page can change it
    cells: list[list[Cell]] = []
    for v_reset in _RESETS.values():
        cell = Watched(threshold, v_reset, Sigmoid(), detach_reset=False)
        cells.append([cell, ElementWiseFeedback(cell, torch.add)])
    x_seq = torch.zeros(steps)
    x_seq[0] = 1.5
    record = trace(ElementWiseRecurrentContainer(IFNode(v_reset=None), torch.add), x_seq)
    return view(
        "neuron",
        {
            "steps": steps,
            "resets": list(_RESETS),
            "cells": [[cell_code(cell) for cell in pair] for pair in cells],
        },
        neuron_traces({"i[t] = x[t] + y[t-1]": record}),
        "input, membrane potential and spikes of one neuron in each time step",
    )
