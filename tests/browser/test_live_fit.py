"""The view that fits a time constant: its loss and its gradient are those of the library."""

from __future__ import annotations

import pytest
import torch
from matplotlib.figure import Figure
from support_live import live

from snn_core.functional import reset_net
from snn_core.layer import SynapseFilter
from snn_tutorial.live.fit import tau_fitter

pytestmark = pytest.mark.xdist_group("browser_live")

HIDDEN = 12.0


def spikes() -> torch.Tensor:
    generator = torch.Generator().manual_seed(0)
    return torch.bernoulli(torch.full((30, 4), 0.3), generator=generator)


def library(tau: float, rate: float, steps: int) -> list[dict[str, float]]:
    """What the view should show: gradient descent in double precision."""
    s = spikes().double()
    target = SynapseFilter(tau=HIDDEN).double().forward_sequence(s)
    synapse = SynapseFilter(tau=tau, learnable=True).double()
    synapse.w.data.fill_(-torch.log(torch.tensor(tau - 1, dtype=torch.float64)))
    optimizer = torch.optim.SGD(synapse.parameters(), lr=rate)
    path = []
    for _ in range(steps):
        reset_net(synapse)
        optimizer.zero_grad()
        loss = (synapse.forward_sequence(s) - target).square().mean()
        loss.backward()
        path.append({"tau": 1 + torch.exp(-synapse.w).item(), "loss": loss.item()})
        optimizer.step()
    return path


def test_gradient_descends_as_in_the_library(browser, tmp_path):
    with live(browser, tau_fitter(spikes(), HIDDEN, 0.03, Figure()), tmp_path) as view:
        for tau, rate in ((2, 0.03), (30, 0.1), (1.5, 0.01)):
            view.set("τ by hand (steps)", tau)
            view.set("learning rate", rate)
            path = view.numbers()["path"]
            for here, wanted in zip(path, library(tau, rate, 20), strict=False):
                assert here == pytest.approx(wanted, rel=1e-5)
        assert view.said().startswith("By hand: τ = 1.50")
        view.set("gradient step", 20)
        assert view.said().startswith("After 20 gradient steps")
        view.set("τ by hand (steps)", HIDDEN)
        assert view.numbers()["at"]["loss"] == pytest.approx(0, abs=1e-20)
