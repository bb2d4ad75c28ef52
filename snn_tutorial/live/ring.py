"""A ring of neurons, from the one that feeds itself to eight, with weights that the reader drags."""

from __future__ import annotations

import matplotlib.pyplot as plt
import torch
from IPython.display import HTML
from matplotlib.figure import Figure
from torch import Tensor

from snn_core.cells import IF, State
from snn_core.layer import LinearRecurrentContainer
from snn_core.neuron import IFNode
from snn_core.surrogate import Sigmoid
from snn_tutorial.live import view
from snn_tutorial.live.javascript import cell_code
from snn_tutorial.plot.style import NO_GRID, QUANTITY, WIDTH

_RESETS: dict[str, float | None] = {"soft, v_reset=None": None, "hard, v_reset=0": 0.0}


class Watched(IF):
    """An IF neuron with its potential before the reset, h[t], as one more state."""

    @property
    def others(self) -> tuple[float | Tensor, ...]:
        return (0.0,)

    def step(self, x: Tensor, state: State) -> tuple[Tensor, State]:
        s, (v,) = super().step(x, state[:1])
        return s, (v, self.charge(x, state[0]))


def ring_explorer(neurons: int, steps: int = 60) -> HTML:
    """Return a view of a ring of IF neurons, the first of which gets one input x[0].

    Neuron k receives the last spike of the neuron before it, times a weight. A ring of one neuron feeds itself.

    Args:
        neurons: their number at the start, from 1 to 8.
        steps: number of time steps T.
    """
    threshold = torch.tensor(1.0)  # a parameter, so that the page can change it
    cells = [Watched(threshold, v_reset, Sigmoid(), detach_reset=False) for v_reset in _RESETS.values()]
    data = {"neurons": neurons, "steps": steps, "resets": list(_RESETS)}
    what = "one neuron that feeds itself, and its" if neurons == 1 else "a ring of neurons, and their"
    still = _spikes(neurons, steps)
    return view("ring", {**data, "cells": [cell_code(cell) for cell in cells]}, still, f"{what} spikes")


@plt.rc_context(NO_GRID)
def _spikes(n: int, steps: int) -> Figure:
    """Draw the spikes of the ring with which the view begins: weights of 1, and x[0] = 1.5."""
    ring = LinearRecurrentContainer(IFNode(v_reset=None), n, n, bias=False)
    ring.rc.weight.data = torch.cat([torch.eye(n), torch.eye(n).roll(-1, dims=1)], dim=1)
    x_seq = torch.zeros(steps, 1, n)
    x_seq[0, 0, 0] = 1.5
    with torch.no_grad():
        spikes = torch.stack([ring(x)[0] for x in x_seq])  # [T, n]
    figure, axes = plt.subplots(figsize=(WIDTH, 1 + 0.25 * n))
    trains = [s.nonzero()[:, 0].numpy() for s in spikes.T]
    axes.eventplot(trains, colors=QUANTITY["spike"], lineoffsets=range(n), linelengths=0.8)
    axes.set(xlabel="time step t", ylabel="neuron", yticks=range(n), ylim=(n - 0.5, -0.5))
    return figure
