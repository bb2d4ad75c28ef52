"""Fit a time constant by hand, see the loss, then let the gradient roll."""

from __future__ import annotations

import torch
from IPython.display import HTML
from matplotlib.figure import Figure
from torch import Tensor

from snn_tutorial.live import packed, view
from snn_tutorial.live.javascript import cell_code
from snn_tutorial.live.learner import LearnedSynapse


def tau_fitter(spikes: Tensor, hidden_tau: float, rate: float, figure: Figure) -> HTML:
    """Return a view of a synapse filter whose current is fitted to that of one with another time constant.

    Args:
        spikes: ``[T, N]``, 0 or 1.
        hidden_tau: time constant that made the wanted current.
        rate: learning rate of gradient descent at the start.
        figure: what stands there without JavaScript.
    """
    cell = LearnedSynapse(torch.tensor(0.0, dtype=torch.float64))
    data = {"spikes": packed(spikes.numpy()), "count": spikes.shape[1], "hidden": hidden_tau, "rate": rate}
    alt = "the current of a synapse filter and the wanted one, and the loss against the time constant"
    return view("fit", {**data, "cell": cell_code(cell)}, figure, alt)
