"""The view of the synapses: its currents are those of the library, and spikes are drawn on its chart."""

from __future__ import annotations

import pytest
import torch
from support_live import live

from snn_core.more.synapse import DoubleExponentialSynapse
from snn_core.synapse import LowPassSynapse, SynapseFilter
from snn_tutorial.live.synapse import rise, synapse_explorer

pytestmark = pytest.mark.xdist_group("browser_live")

TAU = "time constant τ (steps)"
DOUBLE = "double-exponential synapse"


def library(train, tau, is_double):
    """What the view should show."""
    synapses = {"synapse filter": SynapseFilter(tau), "low-pass": LowPassSynapse(tau)}
    if is_double:
        synapses["double-exponential"] = DoubleExponentialSynapse(rise(tau), tau)
    s = torch.tensor(train, dtype=torch.float64)[:, None]
    with torch.no_grad():
        shown = {
            name: torch.cat([synapse.double()(step[None]) for step in s])[:, 0].tolist()
            for name, synapse in synapses.items()
        }
    return {"tau": tau, "s": train} | shown


def test_currents_are_those_of_the_library(browser, tmp_path):
    train = [1, 0, 0, 1, 1, 0, 0, 0, 1, 0, 1, 1]
    with live(browser, synapse_explorer(train, tau=7.25), tmp_path) as view:
        assert view.numbers() == library(train, 7.25, False)
        for tau in (1.1, 2.3, 7.25, 50):
            for is_double in (False, True):
                view.set(TAU, tau)
                view.set(DOUBLE, is_double)
                assert view.numbers() == library(train, tau, is_double)


def test_a_press_on_the_chart_sets_or_removes_a_spike(browser, tmp_path):
    size = {"width": 390, "height": 900}
    with live(browser, synapse_explorer([0] * 20, tau=10), tmp_path, viewport=size) as view:
        for step in (0, 7, 8, 19, 8):
            view.page.mouse.click(*view.place(step, 0.5))
        assert view.numbers() == library([int(t in (0, 7, 19)) for t in range(20)], 10, False)
        assert view.control("spike in step 7").is_checked()
        view.page.mouse.click(*view.place(5, 1, panel=1))
        assert sum(view.numbers()["s"]) == 3
