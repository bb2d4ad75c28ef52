"""A ring of neurons, from the one that hears itself to eight, with weights that the reader drags."""

from __future__ import annotations

import torch
from IPython.display import HTML
from matplotlib.figure import Figure
from torch import Tensor

from snn_core.cells import IF, State
from snn_core.surrogate import Sigmoid
from snn_tutorial.live import view
from snn_tutorial.live.javascript import cell_code

_RESETS: dict[str, float | None] = {"soft, v_reset=None": None, "hard, v_reset=0": 0.0}


class Watched(IF):
    """An IF neuron with its potential before the reset, h[t], as one more state."""

    @property
    def others(self) -> tuple[float | Tensor, ...]:
        return (0.0,)

    def step(self, x: Tensor, state: State) -> tuple[Tensor, State]:
        s, (v,) = super().step(x, state[:1])
        return s, (v, self.charge(x, state[0]))


def ring_explorer(figure: Figure, steps: int = 40) -> HTML:
    """Return a view of a ring of IF neurons, the first of which gets one input x[0].

    Neuron k receives the last spike of the neuron before it, times a weight. A ring of one neuron feeds itself.

    Args:
        figure: what stands there without JavaScript.
        steps: number of time steps T.
    """
    threshold = torch.tensor(1.0)  # a parameter, so that the page can change it
    cells = [Watched(threshold, v_reset, Sigmoid(), detach_reset=False) for v_reset in _RESETS.values()]
    data = {"steps": steps, "resets": list(_RESETS), "cells": [cell_code(cell) for cell in cells]}
    return view("ring", data, figure, "a ring of neurons, and their spikes in each time step")
